"""Where PostgreSQL is, and what of that may be said."""

# persistence-guard: allow-file AP001 the adapter itself is under test

from __future__ import annotations

import sys

import pytest

from agent_persistence import ConfigurationError
from agent_persistence.adapters.postgres import PostgresAdapter
from agent_persistence.backends.postgres.dsn import checked_server
from agent_persistence.backends.postgres.libpq import parsed

PASSWORD = "pa55word"
URL = f"postgresql://me:{PASSWORD}@{{}}/crm"


def mode(dsn: str, environ: dict[str, str] | None = None, *, allow_plaintext: bool = False) -> str:
    server = checked_server(dsn, parsed, allow_plaintext=allow_plaintext, environ=environ or {})
    return server.options["sslmode"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:6543", "[::1]", "localhost", "db.localhost", "127.0.0.1,localhost", "%2Frun%2Fpg"]
)
def test_this_machine_may_be_reached_in_the_clear(host: str) -> None:
    """As may a Unix socket."""
    assert mode(URL.format(host)) == "prefer"


@pytest.mark.parametrize("host", ["db.example", "10.0.0.1", "localhost.evil.example", "127.0.0.1,db.example"])
def test_every_other_host_is_reached_by_tls(host: str) -> None:
    """Also where the URL says nothing about it; less than that is refused unless it is asked for."""
    assert mode(URL.format(host)) == "require"
    assert mode(URL.format(host) + "?sslmode=verify-full") == "verify-full"
    assert mode(URL.format(host) + "?sslrootcert=system") == "verify-full"
    assert mode(URL.format(host), {"PGSSLMODE": "verify-ca"}) == "verify-ca"
    assert mode(URL.format(host), allow_plaintext=True) == "prefer"
    for weak in ("disable", "allow", "prefer"):
        with pytest.raises(ConfigurationError, match=f"sslmode={weak}"):
            mode(URL.format(host) + f"?sslmode={weak}")
        with pytest.raises(ConfigurationError, match=f"sslmode={weak}"):
            mode(URL.format(host), {"PGSSLMODE": weak})
        assert mode(URL.format(host) + f"?sslmode={weak}", allow_plaintext=True) == weak


def test_an_address_beside_a_name_counts() -> None:
    """It is where the connection goes."""
    with pytest.raises(ConfigurationError, match=r"10\.0\.0\.1"):
        mode("host=localhost hostaddr=10.0.0.1 sslmode=disable")
    assert mode("host=db.example hostaddr=127.0.0.1") == "prefer"


@pytest.mark.parametrize(
    "dsn",
    [
        *(
            "",
            " ",
            "postgresql://",
            f"postgresql:///crm?password={PASSWORD}",
            "dbname=crm",
            f"https://me:{PASSWORD}@h/crm",
        ),
        *(f"postgresql://me:{PASSWORD}@h:x y/crm?no_such_option=1", f"host=h password='{PASSWORD}", None, 5),
        f"postgresql://me:{PASSWORD}@h/crm\ud800",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(dsn: object) -> None:
    """A misspelt URL holds the password too."""
    with pytest.raises(ConfigurationError, match="DATABASE_URL") as caught:
        checked_server(dsn, parsed, allow_plaintext=False, environ={})
    assert PASSWORD not in f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}"


def test_each_host_has_a_port_or_all_have_one() -> None:
    """libpq would refuse it too, but at the first call."""
    assert mode("host=localhost,127.0.0.1 port=5433,5434") == mode("host=localhost,127.0.0.1 port=5433") == "prefer"
    with pytest.raises(ConfigurationError, match="ports"):
        mode("host=localhost,127.0.0.1,::1 port=5433,5434")


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is connected."""
    monkeypatch.setitem(sys.modules, "agent_persistence.backends.postgres.libpq", None)
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[postgres\]'"):
        PostgresAdapter(URL.format("127.0.0.1"))


@pytest.mark.parametrize("dsn", [URL.format("127.0.0.1"), f"host=127.0.0.1 user=me password={PASSWORD}"])
def test_the_password_is_told_to_libpq_alone(dsn: str) -> None:
    """What the server says of itself is its place."""
    server = checked_server(dsn, parsed, allow_plaintext=False, environ={})
    assert f"password='{PASSWORD}'" in server.conninfo({}).get_secret_value()
    assert PASSWORD not in f"{server!r}{server.options!r}{server.password!r}"
    assert server.place == "127.0.0.1:5432"


@pytest.mark.parametrize(
    ("dsn", "address", "namespace"),
    [
        (URL.format("127.0.0.1"), ("127.0.0.1", 5432), "crm|public"),
        (f"host=db.example,other.example port=6543 password={PASSWORD}", ("db.example", 6543), "public"),
    ],
    ids=["a URL", "two hosts, no database"],
)
def test_observers_are_told_where_the_database_is(dsn: str, address: tuple[str, int], namespace: str) -> None:
    """As OpenTelemetry's conventions for PostgreSQL have it, without who logs in."""
    declared = PostgresAdapter(dsn).capabilities
    assert (declared.server, declared.namespace) == (address, namespace)
