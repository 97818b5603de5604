"""The CI guard: what goes round the persistence layer is found, what does not is left alone, nothing makes it crash."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from textwrap import dedent
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from agent_persistence import guard
from tests.scripts.guard_corpus import CORPUS

ROOT: Final = Path(__file__).parents[2]
SCRIPT: Final = ROOT / "scripts" / "ci_guard_persistence.py"
CALL: Final = "from agent_persistence import SupabaseAdapter\nSupabaseAdapter(url, key)\n"
BARE: Final = ("__init__", "_version")
WRITE: Final = 'agent.write("clients", {})\n'


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _write(name: str, source: str | bytes) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    return path


def _found(name: str = "app.py", *, factories: Sequence[str] = ()) -> list[tuple[int, str]]:
    findings = guard.check(
        Path(name).absolute(), PurePosixPath(name), guard.Places(tuple(factories)), guard.Resolver(Path.cwd())
    )
    return sorted((finding.line, finding.rule) for finding in findings)


def _messages(name: str = "app.py") -> str:
    findings = guard.check(Path(name).absolute(), PurePosixPath(name), guard.Places(), guard.Resolver(Path.cwd()))
    return "\n".join(finding.message for finding in findings)


def _run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus_is_judged_rightly(name: str) -> None:
    """Exactly the marked lines are found, with their rule."""
    source = dedent(CORPUS[name]).strip() + "\n"
    _write("app.py", source)
    marked = [
        (number, rule) for number, line in enumerate(source.splitlines(), 1) for rule in re.findall(r"#! (AP\d+)", line)
    ]
    assert _found() == marked


LINES: Final = [line for source in CORPUS.values() for line in dedent(source).strip().splitlines()]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.sampled_from(LINES), max_size=12))
def test_no_mixture_of_lines_is_too_much(lines: list[str]) -> None:
    """Whatever meets in one file, it is judged, or told to be no Python."""
    _write("app.py", "\n".join(lines))
    assert {rule for _, rule in _found()} <= {"AP000", "AP001", "AP002", "AP003"}


def test_the_corpus_has_both_kinds() -> None:
    """Control: every rule has a line to be found, and there are sources without any."""
    assert {rule for source in CORPUS.values() for rule in re.findall(r"#! (AP\d+)", source)} == {
        "AP001", "AP002", "AP003",
    }  # fmt: skip
    assert sum("#!" not in source for source in CORPUS.values()) >= 6


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("app.py", ["AP001", "AP002"]),
        ("factory.py", ["AP002"]),
        ("a/factory.py", ["AP002"]),
        ("factories/crm.py", ["AP002"]),
        ("my_factory.py", ["AP001", "AP002"]),
        ("tests/helpers.py", ["AP001"]),
        ("src/app/tests/deep/x.py", ["AP001"]),
        ("test_app.py", ["AP001"]),
        ("app_test.py", ["AP001"]),
        ("conftest.py", ["AP001"]),
        ("contest.py", ["AP001", "AP002"]),
        ("latest.py", ["AP001", "AP002"]),
        ("tests.py", ["AP001", "AP002"]),
        ("tests/factory.py", []),
    ],
)
def test_what_a_place_allows(name: str, rules: list[str]) -> None:
    """Factories construct, tests write to any table; each exemption is for its own rule."""
    _write(name, CALL + WRITE)
    assert [rule for _, rule in _found(name)] == rules


@pytest.mark.parametrize(
    ("glob", "name", "allowed"),
    [
        ("wiring.py", "src/app/wiring.py", True),
        ("src/app/*", "src/app/deep/x.py", True),
        ("app/wiring.py", "src/app/wiring.py", True),
        ("*_wiring.py", "src/app/wiring.py", False),
        ("wiring.py", "src/app/my_wiring.py", False),
    ],
)
def test_a_glob_names_further_factories(glob: str, name: str, allowed: bool) -> None:
    """It fits the whole path or its end, at a folder's border; `*` spans folders."""
    _write(name, CALL)
    assert _found(name, factories=[glob]) == ([] if allowed else [(2, "AP001")])


