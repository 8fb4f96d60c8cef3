"""docs/agents.md shows the examples as they are; the other code in it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.agents import EXAMPLES, ROOT

from tintype_server import create_toolkit

TEXT = (ROOT / "docs" / "agents.md").read_text()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_the_page_shows_the_example(path: Path) -> None:
    assert f"<!-- examples/{path.name} -->\n```python\n{path.read_text()}```\n" in TEXT


def test_the_other_code_runs(
    place: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TINTYPE_HOME", str(place.home))
    shown = {path.read_text() for path in EXAMPLES.glob("*.py")}
    blocks = [code for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if code not in shown]
    assert blocks
    for code in blocks:
        exec(compile(code, "docs/agents.md", "exec"), {})
    assert "street" in capsys.readouterr().out


def test_every_argument_of_a_toolkit_is_explained() -> None:
    from inspect import signature

    from tintype_server import runtime
    from tintype_tools.adapters import remote

    for function in (create_toolkit, runtime.create_toolkit, remote.create_toolkit):
        for name in set(signature(function).parameters) - {"options"}:
            assert f"| `{name}` |" in TEXT
