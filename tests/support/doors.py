"""Doors: eight ways into one workspace, each with the same ``call``."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import httpx
import httpx2
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from click.testing import CliRunner
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult
from support.providers import Provider, open_provider

from tintype_server import create_toolkit
from tintype_server.cli.group import root as cli_root
from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.errors import TintypeError
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.roles import Role
from tintype_tools.snapshot import NAMESPACE

DOORS = (
    "stdio-2026",
    "stdio-2025",
    "http-2026",
    "http-2025",
    "sse",
    "dispatch",
    "toolkit",
    "cli",
)


class Refused(Exception):
    """A refusal as the door's user sees it: our visible shape."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__(shape.get("message"))
        self.shape = shape


@dataclass
class Reply:
    """An answer as the door's user sees it."""

    value: dict[str, Any]
    pictures: list[bytes] = field(default_factory=list)
    replayed: bool = False


class Door(Protocol):
    def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        confirm: bool = False,
    ) -> Reply:
        """``confirm``: say yes when asked, in the way that the door's users are asked."""
        ...


@dataclass
class Site:
    """One workspace with an HTTP server, keys for each role, and a folder that tools may touch."""

    home: Path
    folder: Path
    url: str
    owner: str
    keys: dict[str, str]
    portal: BlockingPortal
    stack: ExitStack
    provider: Provider
    """V7 and Roboflow, as far as the doors know."""
    opened: dict[tuple[str, str, int | None], Door] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """For processes of this site."""
        return {"TINTYPE_V7_URL": self.provider.url, "TINTYPE_ROBOFLOW_URL": self.provider.url}

    def door(self, name: str, *, key: str | None = None, budget: int | None = None) -> Door:
        """An open door, kept for the session."""
        key = key or self.owner
        if (name, key, budget) not in self.opened:
            self.opened[name, key, budget] = self._open(name, key, budget)
        return self.opened[name, key, budget]

    def _open(self, name: str, key: str, budget: int | None) -> Door:
        kind, _, era = name.partition("-")
        match kind:
            case "stdio" | "http" | "sse":
                return McpDoor(self, kind, "legacy" if era == "2025" else "auto", key, budget)
            case "dispatch":
                return DispatchDoor(self, key, budget)
            case "toolkit":
                return ToolkitDoor(self, key, budget)
            case _:
                return CliDoor(self, key, budget)


class McpDoor:
    def __init__(self, site: Site, kind: str, mode: Any, key: str, budget: int | None) -> None:
        headers = {"X-API-Key": key} | ({"X-Max-Response-Tokens": str(budget)} if budget else {})
        server: Any
        match kind:
            case "stdio":
                flags = ["--max-response-tokens", str(budget)] if budget else []
                server = StdioServerParameters(
                    command=sys.executable,
                    args=["-m", "tintype_server", "mcp", "--home", str(site.home), "--api-key", key, *flags],
                    cwd=str(site.folder),
                    env=site.env,
                )
            case "http":
                http = httpx2.AsyncClient(headers=headers)
                server = streamable_http_client(f"{site.url}/mcp", http_client=http)
            case _:
                server = sse_client(f"{site.url}/sse", headers=headers)
        self._portal = site.portal
        self.client = site.stack.enter_context(
            site.portal.wrap_async_context_manager(
                Client(server, mode=mode, elicitation_callback=self._answer)
            )
        )
        self._says_yes = False
        self.questions: list[str] = []

    async def _answer(self, _context: Any, params: Any) -> ElicitResult:
        """The person at the client."""
        self.questions.append(params.message)
        return ElicitResult(action="accept" if self._says_yes else "decline", content={"yes": True})

    def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        confirm: bool = False,
    ) -> Reply:
        meta: Any = {f"{NAMESPACE}/idempotencyKey": idempotency_key} if idempotency_key else {}
        if dry_run:
            meta[f"{NAMESPACE}/dryRun"] = True
        self._says_yes = confirm
        try:
            result = self._portal.call(lambda: self.client.call_tool(tool, arguments, meta=meta or None))
        except MCPError as error:
            raise Refused(error.error.data) from error
        text = next(block.text for block in result.content if block.type == "text")
        value = json.loads(text)
        if result.is_error:
            raise Refused(value["error"])
        pictures = [base64.b64decode(b.data) for b in result.content if b.type == "image"]
        return Reply(value, pictures, bool((result.meta or {}).get(f"{NAMESPACE}/replayed")))


