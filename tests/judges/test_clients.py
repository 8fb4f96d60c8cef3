"""Clients of other makers and other ages, each over stdio and HTTP."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import Any

import pytest

from judges.conftest import Served
from judges.judge import langchain, talk_node, talk_python
from tintype_server.mcp import identity
from tintype_tools.snapshot import load_snapshot

pytestmark = pytest.mark.sdk

TRANSPORTS = ("stdio", "http")
numbers = itertools.count()


def work_is_done(told: dict[str, Any], name: str) -> None:
    assert told["tools"] == [tool["name"] for tool in load_snapshot()["tools"]]
    assert (told["created"]["failed"], told["created"]["value"]["name"]) == (False, name)
    assert told["missing"]["failed"]
    assert told["missing"]["value"]["error"]["code"] == "dataset_not_found"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("script", "options", "protocol"),
    [
        ("typescript_v1.mjs", {}, "2025-11-25"),
        ("typescript_v2.mjs", {}, "2025-11-25"),
        ("typescript_v2.mjs", {"versionNegotiation": {"mode": "auto"}}, "2026-07-28"),
    ],
)
def test_typescript(
    served: Served, transport: str, script: str, options: dict[str, Any], protocol: str
) -> None:
    name = f"typescript {next(numbers)}"
    told = talk_node(script, name=name, options=options, **served.job(transport))
    work_is_done(told, name)
    assert told["protocol"] == protocol
    assert told["server"]["name"] == identity.NAME
    assert told["instructions"] == identity.INSTRUCTIONS
    assert "house_rules" in told["prompts"]
    assert "model_card" in told["templates"]
    assert not told["deleted"]["failed"]  # it was asked, and said yes


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_vercel(served: Served, transport: str) -> None:
    name = f"vercel {next(numbers)}"
    work_is_done(talk_node("vercel.mjs", name=name, **served.job(transport)), name)


def test_vercel_on_a_busy_machine(served: Served) -> None:
    """It gives a server one second; all cores are taken while ours starts."""
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))
    ]
    try:
        name = f"vercel {next(numbers)}"
        work_is_done(talk_node("vercel.mjs", name=name, **served.job("stdio")), name)
    finally:
        for each in busy:
            each.kill()
            each.wait()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_langchain(served: Served, transport: str) -> None:
    name = f"langchain {next(numbers)}"
    told = talk_python(langchain(), "langchain_adapters.py", name=name, **served.job(transport))
    work_is_done(told, name)
    assert told["role"] == "member"
    assert "confirm_call" in told["prompt"]
