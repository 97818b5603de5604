"""Run the server alone: `python -m tests.server`, or around a command: `… -- command args…`."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading

from . import LocalServer, running_server


def variables(server: LocalServer) -> dict[str, str]:
    """What an application of a hosted project finds in its environment; the database's user is its superuser."""
    return {
        "SUPABASE_URL": server.url,
        "SUPABASE_ANON_KEY": server.anon_key,
        "SUPABASE_SERVICE_KEY": server.service_key,
        "SUPABASE_JWT_SECRET": server.jwt_secret,
        "DATABASE_URL": server.database_url,
    }


def stay(server: LocalServer) -> int:
    """The variables are printed; returns after Ctrl-C."""
    for name, value in variables(server).items():
        print(f"export {name}={shlex.quote(value)}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    return 0


def run(server: LocalServer, command: list[str]) -> int:
    """The exit status of the command, which was given the variables; it gets Ctrl-C itself."""
    with subprocess.Popen(command, env={**os.environ, **variables(server)}) as process:
        while True:
            with contextlib.suppress(KeyboardInterrupt):
                status = process.wait()
                return status if status >= 0 else 128 - status


def main(arguments: list[str]) -> int:
    """The exit status; the server is gone."""
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    # By default SIGTERM ends us at once; as KeyboardInterrupt it passes through the context managers.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running_server() as server:
            return run(server, command) if command else stay(server)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
