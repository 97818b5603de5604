"""What is said where the package that a module of `ext` needs is not installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec

import pytest

from agent_persistence import ConfigurationError


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("langgraph", "langgraph", "langgraph"),
        ("mcp", "mcp", "mcp"),
        ("openai_agents", "agents", "openai-agents"),
        ("opentelemetry", "opentelemetry", "opentelemetry"),
        ("prometheus", "prometheus_client", "prometheus"),
        ("pydantic_ai", "pydantic_ai", "pydantic-ai"),
        ("ray", "ray", "ray"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    module: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is the command that helps."""
    spec = find_spec(f"agent_persistence.ext.{module}")
    assert spec is not None
    assert spec.loader is not None
    for loaded in [
        name for name in sys.modules if name.startswith((f"{package}.", f"agent_persistence.ext._{module}"))
    ]:
        monkeypatch.delitem(sys.modules, loaded)  # what another test has imported is not there either
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=rf"pip install '\.\[{extra}\]'"):
        spec.loader.exec_module(module_from_spec(spec))
