"""What is released: the wheel and the source archive hold what they should, and the wheel works once installed."""

from __future__ import annotations

import email.message
import email.parser
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Collection
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from agent_persistence._version import __version__
from scripts import check_dist

ROOT: Final = Path(__file__).parents[1]
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONSUMER: Final = """
from typing import assert_type

from agent_persistence import PersistenceAgent, create_persistence_agent

assert_type(create_persistence_agent("memory"), PersistenceAgent)
create_persistence_agent(5)
"""


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The ended command; its output is text."""
    return subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and with the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    ended = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def packed(wheel: Path) -> set[str]:
    """The names of the wheel's files."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def told(wheel: Path) -> email.message.Message:
    """The wheel's metadata."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"agent_persistence-{__version__}.dist-info/METADATA").decode()
    return email.parser.Parser().parsestr(text)


def test_the_version_is_written_in_one_place() -> None:
    """`_version.py`; the change log begins with it, and nothing else repeats it."""
    assert PROJECT["dynamic"] == ["version"]
    change_log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first = re.search(r"^## (\S+)", change_log, re.MULTILINE)
    assert first is not None
    assert first[1] == __version__
    sources = [path for path in (ROOT / "src").rglob("*.py") if path.name != "_version.py"]
    assert not [path for path in sources if __version__ in path.read_text(encoding="utf-8")]


def test_the_wheel_is_the_package_and_nothing_else(packed: set[str]) -> None:
    """Every module and `py.typed`; no test, and nothing that was compiled."""
    source = ROOT / "src"
    package = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    package = {name for name in package if not re.search(r"(^|/)(__pycache__|\.)", name)}
    assert {name for name in packed if ".dist-info/" not in name} == package
    assert "agent_persistence/py.typed" in packed
    assert (source / "agent_persistence" / "py.typed").read_bytes() == b""


def test_the_metadata_say_what_the_project_says(told: email.message.Message) -> None:
    """Name, version, licence, Python, and every dependency and extra."""
    assert told["Name"] == PROJECT["name"]
    assert told["Version"] == __version__
    assert told["License-Expression"] == "MIT"
    assert told["Requires-Python"] == PROJECT["requires-python"]
    assert told["Description-Content-Type"] == "text/markdown"
    assert set(told.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])
    required = [Requirement(line) for line in told.get_all("Requires-Dist", [])]
    assert {each.name for each in required if each.marker is None} == {"anyio", "httpx", "pydantic", "tenacity"}


def test_the_archive_holds_what_the_pages_and_the_tests_need(built: Path) -> None:
    """Whoever unpacks it can read the pages, build them, and run `make test`."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as unpacked:
        names = {name.partition("/")[2] for name in unpacked.getnames()}
    for needed in ("README.md", "CHANGELOG.md", "LICENSE", "Makefile", "constraints.txt", "docs/README.md"):
        assert needed in names
    for needed in ("docs/chain.svg", "scripts/check_dist.py", "tests/conftest.py", "benchmarks/README.md"):
        assert needed in names
    assert not [name for name in names if "node_modules" in name or "__pycache__" in name or name.startswith("site/")]


def test_an_index_would_take_both(built: Path) -> None:
    """`twine check --strict`: the description renders."""
    ended = run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *sorted(built.iterdir()))
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.count("PASSED") == 2


