"""`python -m tests.server -- command` gives an application what it finds in the environment of a hosted project."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from . import tokens
from .token import main

SECRET = "a secret of at least thirty-two characters"
APPLICATION = """
import asyncio, json, os, subprocess, sys
import psycopg
from agent_persistence import AdapterError, SupabaseAdapter

DDL = '''
create table notes (owner text default auth.jwt()->>'sub', body text);
alter table notes enable row level security;
create policy own on notes to authenticated using (owner = auth.jwt()->>'sub') with check (owner = auth.jwt()->>'sub');
notify pgrst, 'reload schema'
'''

def adapter(user):
    command = [sys.executable, "-m", "tests.server.token", "--sub", user, "--role", "authenticated"]
    token = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return SupabaseAdapter(os.environ["SUPABASE_URL"], os.environ["SUPABASE_ANON_KEY"], access_token=token)

async def written(adapter, record):
    while True:
        try:
            return await adapter.write("notes", record)
        except AdapterError as error:
            if error.code not in ("PGRST204", "PGRST205"):
                return error.code

async def main():
    ada, bob = adapter("ada"), adapter("bob")
    for user, body in [(ada, "hers"), (bob, "his")]:
        await written(user, {"body": body})
    refused = await written(bob, {"owner": "ada", "body": "forged"})
    seen = [[row["body"] for row in await user.query("notes")] for user in (ada, bob)]
    service = SupabaseAdapter(os.environ["SUPABASE_URL"], os.environ["SUPABASE_SERVICE_KEY"])
    print(json.dumps({"seen": seen, "refused": refused, "all": await service.count("notes")}))
    for each in (ada, bob, service):
        await each.aclose()

with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    connection.execute(DDL)
asyncio.run(main())
"""


def test_an_application_has_row_level_security() -> None:
    """It makes its tables by DATABASE_URL, signs tokens for its users, and each reads what is theirs."""
    command = [sys.executable, "-m", "tests.server", "--", sys.executable, "-c", APPLICATION]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"seen": [["hers"], ["his"]], "refused": "42501", "all": 2}


def test_a_token_is_signed_with_the_servers_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names user and role, expires, and holds what further claims are given."""
    monkeypatch.setenv("SUPABASE_JWT_SECRET", SECRET)
    assert main(["--sub", "ada", "--claims", '{"app_metadata": {"tenant": "acme"}}']) == 0
    token = capsys.readouterr().out.strip()
    assert tokens.is_signed(token, SECRET)
    assert not tokens.is_signed(token, SECRET + "!")
    told = tokens.claims(token)
    assert isinstance(told.pop("exp"), int)
    assert told == {"sub": "ada", "role": "authenticated", "app_metadata": {"tenant": "acme"}}


def test_without_a_secret_there_is_no_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says where it is set."""
    monkeypatch.delenv("SUPABASE_JWT_SECRET", raising=False)
    with pytest.raises(SystemExit):
        main(["--sub", "ada"])
    assert "python -m tests.server -- …" in capsys.readouterr().err