def test_a_checkout_below_a_folder_named_tests_is_no_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the part of the path below the directory the guard runs in, or that it was given, counts."""
    _write("tests/project/app.py", WRITE)
    monkeypatch.chdir("tests/project")
    assert _run(".").returncode == 1
    monkeypatch.chdir(tmp_path)
    assert _run("tests/project").returncode == 0
    (tmp_path / "elsewhere").mkdir()
    assert _run(str(tmp_path / "tests" / "project"), cwd=tmp_path / "elsewhere").returncode == 1


def test_names_are_followed_through_imports(tmp_path: Path) -> None:
    """Constants, classes and aliases of the project's own files: absolute, relative, by star, through a package."""
    _write("app/__init__.py", "from .tables import CLIENTS\n")
    _write("app/tables.py", 'CLIENTS = "clients"\nALL = ["leads", CLIENTS]\n')
    _write("app/stores.py", "from agent_persistence import SupabaseAdapter as S\nclass Store(S): ...\n")
    _write(
        "app/jobs/load.py",
        dedent("""
            import app
            from app import CLIENTS, tables
            from app.tables import ALL as EVERY
            from ..stores import Store
            from ..tables import *
            from .. import stores
            agent.write(CLIENTS, record)
            agent.write(tables.CLIENTS, record)
            agent.write(app.tables.CLIENTS, record)
            agent.write(EVERY[0], record)
            [agent.write(each, record) for each in ALL]
            Store(url, key)
            stores.Store(url, key)
            stores.S(url, key)
            agent.write(app.tables.LEADS, record)
        """).lstrip(),
    )
    assert _found("app/jobs/load.py") == [(n, "AP002") for n in range(7, 12)] + [(n, "AP001") for n in range(12, 15)]


def test_imports_in_a_circle_end(tmp_path: Path) -> None:
    """Names that lead back to themselves stand for nothing."""
    _write("a.py", "from b import TABLE, X\nfrom b import *\nagent.write(TABLE, {})\nagent.write(Y, {})\n")
    _write("b.py", "from a import TABLE, X\nfrom a import *\nX = X\nY = Y + 'clients'\n")
    assert _found("a.py") == []


def test_packages_that_are_installed_are_not_read(tmp_path: Path) -> None:
    """A folder named supabase, as its command line makes one, does not stand for the library."""
    _write("supabase/__init__.py", "create_client = print\n")
    _write("app.py", "from supabase import create_client\ncreate_client(url)\n")
    assert _found() == [(2, "AP003")]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (f"{WRITE.strip()}  # persistence-guard: allow AP002 the yearly import", []),
        (f"# persistence-guard: allow AP002 the yearly import\n{WRITE}", []),
        (f"# persistence-guard: allow AP002 a\n# more about it\n\n{WRITE}", []),
        ('agent.write(\n    "clients",  # persistence-guard: allow AP002 reason\n    {},\n)', []),
        (f"{CALL.strip()}  # persistence-guard: allow AP001, AP003 reason", [(2, "AP000")]),
        (f"{WRITE.strip()}  # persistence-guard: allow AP002", [(1, "AP000"), (1, "AP002")]),
        (f"{WRITE.strip()}  # persistence-guard: allow AP001 reason", [(1, "AP000"), (1, "AP002")]),
        (f"{WRITE.strip()}  # persistence-guard: alow AP002 reason", [(1, "AP000"), (1, "AP002")]),
        (f"{WRITE.strip()}  # persistence-guard: allow AP02 reason", [(1, "AP000"), (1, "AP002")]),
        (f"{WRITE.strip()}  # persistence-guard allow AP002 reason", []),
        (f"# persistence-guard: allow AP002 reason\nx = 1\n{WRITE}", [(1, "AP000"), (3, "AP002")]),
        (f"{WRITE}{WRITE.strip()}  # persistence-guard: allow AP002 reason", [(1, "AP002")]),
        (f"{WRITE.strip()}; '# persistence-guard: allow AP002 reason'", [(1, "AP002")]),
        ("x = 1  # persistence-guard: allow AP002 reason", [(1, "AP000")]),
        (f"# persistence-guard: allow-file AP002 reason\nx = 1\n{WRITE}{WRITE}{CALL}", [(6, "AP001")]),
        (f"# persistence-guard: allow-file AP002\n{WRITE}", [(1, "AP000"), (2, "AP002")]),
        (f"# persistence-guard: allow-file AP001 reason\n{WRITE}", [(1, "AP000"), (2, "AP002")]),
    ],
)
def test_a_pragma_allows_one_rule_for_a_reason(source: str, found: list[tuple[int, str]]) -> None:
    """At its line, alone above it, or for its file; one without reason, misspelt or without effect is a finding."""
    _write("app.py", source)
    assert _found() == found


