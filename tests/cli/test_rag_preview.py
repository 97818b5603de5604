"""`rag preview` shows the prompt that a model would get, and where its tokens go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent_persistence import build_rag_context, create_readonly_rag_facade
from agent_persistence.cli.running import run
from examples import crm_data
from tests.cli.program import in_terminal, ran
from tests.server import LocalServer

MAYA = "email=maya.okafor@brightwater.example"


@pytest.fixture
def crm(tmp_path: Path) -> tuple[str, ...]:
    """The options that name a lead with a conversation, in memory."""
    lead, conversation = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
    rows = {
        "leads": [{"id": lead, "email": "ada@example.org", "first_name": "Ada", "notes": "word " * 200}],
        "conversations": [{"id": conversation, "lead_id": lead, "subject": "Plans"}],
        "messages": [
            {"id": number, "conversation_id": conversation, "role": "user", "content": f"message {number}"}
            for number in range(1, 6)
        ],
    }
    (tmp_path / "crm.json").write_text(json.dumps(rows))
    return ("--kind", "memory", "--rows", "crm.json", "--lead", "email=ada@example.org")


def test_a_pipe_gets_the_prompt_and_nothing_else(crm: tuple[str, ...]) -> None:
    """The report is on stderr."""
    ended = ran("rag", "preview", *crm)
    assert ended.out.startswith("<crm_context>\n")
    assert ended.out.endswith("</crm_context>\n")
    assert "no limit" in ended.err
    assert "no limit" not in ended.out


@pytest.mark.parametrize("form", ["xml", "markdown", "json"])
def test_the_forms_are_those_of_the_library(form: str, crm: tuple[str, ...]) -> None:
    """The document's prompt is the text on stdout."""
    document = ran("rag", "preview", *crm, "--format", form, "--json").document
    assert document["prompt"].rstrip("\n") == ran("rag", "preview", *crm, "--format", form).out.rstrip("\n")
    assert document["format"] == form


def test_a_budget_is_kept_and_told(crm: tuple[str, ...]) -> None:
    """With what was dropped for it."""
    document = ran("rag", "preview", *crm, "--max-tokens", "200", "--reserve", "20", "--json").document
    assert document["tokens"]["used"] <= 180
    assert (document["tokens"]["budget"], document["tokens"]["reserve"]) == (200, 20)
    assert sum(told["clipped"] + told["dropped_by_budget"] for told in document["report"].values()) > 0
    report = ran("rag", "preview", *crm, "--max-tokens", "200", "--reserve", "20").err
    assert "of 180 tokens" in report
    assert "20 more in reserve" in report


def test_every_reference_has_its_source(crm: tuple[str, ...]) -> None:
    """The table and the key, for what a model cites."""
    document = ran("rag", "preview", *crm, "--json").document
    assert {told["table"] for told in document["sources"].values()} == {"leads", "conversations", "messages"}
    assert all(f'ref="{ref}"' in document["prompt"] for ref in document["sources"])


def test_personal_data_is_labelled_if_asked(crm: tuple[str, ...]) -> None:
    """And only then."""
    assert "ada@example.org" in ran("rag", "preview", *crm).out
    redacted = ran("rag", "preview", *crm, "--redact").out
    assert "ada@example.org" not in redacted
    assert "[EMAIL_1]" in redacted


def test_limits_are_by_table(crm: tuple[str, ...]) -> None:
    """0 leaves a table out."""
    document = ran("rag", "preview", *crm, "--limit", "messages=2", "--json").document
    assert document["report"]["messages"]["kept"] == 2
    assert document["report"]["messages"]["dropped_by_limit"] > 0


@pytest.mark.parametrize(
    "wrong",
    [("--limit", "messages"), ("--limit", "notes=5"), ("--reserve", "5"), ("--format", "html"), ("--lead", "x")],
)
def test_a_wrong_option_is_a_wrong_call(wrong: tuple[str, ...], crm: tuple[str, ...]) -> None:
    """Told before anything is read."""
    assert ran("rag", "preview", *crm, *wrong).status == 2


def test_a_table_that_may_not_be_read_is_a_warning(crm: tuple[str, ...], tmp_path: Path) -> None:
    """Told beside the prompt."""
    (tmp_path / "policy.toml").write_text('read = ["leads"]\n')
    ended = ran("rag", "preview", *crm, "--policy", "policy.toml")
    assert "warning: " in ended.err
    assert ended.status == 0


def test_a_terminal_gets_colours_and_the_report_below(crm: tuple[str, ...]) -> None:
    """Tags, labels and the bar of tokens."""
    shown = in_terminal(
        "rag", "preview", *crm, "--max-tokens", "300", "--redact", "--query", "Which plan?", "--format", "xml"
    )
    assert "\x1b[36m<lead" in shown
    assert "\x1b[35m[EMAIL_1]\x1b[0m" in shown
    assert shown.index("</crm_context") < shown.index("tokens") < shown.index("fetched")


def test_the_real_server_gives_the_prompt_of_the_library(project: LocalServer) -> None:
    """The same bytes."""

    async def expected() -> str:
        from agent_persistence import create_persistence_agent

        async with create_persistence_agent(policy=crm_data.LOADER) as loader:
            await crm_data.load(loader)
        async with create_readonly_rag_facade() as facade:
            context = await build_rag_context(
                facade, lead_filters={"email": MAYA.partition("=")[2]}, query="When?", max_tokens=800
            )
            return context.to_prompt()

    text = run(expected)
    assert (
        ran("rag", "preview", "--lead", MAYA, "--query", "When?", "--max-tokens", "800").out.rstrip() == text.rstrip()
    )


def test_a_page_about_the_prompt_is_written(crm: tuple[str, ...], tmp_path: Path) -> None:
    """Beside the prompt, of the same format; redacted where the prompt is."""
    ended = ran("rag", "preview", *crm, "--redact", "--format", "markdown", "--html", "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "# crm_context" in page
    assert ended.out.startswith("# crm_context")
    assert "ada@example.org" not in page


def test_a_page_that_cannot_be_written_is_said(crm: tuple[str, ...]) -> None:
    ended = ran("rag", "preview", *crm, "--html", "nowhere/page.html")
    assert ended.status != 0
    assert "nowhere" in ended.err
    assert "Traceback" not in ended.err
