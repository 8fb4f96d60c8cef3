"""The README's snippets work as written; its shell blocks run in ``tests/test_docs_blocks.py``."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner
from mcp import Client, StdioServerParameters

from tintype_server.cli.config import HOSTS
from tintype_server.cli.group import root

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user's shell: ``tintype`` on the PATH, a home folder of their own."""
    (tmp_path / "Pictures").mkdir()
    scripts = str(Path(sys.executable).parent)
    return {"PATH": f"{scripts}{os.pathsep}/usr/bin:/bin", "HOME": str(tmp_path)}


async def _tools(server: dict[str, Any], environment: dict[str, str], cwd: str) -> list[str]:
    parameters = StdioServerParameters(
        command=server["command"], args=server["args"], env=environment, cwd=cwd
    )
    async with Client(parameters) as client:
        listed = await client.list_tools()
        await client.call_tool("list_datasets", {})
    return [tool.name for tool in listed.tools]


@pytest.mark.parametrize("snippet", blocks("json"))
def test_host_snippets_start_a_working_server(
    snippet: str, environment: dict[str, str], tmp_path: Path
) -> None:
    (server,) = json.loads(snippet)["mcpServers"].values()
    assert "train_pipeline" in anyio.run(_tools, server, environment, str(tmp_path))


@pytest.mark.parametrize("host", HOSTS)
def test_printed_configurations_work_without_a_path(host: str, tmp_path: Path) -> None:
    with chdir(tmp_path):
        result = CliRunner().invoke(root, ["--home", str(tmp_path / "home"), "config", host])
    snippet = json.loads(result.stdout)
    (server,) = (snippet.get("mcpServers") or snippet["servers"]).values()
    assert "train_pipeline" in anyio.run(_tools, server, {"PATH": "/usr/bin", "HOME": str(tmp_path)}, "/")


def test_the_python_block_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TINTYPE_HOME", str(tmp_path / "home"))
    (block,) = blocks("python")
    names: dict[str, Any] = {}
    exec(block, names)  # the README's own words
    assert names["result"] == {"datasets": [], "count": 0}
    assert {"name", "description", "input_schema"} == set(names["tools"][0])
