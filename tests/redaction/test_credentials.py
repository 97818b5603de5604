"""What counts as a credential, and what only speaks of one."""

from __future__ import annotations

from typing import Final

import pytest

from agent_persistence.redaction import Credentials, Redaction, pseudonymize, scan
from tests.redaction.figures import found_by

JSON_WEB_TOKEN: Final = "eyJ" + "hbGciOiJub25lIn0" + ".eyJ" + "zdWIiOiJmYWtlIn0" + "." + "ZmFrZQ"


def _private_key(sort: str, body: str) -> str:
    return f"-----BEGIN {sort}" + f"PRIVATE KEY-----{body}-----END {sort}" + "PRIVATE KEY-----"


TOKENS: Final = (
    JSON_WEB_TOKEN,
    "sb_" + "secret_FAKE_fake0000",
    "sk-" + "FAKEfake" * 4,
    "sk-" + "a" * 48,
    "sk-" + "proj-FAKE_fake-0000-fake",
    "sk-" + "ant-api03-" + "fake" * 8,
    "AKI" + "A" + "FAKE" * 4,
    "ASI" + "A" + "FAKE0000" * 2,
    *("gh" + kind + "_" + "fake" * 9 for kind in "posur"),
    "github_" + "pat_" + "FAKE_0000_fake_0000_fake",
    *("xox" + kind + "-000000000000-fakefake" for kind in "baprs"),
    _private_key("", "\nZmFrZQ==\n"),
    _private_key("RSA ", "\nProc-Type: 4,ENCRYPTED\n\nZmFrZQ==\n"),
    _private_key("OPENSSH ", "\\n" + "ZmFr" * 16 + "\\nZmFrZQ==\\n"),
    _private_key("EC ", "\n" + "ZmFr" * 16).partition("-----END")[0].rstrip(),
)
"""Put together here, so that no scanner of secrets takes this file for a leak."""
ASSIGNED: Final = (
    ("password: ", "hunter2", ""),
    ("Passwort=", "Geheim", ""),
    ("pw: ", "Sommer2024!", " ok"),
    ("api_key=", "0123456789abcdef", "&page=2"),
    ("DB_PASSWORD='", "correct horse battery", "'"),
    ('{"password": "', "hunter", '", "user": "jane"}'),
    ('{\\"apiKey\\": \\"', "FAKEfake00", '\\"}'),
    ("client-secret : ", "FAKE-fake-0000", "\n"),
    ("X-Api-Key: ", "0123456789abcdef", "\r\nHost: x.example"),
    ("<password>", "hunter", "</password>"),
    ("--db-password ", "hunter2", " --verbose"),
    ("Server=x;Password=", "a&b;c1", ";Timeout=3"),
    ("the password is ", "hunter2", ", keep it"),
    ("Das Passwort lautet ", "Sommer2024", "."),
    ("Mot de passe : ", "soleil99", ""),
    ("パスワードは ", "hunter22", " です"),
    ("비밀번호: ", "hunter22", ""),
    ("Authorization: Bearer ", JSON_WEB_TOKEN, ""),
    ("Authorization: Basic ", "ZmFrZTpmYWtl", ""),
    ("bearer ", "0123456789abcdef", " was sent"),
    ("postgresql://", "user:pw@host", "/app"),
    ("postgresql+asyncpg://", "jane:p@ss/w#rd@db.example:5432", "/app?ssl=on"),
    ("mongodb://", "u:pw@a.example:1,b.example:2", "/app"),
    ("redis://", ":pw@10.0.0.1:6379", "/0"),
    ("https://", "jane:pw@x.example", "/path?to=a"),
)
"""What stands before a credential, the credential, and what stands after it."""
LEFT_ALONE: Final = (
    "the password was changed",
    "Forgot your password? Reset it",
    "password: required field",
    "Password: must be at least 8 characters",
    "Passwort: vergessen?",
    '{"password": ["This field is required."]}',
    '{"password": "must be at least 8 characters"}',
    "password: str",
    "(token: SecretStr | None)",
    "password=auth[1])",
    "password = SecretStr(given[",
    "token = b64encode(pair).decode()",
    "tiktoken: 0.000605s",
    "postgresql://<user>:<password>@<host>:5432/<database>",
    "token: Optional[str] = None",
    "password=password",
    "password=os.environ['DB_PASSWORD']",
    "password=settings.db_password",
    "password = getpass.getpass()",
    "api_key=$API_KEY",
    "api_key=${API_KEY}",
    "api_key=<your key>",
    "password: ********",
    "max_tokens=409600000",
    "tokens: 123456789",
    "token: https://wiki.example/tokens1",
    "the token is expired",
    "token expires: 2026-11-23T10:15:00Z",
    "password to LinkedIn",
    "secret santa: Bob",
    "bearer token required",
    "Bearer authentication",
    "sk-learn",
    "sk-learn-contrib-with-a-long-name-of-words",
    "risk-" + "a1b2c3d4" * 6,
    "sb_" + "publishable_0123456789abcdef",
    "api_key=sb_" + "publishable_0123456789abcdef",
    "AKIA",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "123e4567-e89b-12d3-a456-426614174000",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUA",
    "eyJhbGciOiJub25lIn0",
    "-----BEGIN CERTIFICATE-----\n" + "ZmFr" * 16,
    "-----BEGIN PRIVATE KEY----- is how a key begins",
    "postgresql://localhost:5432/app",
    "postgresql://user@host/app",
    "postgresql://user:***@host/app",
    "postgresql://user:${PW}@host/app",
    "ssh://git@github.com/x/y.git",
    "https://x.example:8443/path?to=jane@mail.example",
)


