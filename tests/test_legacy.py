"""The stand-in for DBWriteAgent."""

from __future__ import annotations

import pytest

from agent_persistence import ConfigurationError, TableNotAllowedError
from agent_persistence.legacy import DBWriteAgent
from agent_persistence.sync import create_persistence_agent
from examples import legacy_script


def test_a_legacy_script_runs_with_one_import_changed(capsys: pytest.CaptureFixture[str]) -> None:
    """write, batch_write and upsert go on working."""
    with pytest.warns(DeprecationWarning, match="create_persistence_agent"):
        legacy_script.main()
    assert capsys.readouterr().out == "one@x.io is contacted\n"
    assert len(create_persistence_agent(kind="memory").query("leads")) == 2


def test_the_warning_points_at_the_callers_line() -> None:
    """Whoever migrates finds the places by their warnings."""
    with pytest.warns(DeprecationWarning, match="DBWriteAgent") as caught:
        DBWriteAgent(kind="memory")
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_is_held_to_the_same_policy_and_configuration() -> None:
    """The shim is no way round the allow-list, and does not fall back to memory."""
    with pytest.raises(TableNotAllowedError):
        DBWriteAgent(kind="memory").write("clients", {"name": "n"})
    with pytest.raises(ConfigurationError, match="SUPABASE_URL"):
        DBWriteAgent()