def closure(requirements: Collection[Requirement]) -> set[str]:
    """The names of all distributions that these need here, theirs included."""
    seen: set[tuple[str, str]] = set()
    waiting = [(each.name, extra) for each in requirements for extra in ("", *each.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (canonicalize_name(name), extra) in seen:
            continue
        seen.add((canonicalize_name(name), extra))
        for line in distribution(name).requires or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(needed.name, each) for each in ("", *needed.extras)]
    return {name for name, _ in seen}


def environment(folder: Path, wheel: Path, extras: Collection[str]) -> Path:
    """The Python of a new environment with the wheel in it, and links to what it needs: no network, and no more than
    the metadata name."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    ended = run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    assert ended.returncode == 0, ended.stderr
    (packages,) = folder.glob("lib/python*/site-packages")
    asked = [Requirement(f"{PROJECT['name']}[{','.join(extras)}]")]
    for name in closure(asked) - {PROJECT["name"]}:
        found = distribution(name)
        tops = {file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (packages / top).exists():
                (packages / top).symlink_to(str(found.locate_file(top)))
    return python


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment without any extra."""
    return environment(tmp_path_factory.mktemp("bare"), wheel, [])


def test_the_wheel_works_without_extras(bare: Path, tmp_path: Path) -> None:
    """An environment that holds the four dependencies, and what these need."""
    ended = run(bare, "-I", "-c", check_dist.USE, cwd=tmp_path)
    assert ended.stdout == f"{__version__}\n", ended.stderr
    missing = run(bare, "-I", "-c", "import httptools", cwd=tmp_path)
    assert "No module named 'httptools'" in missing.stderr


def test_the_wheel_works_with_all_extras(wheel: Path, tmp_path: Path) -> None:
    """Every module of the package can be imported, and the command starts."""
    python = environment(tmp_path / "env", wheel, check_dist.extras_of(wheel))
    every = (
        "import importlib, pkgutil, agent_persistence as top\n"
        "for each in pkgutil.walk_packages(top.__path__, 'agent_persistence.'):\n"
        "    each.name.endswith('__main__') or importlib.import_module(each.name)\n"
    )
    ended = run(python, "-I", "-W", "error", "-c", every + check_dist.USE, cwd=tmp_path)
    assert ended.stdout == f"{__version__}\n", ended.stderr
    for command in PROJECT.get("scripts", {}):
        ended = run(python.parent / command, "--help", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert "Usage" in ended.stdout


def test_a_command_without_its_extra_says_what_to_install(bare: Path, tmp_path: Path) -> None:
    """One line, no traceback."""
    for command in PROJECT.get("scripts", {}):
        ended = run(bare.parent / command, "--help", cwd=tmp_path)
        assert ended.returncode != 0
        assert "pip install '.[cli]'" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_mypy_and_pyright_see_the_types_of_what_was_installed(bare: Path, tmp_path: Path) -> None:
    """`py.typed` is there and is found: the wrong argument is reported, and nothing else."""
    consumer = tmp_path / "consumer.py"
    consumer.write_text(CONSUMER, encoding="utf-8")
    line = CONSUMER.splitlines().index("create_persistence_agent(5)") + 1
    checked = run(sys.executable, "-m", "mypy", "--strict", "--python-executable", bare, consumer, cwd=tmp_path)
    assert re.findall(r"consumer\.py:(\d+): error: .*\[(.+)\]", checked.stdout) == [(str(line), "arg-type")]
    checked = run(Path(sys.executable).parent / "pyright", "--pythonpath", bare, consumer, cwd=tmp_path)
    assert re.findall(r"consumer\.py:(\d+):\d+ - error: .*?\((\w+)\)", checked.stdout, re.DOTALL) == [
        (str(line), "reportArgumentType")
    ], checked.stdout


WORKFLOW: Final = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def test_the_workflow_may_only_read_and_names_the_major_version_of_every_action() -> None:
    """What runs for a stranger's pull request can change nothing, and keeps no credential."""
    assert re.findall(r"^( *)permissions:\n\s+(.+)\n", WORKFLOW, re.MULTILINE) == [("", "contents: read")]
    actions = re.findall(r"uses: (\S+)", WORKFLOW)
    assert actions
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)
    assert WORKFLOW.count("actions/checkout@") == WORKFLOW.count("persist-credentials: false")
    assert "secrets." not in WORKFLOW


def test_the_workflow_runs_every_python_that_the_project_names() -> None:
    """From the oldest that `requires-python` allows; a classifier without a run would be a guess."""
    (matrix,) = re.findall(r"python: \[(.+)\]", WORKFLOW)
    ran = re.findall(r'"(3\.\d+)"', matrix)
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert set(named) <= set(ran)
    assert f">={ran[0]}" == PROJECT["requires-python"]
