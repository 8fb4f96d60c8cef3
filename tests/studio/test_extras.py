"""The command that brings an extra works where Tintype was installed from."""

from __future__ import annotations

import ast
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import tintype_studio
from tintype_studio.extras import install_command

ROOT = Path(tintype_studio.__file__).parents[2]


@pytest.fixture
def installed_from(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Installed:
        text: str | None = None

        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return self.text

    installed = Installed()
    monkeypatch.setattr(metadata, "distribution", lambda _name: installed)

    def set_origin(origin: dict[str, Any] | None) -> None:
        installed.text = None if origin is None else json.dumps(origin)

    return set_origin


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'tintype[train]'"),
        (
            {"url": "file:///nowhere/at%20all", "dir_info": {}},
            "pip install '.[train]' in the checkout of Tintype",
        ),
        (
            {"url": "file:///nowhere", "dir_info": {"editable": True}},
            "pip install -e '.[train]' in the checkout of Tintype",
        ),
        (
            {"url": "file:///w/tintype-0.1.0%2Bcpu-py3-none-any.whl", "archive_info": {}},
            "pip install './tintype-0.1.0+cpu-py3-none-any.whl[train]' in the folder with that file",
        ),
        (
            {"url": "https://user@example.org/x.git", "vcs_info": {"vcs": "git"}},
            "pip install '.[train]' in a checkout of Tintype",
        ),
    ],
)
def test_the_command_follows_from_where_it_came(
    installed_from: Any, origin: dict[str, Any] | None, command: str
) -> None:
    installed_from(origin)
    assert install_command("train") == command


def test_a_checkout_with_constraints_keeps_to_them(installed_from: Any, tmp_path: Path) -> None:
    checkout = tmp_path / "a checkout"
    checkout.mkdir()
    (checkout / "constraints.txt").write_text("")
    installed_from({"url": checkout.as_uri(), "dir_info": {"editable": True}})
    command = install_command("train")
    assert command == "pip install -c constraints.txt -e '.[train]' in the checkout of Tintype"


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_an_origin_that_makes_no_sense_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(
        metadata, "distribution", lambda _name: type("D", (), {"read_text": lambda _self, _name: text})()
    )
    assert install_command("sam") == "pip install 'tintype[sam]'"


def test_no_sentence_names_an_extra_by_hand() -> None:
    """A name in brackets after ours only helps where an index has the package."""
    for floor in ("studio", "tools", "server"):
        for path in (ROOT / floor).rglob("*.py"):
            if path.name == "extras.py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert "tintype[" not in node.value, path
