"""The MCP Inspector's command line: https://www.npmjs.com/package/@modelcontextprotocol/inspector"""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from judges.conftest import Served
from judges.judge import run_node
from tintype_tools.snapshot import load_snapshot

pytestmark = pytest.mark.sdk


def inspect(served: Served, transport: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    job = served.job(transport)
    if transport == "http":
        target = ["--server-url", job["url"], "--transport", "http", "--header", f"X-API-Key: {served.key}"]
    else:
        target = job["command"]
    return run_node("mcp-inspector", "--cli", *target, *arguments)


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_every_tool_is_clean_by_its_strict_rules(served: Served, transport: str, era: str) -> None:
    done = inspect(served, transport, "--protocol-era", era, "--method", "tools/list", "--strict")
    assert len(answer(done)["tools"]) == load_snapshot()["count"]
    assert done.stderr.strip() == ""


def call(served: Served, tool: str, argument: str) -> subprocess.CompletedProcess[str]:
    named = ("--tool-name", tool, "--tool-arg", argument)
    return inspect(served, "http", "--protocol-era", "modern", "--method", "tools/call", *named)


def test_calls_resources_and_prompts_work(served: Served) -> None:
    made = answer(call(served, "create_dataset", "name=i"))
    assert json.loads(made["content"][0]["text"])["name"] == "i"
    resources = answer(inspect(served, "http", "--method", "resources/list"))["resources"]
    assert [found["uri"] for found in resources] == ["tintype://datasets/i"]
    read = inspect(served, "stdio", "--method", "resources/read", "--uri", "tintype://datasets/i")
    assert json.loads(answer(read)["contents"][0]["text"])["name"] == "i"
    prompts = answer(inspect(served, "stdio", "--method", "prompts/list"))["prompts"]
    assert "house_rules" in [prompt["name"] for prompt in prompts]


def test_it_sees_a_refusal_as_one(served: Served) -> None:
    assert call(served, "get_dataset", "name=missing").returncode == 5
