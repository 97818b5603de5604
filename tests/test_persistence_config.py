"""Settings from the environment."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

import pydantic
import pytest
from pydantic import SecretStr

from agent_persistence import ConfigurationError, PersistenceConfig, get_read_allowlist, get_write_allowlist
from tests.doubles import shown

EIGHT = {"campaigns", "clients", "conversations", "leads", "messages", "sequences", "staging_leads", "inquiries"}
SECRET = "sb_secret_do_not_show"

# What each state of a variable means, written down and not computed: None is "not set".
ALLOWED = {None: None, "": set[str](), " , ,": set[str](), "leads, clients,,custom ": {"leads", "clients", "custom"}}
READ = {None: None, "": set[str](), ",": set[str](), " messages ,clients": {"messages", "clients"}}
WRITE = {None: None, "": set[str](), " ": set[str](), "campaigns,leads,other,": {"campaigns", "leads", "other"}}
DENY = {None: set[str](), "": set[str](), ", ,": set[str](), "leads , sequences": {"leads", "sequences"}}
CASES = list(product(ALLOWED, READ, WRITE, DENY))


def _environ(allowed: str | None, read: str | None, write: str | None, deny: str | None) -> dict[str, str]:
    variables = {
        "PERSIST_ALLOWED_TABLES": allowed,
        "PERSIST_READ_TABLES": read,
        "PERSIST_WRITE_TABLES": write,
        "PERSIST_WRITE_DENY": deny,
    }
    return {name: value for name, value in variables.items() if value is not None}


def _or(value: set[str] | None, otherwise: set[str]) -> set[str]:
    return otherwise if value is None else value


@pytest.mark.parametrize(("allowed", "read", "write", "deny"), CASES)
def test_the_lists_follow_the_formulas_for_every_combination(
    allowed: str | None, read: str | None, write: str | None, deny: str | None
) -> None:
    """READ = READ_TABLES, else ALLOWED_TABLES, else the eight.

    WRITE = WRITE_TABLES, else (ALLOWED_TABLES or the eight) - {clients, campaigns} - WRITE_DENY.
    Set but empty means the empty list.
    """
    environ = _environ(allowed, read, write, deny)
    base = _or(ALLOWED[allowed], EIGHT)
    assert get_read_allowlist(environ) == _or(READ[read], base)
    assert get_write_allowlist(environ) == _or(WRITE[write], base - {"clients", "campaigns"} - DENY[deny])


def test_every_combination_is_in_the_table() -> None:
    """Control: unset, empty, blank with commas and filled, for each of four variables."""
    assert len(CASES) == 4**4


def test_without_argument_the_process_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read at the time of the call, not of the import."""
    monkeypatch.setenv("PERSIST_READ_TABLES", "leads")
    monkeypatch.setenv("PERSIST_WRITE_TABLES", "messages")
    assert get_read_allowlist() == {"leads"}
    assert get_write_allowlist() == {"messages"}


@pytest.mark.parametrize(
    "name",
    ["Leads", "public.leads", "leads/../clients", "rpc/purge", "le ads", "ｌｅａｄｓ", "1a", "a" * 64, "leads;x"],
)
@pytest.mark.parametrize(
    "variable", ["PERSIST_ALLOWED_TABLES", "PERSIST_READ_TABLES", "PERSIST_WRITE_TABLES", "PERSIST_WRITE_DENY"]
)
def test_a_bad_name_is_refused_with_its_variable(variable: str, name: str) -> None:
    """A list that can never match would silently allow less, or deny nothing."""
    with pytest.raises(ConfigurationError, match=variable):
        PersistenceConfig.from_env({variable: f"messages,{name}"})


@pytest.mark.parametrize("deny", ["laeds", "leads,nothing", "custom"])
def test_denying_an_unknown_table_raises(deny: str) -> None:
    """A misspelt denial would leave the table writable."""
    with pytest.raises(ConfigurationError, match="PERSIST_WRITE_DENY"):
        PersistenceConfig.from_env({"PERSIST_WRITE_DENY": deny})


@pytest.mark.parametrize(
    "environ",
    [
        {"PERSIST_WRITE_DENY": "custom", "PERSIST_ALLOWED_TABLES": "custom,leads"},
        {"PERSIST_WRITE_DENY": "clients"},
        {"PERSIST_WRITE_DENY": "no_such", "PERSIST_WRITE_TABLES": "leads"},
    ],
    ids=["allowed", "governance", "ignored"],
)
def test_a_known_or_ignored_denial_is_accepted(environ: dict[str, str]) -> None:
    """Control of the rule above; beside PERSIST_WRITE_TABLES the denial is ignored."""
    PersistenceConfig.from_env(environ)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("PERSIST_ALOWED_TABLES", "PERSIST_ALLOWED_TABLES"),
        ("PERSIST_ALLOWED_TABLE", "PERSIST_ALLOWED_TABLES"),
        ("PERSIST_READ_TABLE", "PERSIST_READ_TABLES"),
        ("PERSIST_READONLY_TABLES", "PERSIST_READ_TABLES"),
        ("PERSIST_WRITE_TABLE", "PERSIST_WRITE_TABLES"),
        ("PERSIST_WRITE_DENIED", "PERSIST_WRITE_DENY"),
        ("PERSIST_WRITE_DENY_TABLES", "PERSIST_WRITE"),
        ("PERSISTENCE_WRITE_DENY", "PERSIST_WRITE_DENY"),
        ("PERSIST_LOGING", "PERSIST_LOGGING"),
    ],
)
def test_a_misspelt_variable_raises_and_is_set_right(variable: str, meant: str) -> None:
    """A safety option that nobody reads is an error, and the message says what was meant."""
    with pytest.raises(ConfigurationError, match=f"did you mean {meant}"):
        PersistenceConfig.from_env({variable: "leads"})