@pytest.mark.parametrize("value", TOKENS)
def test_a_token_or_key_is_found_by_its_form(value: str) -> None:
    """As a whole, also in brackets and next to Japanese, which sets no blanks."""
    for before, after in (("", ""), ("see ", ", ok"), ("(", ")"), ("鍵は", "です。"), ("it is: ", ".\n")):
        text = before + value + after
        assert [text[f.start : f.end] for f in found_by([Credentials()], text)] == [value]


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_only_speaks_of_a_credential_is_left_alone(text: str) -> None:
    """Sentences, code, types, what stands for a secret, what is public, hashes and identifiers."""
    for around in ("{}", "see {}, ok", "({})"):
        assert not found_by([Credentials()], around.replace("{}", text))


@pytest.mark.parametrize(("before", "value", "after"), ASSIGNED)
def test_a_credential_is_found_by_what_stands_before_it(before: str, value: str, after: str) -> None:
    """The value alone: its name, its quotes and the scheme of a URL stay."""
    text = before + value + after
    assert [text[f.start : f.end] for f in found_by([Credentials()], text)] == [value]


@pytest.mark.parametrize("name", ["password", "api_key", "Passwort"])
def test_the_name_of_a_column_or_a_key_makes_its_value_a_credential(name: str) -> None:
    """As it does in a text."""
    redaction = Redaction({"clients": {name: scan(), "custom": scan()}})
    row = redaction.row("clients", {name: "hunter2hunter2", "custom": {name: "hunter2hunter2", "city": "hunter2"}})
    assert row == {name: "[CREDENTIAL]", "custom": {name: "[CREDENTIAL]", "city": "hunter2"}}


def test_credentials_are_one_only_if_they_are_the_same_to_the_letter() -> None:
    """Case counts, unlike in an address."""
    redactor = Redaction({}).session()
    assert redactor.text("pw=Fake0001 pw=fake0001 pw=Fake0001") == (
        "pw=[CREDENTIAL_1] pw=[CREDENTIAL_2] pw=[CREDENTIAL_1]"
    )


def test_the_default_redaction_finds_credentials() -> None:
    """And an action of a column names their kind like any other."""
    text = "postgresql://" + "user:pw@host/app"
    assert Redaction.default().row("leads", {"notes": text})["notes"] == "postgresql://[CREDENTIAL]/app"
    redaction = Redaction({"clients": {"key": pseudonymize("credential"), "notes": scan()}}, key="0123456789abcdef")
    row = redaction.row("clients", {"key": "hunter2", "notes": "password: hunter2"})
    assert row["notes"] == f"password: {row['key']}"
