"""No command prints a key, whatever happens to it."""

from __future__ import annotations

import base64
import json
from typing import Any

import anyio
import pytest

from agent_persistence.cli.hiding import HIDDEN, hidden
from agent_persistence.cli.target import Target
from tests.backends.stub_server import Exchange, answer, stub_server
from tests.cli.program import Outcome, in_terminal, ran, started
from tests.security.said import KEY, secrets_in

PASSWORD = "SENTINELKEY%2Fdatabase"
CALLS = [
    ("doctor",),
    ("doctor", "--json"),
    ("doctor", "--probe-writes", "--sql"),
    ("query", "leads"),
    ("query", "leads", "--json"),
    ("schema", "pull"),
    ("schema", "pull", "--kind", "postgres"),
    ("rag", "preview", "--lead", "status=new"),
    ("policy", "show"),
    ("audit", "verify", "audit.jsonl"),
]


def _jwt() -> str:
    parts = ({"alg": "HS256"}, {"role": "service_role", "exp": 4102444800, "note": "SENTINELTOKEN"})
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts), "SENTINELKEY"])


@pytest.fixture(params=[KEY, _jwt(), "SENTINELKEY-of-no-kind"], ids=["secret", "JWT", "unknown"])
def key(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", request.param)
    monkeypatch.setenv("SUPABASE_ANON_KEY", f"sb_publishable_{KEY}")
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{PASSWORD}@127.0.0.1:9/postgres")
    monkeypatch.setenv("AUDIT_KEY", f"SENTINELKEY{'0' * 40}")
    return str(request.param)


async def _echo(exchange: Exchange) -> None:
    """An answer that repeats the credentials it got, as a talkative proxy might."""
    told = json.dumps({"code": "PGRST301", "message": str(exchange.request.headers), "hint": exchange.request.target})
    await exchange.send(answer(told.encode(), status=401))


@pytest.mark.parametrize("arguments", CALLS, ids=" ".join)
def test_no_output_holds_a_key(arguments: tuple[str, ...], key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what is asked for nor an error, though the server repeats what it was sent."""
    with stub_server(_echo) as server:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        assert not secrets_in(ran(*arguments).said)


def test_no_traceback_holds_a_key(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of somebody else's may have it in its message."""

    def broken(*_: Any) -> None:
        raise RuntimeError(f"cannot connect with {key} to postgresql://me:{PASSWORD}@host")

    monkeypatch.setattr(anyio, "run", broken)
    ended = ran("query", "leads", "--kind", "memory", "--json")
    assert HIDDEN in ended.err
    assert not secrets_in(ended.said)


def test_a_traceback_in_a_terminal_shows_no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich's would, and one of them is the key."""
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SUPABASE_KEY", KEY)
    assert not secrets_in(in_terminal("doctor"))


def test_the_control_finds_a_key() -> None:
    """Control: the sentinels are in what would be printed."""
    assert secrets_in(Outcome(0, f"the key is {KEY}", "").said)
    assert secrets_in(_jwt())


def test_passwords_are_hidden_as_they_stand_and_decoded() -> None:
    """A driver tells either."""
    environ = {"DATABASE_URL": "postgresql://me:s3cret%2Fpass@host/db"}
    assert hidden("s3cret%2Fpass s3cret/pass", environ) == f"{HIDDEN} {HIDDEN}"


def test_short_values_are_left_in_place() -> None:
    """A password of two letters would be found in every other word."""
    assert hidden("a table", {"DATABASE_URL": "postgresql://me:ab@host/db"}) == "a table"


def test_the_settings_of_a_command_do_not_show_the_key(key: str) -> None:
    """In a repr, as debuggers print it."""
    target = Target("supabase")
    assert target.config.supabase_key is not None
    assert not secrets_in(repr(target) + repr(target.config))


def test_an_environment_that_is_refused_is_not_repeated(key: str) -> None:
    """A URL with a password in it is a mistake, and stays private."""
    ended = started("query", "leads", SUPABASE_URL="https://me:SENTINELKEY@project.supabase.co")
    assert ended.status == 3
    assert not secrets_in(ended.said)