@pytest.mark.parametrize(
    "variable", ["PERSIT_WRITE_DENY", "PRESIST_WRITE_DENY", "persist_write_deny", "PERSIST_DENY_WRITE", "PERSIST_DENY"]
)
def test_a_denial_with_a_misspelt_prefix_raises(variable: str) -> None:
    """The rule above holds for the whole name."""
    with pytest.raises(ConfigurationError):
        PersistenceConfig.from_env({variable: "leads"})


@pytest.mark.parametrize("variable", ["PATH", "SUPABASE_DB_URL", "PERSISTENT_DIR", "PYTHONPATH"])
def test_variables_of_others_are_left_alone(variable: str) -> None:
    """Control: only what looks like one of ours is refused."""
    PersistenceConfig.from_env({variable: "x"})


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({}, None),
        ({"SUPABASE_KEY": "anon"}, "anon"),
        ({"SUPABASE_SERVICE_KEY": "service"}, "service"),
        ({"SUPABASE_SERVICE_KEY": "service", "SUPABASE_KEY": "anon"}, "service"),
        ({"SUPABASE_SERVICE_KEY": " ", "SUPABASE_KEY": "anon"}, "anon"),
        ({"SUPABASE_KEY": " anon\n"}, "anon"),
        ({"SUPABASE_KEY": ""}, None),
    ],
    ids=shown,
)
def test_the_service_key_beats_the_other(environ: dict[str, str], key: str | None) -> None:
    """Blank variables count as not set, and blanks around a key are no part of it."""
    config = PersistenceConfig.from_env(environ)
    assert (config.supabase_key.get_secret_value() if config.supabase_key else None) == key


@pytest.mark.parametrize("value", ["1", "0", "false", ""])
def test_logging_counts_when_present(value: str) -> None:
    """PERSIST_LOGGING is on whatever its value."""
    assert PersistenceConfig.from_env({"PERSIST_LOGGING": value}).logging
    assert not PersistenceConfig.from_env({}).logging


@pytest.mark.parametrize(
    "show",
    [repr, str, ascii, lambda it: repr(vars(it)), lambda it: str(it.model_dump()), lambda it: it.model_dump_json()],
)
def test_the_key_is_shown_nowhere(show: Any) -> None:
    """Whoever prints the settings prints asterisks."""
    config = PersistenceConfig.from_env({"SUPABASE_URL": "https://p.supabase.co", "SUPABASE_SERVICE_KEY": SECRET})
    assert SECRET not in show(config)
    assert "**********" in show(config)


@pytest.mark.parametrize(
    "options",
    [
        {"supabase_key": [SECRET]},
        {"supabase_key": SECRET.encode() + b"\xff"},
        {"supabase_key": SECRET, "supabase_url": 5},
        {"supabase_key": SECRET, "read_tables": 5},
        {"supabase_key": SECRET, "no_such_option": SECRET},
    ],
    ids=["list", "bytes", "url", "tables", "unknown"],
)
def test_no_error_shows_the_key(options: dict[str, Any]) -> None:
    """Neither the text of the error nor its arguments hold what was passed in."""
    with pytest.raises(ConfigurationError) as caught:
        PersistenceConfig(**options)
    error = caught.value
    assert SECRET not in f"{error!r} {error} {error.args} {error.__context__}"


def test_settings_are_frozen() -> None:
    """A list cannot grow after it was checked."""
    config = PersistenceConfig(read_tables=frozenset({"leads"}))
    with pytest.raises(pydantic.ValidationError):
        config.read_tables = frozenset({"clients"})
    assert copy.deepcopy(config) == config


def test_an_unknown_option_raises_and_names_the_known_ones() -> None:
    """A misspelt option would be a safety option that nobody reads."""
    options: dict[str, Any] = {"write_denny": {"leads"}}
    with pytest.raises(ConfigurationError, match=r"write_denny.*write_deny"):
        PersistenceConfig(**options)


@pytest.mark.parametrize("option", ["allowed_tables", "read_tables", "write_tables", "write_deny"])
def test_a_single_text_is_no_list_of_names(option: str) -> None:
    """`read_tables="leads"` is refused and not read letter by letter."""
    options: dict[str, Any] = {option: "leads"}
    with pytest.raises(ConfigurationError, match=option):
        PersistenceConfig(**options)


def test_a_key_may_be_given_as_a_secret() -> None:
    """What comes from a secret store need not be opened first."""
    config = PersistenceConfig(supabase_key=SecretStr(SECRET))
    assert config.supabase_key is not None
    assert config.supabase_key.get_secret_value() == SECRET