def test_a_pragma_above_a_statement_holds_for_all_of_it() -> None:
    """A formatter may break the statement into lines."""
    _write(
        "app.py", f"# persistence-guard: allow AP002 loader\ncounts = [\n    {WRITE.strip()}\n    for _ in range(3)\n]"
    )
    assert _found() == []


DEEP: Final = 20_000


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def broken(:\n", "no syntax of Python"),
        ("print 'two'\n", "no syntax of Python"),
        (b"x = '\xff'\n", "its encoding"),
        (b"# coding: no-such-thing\n", "its encoding"),
        (b"\xef\xbb\xbf# coding: latin-1\n", "its encoding"),
        (b"x = 1\0\n", "cannot be checked"),
        ("(" * 1000 + ")" * 1000, "cannot be checked"),
        ("-" * DEEP + "1", "cannot be checked"),
        ("+".join(["'a'"] * DEEP), "cannot be checked"),
        ("x" + ".y" * DEEP, "cannot be checked"),
        ("#" * 6_000_000, "larger than"),
    ],
    ids=["syntax", "Python 2", "bytes", "coding", "BOM", "NUL", "brackets", "unary", "sums", "attributes", "huge"],
)
def test_a_file_that_cannot_be_checked_is_a_finding(source: str | bytes, told: str) -> None:
    """Not a crash, and not silence: nobody knows what is in it."""
    _write("app.py", source)
    assert [rule for _, rule in _found()] == ["AP000"]
    assert told in _messages()


@pytest.mark.parametrize(
    "source",
    [
        "",
        "\n\n",
        "# only a comment",
        b"\xef\xbb\xbfx = 1\r\ny = 2\r",
        b"# -*- coding: latin-1 -*-\nx = '\xe9'\n",
        "if x:\n    pass\n" + "elif y:\n    pass\n" * 900,
        "x = " + "[" * 90 + "]" * 90,
        "a0 = 'c'\n" + "".join(f"a{n + 1} = a{n} + a{n}\n" for n in range(200)) + "agent.write(a200, {})\n",
        "f(" * 90 + ")" * 90,
        "from . import *\nfrom ... import x\nfrom ........ import y\nx(); y(); z()\n",
        "agent.write(*args, **kwargs); agent.write(); partial(); getattr(); map(); zip(); enumerate()\n",
        "def f(a, /, b, *c, d, e=1, **g): return lambda *h, i=2: (yield)\n",
    ],
)
def test_odd_files_are_clean(source: str | bytes) -> None:
    """Empty, with a byte order mark, in another encoding, long, doubling, incomplete."""
    _write("app.py", source)
    assert _found() == []


def test_odd_files_are_still_read() -> None:
    """Control for the two above: what an odd file holds is found, at the right line and column."""
    _write("bom.py", b"\xef\xbb\xbfx = 1\r\n\r\n" + WRITE.encode())
    assert _found("bom.py") == [(3, "AP002")]
    _write("latin.py", b"# coding: latin-1\nx = '\xe9\xe9'; " + WRITE.encode())
    ended = _run("latin.py")
    assert ended.stdout.startswith("latin.py:2:11: AP002 ")


def test_folders_are_walked_without_following_links(tmp_path: Path) -> None:
    """A link into a circle ends, a file that two names lead to is checked once, and what is not ours is left out."""
    _write("src/app.py", WRITE)
    for skipped in (".venv/x.py", "venv/lib/x.py", "node_modules/x.py", "__pycache__/x.py", ".git/x.py"):
        _write(f"src/{skipped}", WRITE)
    _write("src/venv/pyvenv.cfg", "")
    _write("src/notes.txt", WRITE)
    Path("src/circle").symlink_to(tmp_path / "src")
    Path("src/same.py").symlink_to(tmp_path / "src" / "app.py")
    Path("src/self.py").symlink_to("self.py")
    Path("src/dangling.py").symlink_to("nowhere")
    ended = _run("src", "src/app.py")
    assert sorted(line.split(": ")[1].split()[0] for line in ended.stdout.splitlines()) == ["AP000", "AP000", "AP002"]
    assert ended.returncode == 1


