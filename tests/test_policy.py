"""What a service may touch."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from agent_persistence import ConfigurationError, TablePolicy
from tests.doubles import Lying, shown


def test_by_default_all_eight_tables_are_read_and_all_but_the_governance_tables_written() -> None:
    """The document's default policy."""
    policy = TablePolicy()
    assert policy.read == {
        "campaigns", "clients", "conversations", "leads", "messages", "sequences", "staging_leads", "inquiries",
    }  # fmt: skip
    assert policy.read - policy.write == {"clients", "campaigns"}
    assert policy.write <= policy.read
    assert policy.max_rows == 100_000


def test_later_edits_of_the_collection_passed_in_change_nothing() -> None:
    """The lists are copied and frozen."""
    tables: Any = {"leads"}
    policy = TablePolicy(read=tables, write=tables)
    tables.add("clients")
    assert policy.read == policy.write == {"leads"}
    assert not hasattr(policy.write, "add")


@pytest.mark.parametrize("option", ["read", "write", "max_rows"])
def test_a_policy_is_frozen(option: str) -> None:
    """No attribute of it can be set."""
    with pytest.raises(FrozenInstanceError):
        setattr(TablePolicy(), option, frozenset({"clients"}))


@pytest.mark.parametrize(
    "names",
    [
        "leads",
        ["leads", "Leads"],
        [""],
        ["leads "],
        ["public.leads"],
        ["leads\n"],
        ["ｌｅａｄｓ"],
        ["a" * 64],
        ["1a"],
        [b"leads"],
        [None],
        [Lying("leads", "leads")],
    ],
    ids=shown,
)
@pytest.mark.parametrize("option", ["read", "write"])
def test_a_name_that_is_no_identifier_is_refused(option: str, names: Any) -> None:
    """The message names the option; a bare str is not taken for a list of letters."""
    options: dict[str, Any] = {option: names}
    with pytest.raises(ConfigurationError, match=option):
        TablePolicy(**options)


def test_the_longest_name_that_postgres_has_is_accepted() -> None:
    """Control of the rule above: 63 characters, digits and underscores."""
    longest = "_" + "a1" * 31
    assert TablePolicy(read=frozenset({longest})).read == {longest}


@pytest.mark.parametrize("max_rows", [0, -1, True, 1.5, "5", None], ids=shown)
def test_max_rows_is_a_positive_int(max_rows: Any) -> None:
    """Anything else is refused at construction."""
    with pytest.raises(ConfigurationError, match="max_rows"):
        TablePolicy(max_rows=max_rows)


def test_a_misspelt_option_raises() -> None:
    """A safety option that nobody reads would be worse than none."""
    options: dict[str, Any] = {"raed": {"leads"}}
    with pytest.raises(TypeError, match="raed"):
        TablePolicy(**options)


@pytest.mark.parametrize("names", [5, None, [["leads"]]], ids=shown)
def test_what_is_no_collection_of_names_is_refused(names: Any) -> None:
    """The error is the package's own and names the option."""
    with pytest.raises(ConfigurationError, match="read"):
        TablePolicy(read=names)
