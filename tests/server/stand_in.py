"""Behaves as PostgREST's command line does, on top of the test server: `stand_in.py CONFIG`.

It shows that the program which the environment names is started, waited for, asked and ended in the right way. The
database's superuser, whom the test server needs, is in STAND_IN_DATABASE_URL.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import psycopg
from aiohttp import web

from . import tokens
from .gateway import Headers, serving
from .local import POSTGREST, RestProcess, running_rest


def parsed(text: str) -> dict[str, Any]:
    """The options of a configuration file."""
    return {name: json.loads(value) for name, value in (line.split(" = ", 1) for line in text.splitlines())}


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """The test server's settings."""
    return {
        "database_url": os.environ["STAND_IN_DATABASE_URL"],
        "schemas": config["db-schemas"].split(", "),
        "max_rows": config["db-max-rows"],
        "jwt_secret": config["jwt-secret"],
        "anon_key": "sb_publishable_nobody",
        "service_key": "sb_secret_nobody",
    }


def follow(db_uri: str, rest: RestProcess) -> None:
    """The schema is read again whenever the database's channel says so."""
    with psycopg.connect(db_uri, autocommit=True) as connection:
        connection.execute("listen pgrst")
        for told in connection.notifies():
            if told.payload == "reload schema":
                rest.ask("reload")


async def is_ready(request: web.BaseRequest) -> web.Response:
    """PostgREST's admin server, which is asked for nothing else."""
    return web.Response(status=200 if request.path == "/ready" else 404)


async def main(config: dict[str, Any]) -> None:
    """Serves until it is ended."""
    anon = tokens.sign({"role": config["db-anon-role"]}, config["jwt-secret"])

    def authorize(headers: Headers) -> None:
        """A token says who asks, and nothing else does."""
        headers["apikey"] = anon

    with running_rest(settings(config)) as (url, rest):
        async with serving(f"{url}/rest/v1", authorize, prefix="", port=config["server-port"]):
            admin = web.ServerRunner(web.Server(is_ready))
            await admin.setup()
            await web.TCPSite(admin, config["server-host"], config["admin-server-port"]).start()
            await asyncio.to_thread(follow, config["db-uri"], rest)


if __name__ == "__main__":
    os.environ.pop(POSTGREST)  # or the test server would be this program again
    asyncio.run(main(parsed(Path(sys.argv[1]).read_text())))