def test_a_file_that_is_named_is_checked_wherever_it_is() -> None:
    """Hooks name files; one without the ending is Python as well then."""
    _write(".hidden/x.py", WRITE)
    _write("tool", "#!/usr/bin/env python\n" + WRITE)
    assert _run(".hidden/x.py", "tool").stdout.count("AP002") == 2


def test_pipes_and_unreadable_files_are_findings(tmp_path: Path) -> None:
    """Reading a pipe would wait for ever."""
    os.mkfifo("pipe.py")
    _write("locked.py", WRITE).chmod(0)
    ended = _run(".")
    assert "pipe.py:1:1: AP000 cannot be checked: no regular file" in ended.stdout
    assert "locked.py:1:" in ended.stdout
    assert ended.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["clean.py"], 0),
        (["."], 1),
        ([], 1),
        (["app.py"], 1),
        (["app.py", "--format", "github"], 1),
        (["app.py", "--factory", "app.py"], 0),
        (["--factory", "nothing", "--factory", "app.py", "app.py"], 0),
        (["missing.py"], 2),
        (["empty"], 2),
        (["app.py", "--format", "xml"], 2),
        (["app.py", "--fact", "app.py"], 2),
        (["--help"], 0),
    ],
)
def test_the_exit_status_tells_the_outcome(arguments: list[str], status: int) -> None:
    """0 clean, 1 findings, 2 usage: a misspelt path or option never looks like a clean run."""
    _write("app.py", CALL)
    _write("clean.py", "x = 1\n")
    Path("empty").mkdir()
    ended = _run(*arguments)
    assert ended.returncode == status
    assert "Traceback" not in ended.stderr


def test_text_names_file_line_and_column() -> None:
    """In the form that editors jump to, in order."""
    _write("b.py", "x = 1; " + WRITE)
    _write("a.py", CALL)
    lines = _run(".").stdout.splitlines()
    assert [line.split(" ")[:2] for line in lines] == [["a.py:2:1:", "AP001"], ["b.py:1:8:", "AP002"]]
    assert "clients is a governance table" in lines[1]


def test_github_annotations_are_escaped() -> None:
    """Whatever a file's name holds, it ends in the property it belongs to, and no line can pass for another command."""
    name = "a,b:c%d\n::set-output name=x::y.py"
    _write(name, CALL)
    ended = _run(name, "--format", "github")
    assert ended.stdout.splitlines() == [
        "::error file=a%2Cb%3Ac%25d%0A%3A%3Aset-output name=x%3A%3Ay.py,line=2,col=1,title=AP001::"
        + guard.MESSAGES["AP001"].format(name="SupabaseAdapter")
    ]
    assert _run(name).stdout.count("\n") == 1


def test_a_name_that_is_no_text_is_printed() -> None:
    """File names are bytes."""
    with open(b"\xff.py", "w") as file:  # noqa: PTH123 - Path takes no bytes
        file.write(CALL)
    ended = _run(".")
    assert (ended.returncode, ended.stderr) == (1, "1 findings in 1 files\n")


def test_this_repository_is_clean() -> None:
    """What CI runs."""
    ended = _run("src", "examples", "benchmarks", "scripts", "tests", cwd=ROOT)
    assert (ended.stdout, ended.returncode) == ("", 0)


def test_the_guard_runs_from_a_checkout_where_nothing_is_installed(tmp_path: Path) -> None:
    """It needs the standard library, itself, and of the package nothing but the version."""
    for path in ("scripts/ci_guard_persistence.py", *(f"src/agent_persistence/{name}.py" for name in BARE)):
        _write(f"checkout/{path}", (ROOT / path).read_bytes())
    shutil.copytree(ROOT / "src" / "agent_persistence" / "guard", "checkout/src/agent_persistence/guard")
    _write("app/app.py", CALL)
    copy = tmp_path / "checkout" / "scripts" / "ci_guard_persistence.py"
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(copy), "app"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout.count("AP001")) == (1, 1)


def test_the_governance_tables_are_those_of_the_policy() -> None:
    """The guard imports nothing else of the package; this keeps the two lists one."""
    from agent_persistence.policy import BUSINESS_TABLES, GOVERNANCE_TABLES

    assert guard.GOVERNANCE_TABLES == GOVERNANCE_TABLES
    assert set(guard.KNOWN_CONSTANTS["BUSINESS_TABLES"]) <= BUSINESS_TABLES
