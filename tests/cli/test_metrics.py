"""`metrics` shows the figures that an application wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent_persistence.metrics import Metrics
from tests.cli.program import in_terminal, ran


@pytest.fixture
def snapshot() -> str:
    metrics = Metrics()
    for duration_s in (0.001, 0.002, 0.003):
        metrics.record("query", "leads", duration_s, failed=False)
    metrics.record("write", "messages", 0.5, failed=True)
    return json.dumps(metrics.snapshot())


def test_a_snapshot_is_shown_as_a_table(snapshot: str, tmp_path: Path) -> None:
    """One line for each operation and table, times in milliseconds."""
    (tmp_path / "metrics.json").write_text(snapshot)
    lines = ran("metrics", "metrics.json").out.splitlines()
    assert lines[0].split() == ["operation", "table", "count", "errors", "min", "avg", "p50", "p95", "p99", "max"]
    assert lines[2].split()[:6] == ["query", "leads", "3", "0", "1.00", "2.00"]
    assert lines[3].split()[:6] == ["write", "messages", "1", "1", "500.00", "500.00"]


def test_stdin_is_read_where_no_file_is_named(snapshot: str) -> None:
    """Or where it is named -."""
    assert ran("metrics", stdin=snapshot).out == ran("metrics", "-", stdin=snapshot).out != ""


def test_a_figure_sorts_the_largest_first(snapshot: str) -> None:
    """And the name is the order else."""
    document = ran("metrics", "--sort", "p99_ms", "--json", stdin=snapshot).document
    assert [each["operation"] for each in document["metrics"]] == ["write", "query"]
    document = ran("metrics", "--json", stdin=snapshot).document
    assert [each["operation"] for each in document["metrics"]] == ["query", "write"]
    assert ran("metrics", "--sort", "speed", stdin=snapshot).status == 2


def test_errors_stand_out_in_a_terminal(snapshot: str, tmp_path: Path) -> None:
    """In red."""
    (tmp_path / "metrics.json").write_text(snapshot)
    assert "\x1b[31m" in in_terminal("metrics", "metrics.json")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"query": 5}', '{"query": {"leads": {"count": 1}}}', '{"a": {"b": 5}}']
)
def test_what_is_no_snapshot_is_refused(text: str) -> None:
    """With the line that writes one."""
    ended = ran("metrics", stdin=text)
    assert ended.status == 3
    assert "Traceback" not in ended.err


def test_no_call_is_no_table() -> None:
    """A process that has just started."""
    ended = ran("metrics", stdin="{}")
    assert (ended.status, ended.out) == (0, "")
    assert "no call was counted" in ended.err