class DispatchDoor:
    def __init__(self, site: Site, key: str, budget: int | None) -> None:
        headers = {"X-API-Key": key} | ({"X-Max-Response-Tokens": str(budget)} if budget else {})
        self._http = site.stack.enter_context(httpx.Client(base_url=site.url, headers=headers, timeout=30))

    def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        confirm: bool = False,
    ) -> Reply:
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        if dry_run:
            headers["X-Dry-Run"] = "true"
        address = f"/api/v1/developer/_dispatch/{tool}"
        response = self._http.post(address, json=arguments, headers=headers)
        if response.status_code == 428 and confirm:
            headers["X-Confirm-Token"] = response.json()["error"]["details"]["confirm_token"]
            response = self._http.post(address, json=arguments, headers=headers)
        body = response.json()
        if response.status_code >= 400:
            assert body["detail"] == body["error"]["message"]
            raise Refused(body["error"])
        pictures = [base64.b64decode(p["data"]) for p in body.pop("_pictures", [])]
        return Reply(body, pictures, response.headers.get("idempotent-replayed") == "true")


class ToolkitDoor:
    def __init__(self, site: Site, key: str, budget: int | None) -> None:
        self._says_yes = False
        with pytest.MonkeyPatch.context() as patch:
            for name, value in site.env.items():
                patch.setenv(name, value)
            toolkit = create_toolkit(
                api_key=key,
                home=site.home,
                max_response_tokens=budget,
                confirm=lambda _question: self._says_yes,
            )
        self._toolkit = site.stack.enter_context(toolkit)

    def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        confirm: bool = False,
    ) -> Reply:
        self._says_yes = confirm
        try:
            outcome = self._toolkit.call(tool, arguments, idempotency_key=idempotency_key, dry_run=dry_run)
        except TintypeError as error:
            raise Refused(error.as_dict()) from error
        return Reply(outcome.value, [p.data for p in outcome.pictures], outcome.replayed)


class CliDoor:
    def __init__(self, site: Site, key: str, budget: int | None) -> None:
        self._flags = ["--home", str(site.home), "--api-key", key, "--json-errors", "call"]
        self._site, self._budget = site, budget

    def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        confirm: bool = False,
    ) -> Reply:
        picture = self._site.folder / "cli-picture"
        picture.unlink(missing_ok=True)
        flags = ["--args", json.dumps(arguments), "--picture", str(picture)]
        if idempotency_key:
            flags += ["--idempotency-key", idempotency_key]
        if dry_run:
            flags += ["--dry-run"]
        if confirm:
            flags += ["--yes"]
        if self._budget:
            flags += ["--max-response-tokens", str(self._budget)]
        result = CliRunner().invoke(cli_root, [*self._flags, tool, *flags], env=self._site.env)
        if result.exit_code != 0:
            assert result.exit_code == 1, result.output
            raise Refused(json.loads(result.stderr)["error"])
        pictures = [picture.read_bytes()] if picture.exists() else []
        return Reply(json.loads(result.stdout), pictures, "replayed" in result.stderr)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(
    home: Path, *flags: str, env: Mapping[str, str] | None = None, stderr: IO[bytes] | None = None
) -> tuple[subprocess.Popen[bytes], str]:
    """Start ``tintype serve`` and wait until it answers."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tintype_server", "--home", str(home), "serve", "--port", str(port), *flags],
        env={k: v for k, v in os.environ.items() if not k.startswith("TINTYPE_")} | dict(env or {}),
        stderr=stderr,
    )
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            if httpx.get(f"{url}/healthz").status_code == 200:
                return process, url
        except httpx.TransportError:
            time.sleep(0.1)
        assert process.poll() is None, "the server ended"
    raise AssertionError("the server did not answer")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(15)


@contextmanager
def open_site(base: Path) -> Iterator[Site]:
    """A workspace under ``base`` with keys, an HTTP server and lazily opened doors."""
    home, folder = base / "home", base / "work"
    folder.mkdir()
    before = Path.cwd()
    os.chdir(folder)  # the toolkit's working folder, as a user's shell would have it
    studio = open_studio(Settings(home=home))
    owner = saved_api_key(home)
    assert owner is not None
    principal = studio.keys.authenticate(owner)
    keys = {role.value: studio.keys.create(principal, name=role.value, role=role)[0] for role in Role}
    studio.close()
    with open_provider() as provider, ExitStack() as stack, start_blocking_portal() as portal:
        opened = Site(home, folder, "", owner, keys, portal, stack, provider)
        process, opened.url = serve(home, "--root", str(folder), env=opened.env)
        try:
            yield opened
        finally:
            stack.close()
            stop(process)
            os.chdir(before)
