"""Which tools a connection shows and lets through: toolsets and read-only mode, by flag, header and URL."""

from __future__ import annotations

import http.client
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from mcp import Client
from support.doors import serve, stop

from tintype_server.mcp import identity
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_tools.snapshot import ALWAYS_OPEN, as_mcp_tool, load_snapshot, visible_tools

from .conftest import ERAS, Desk

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
EFFECTS = {tool["name"]: tool["effect"] for tool in load_snapshot()["tools"]}
TOOLSETS = {tool["name"]: tool["toolset"] for tool in load_snapshot()["tools"]}


@dataclass
class Site:
    url: str
    key: str
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def post(
        self, method: str, query: str = "", headers: dict[str, str] | None = None, **params: Any
    ) -> httpx.Response:
        return httpx.post(
            f"{self.url}/mcp{query}",
            json={"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}},
            headers={
                "X-API-Key": self.key,
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": "2026-07-28",
                "Mcp-Method": method,
                **({"Mcp-Name": params["name"]} if "name" in params else {}),
                **(headers or {}),
            },
        )

    def names(self, query: str = "", **headers: str) -> set[str]:
        response = self.post("tools/list", query, {k.replace("_", "-"): v for k, v in headers.items()})
        return {tool["name"] for tool in response.json()["result"]["tools"]}

    def create(self, query: str = "", headers: dict[str, str] | None = None) -> dict[str, Any]:
        arguments = {"name": f"new {next(self.numbers)}"}
        response = self.post("tools/call", query, headers, name="create_dataset", arguments=arguments)
        result: dict[str, Any] = response.json()["result"]
        return json.loads(result["content"][0]["text"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home: Path = tmp_path_factory.mktemp("served") / "home"
    process, url = serve(home)
    key = saved_api_key(home)
    assert key is not None
    yield Site(url, key)
    stop(process)


def test_the_usual_list_is_the_core_tools_sorted_by_name(site: Site) -> None:
    response = site.post("tools/list").json()["result"]
    names = [tool["name"] for tool in response["tools"]]
    assert names == sorted(names) == [tool["name"] for tool in visible_tools("owner", None)]
    assert (response["ttlMs"], response["cacheScope"]) == (identity.LISTS_TTL_MS, "private")


@pytest.mark.parametrize("how", ["header", "url"])
def test_a_connection_asks_for_toolsets(site: Site, how: str) -> None:
    asked = "datasets, exports"
    found = site.names(X_MCP_Toolsets=asked) if how == "header" else site.names("?toolsets=datasets,exports")
    assert {TOOLSETS[name] for name in found} == {"datasets", "exports"} | ALWAYS_OPEN
    assert "delete_dataset" in found  # is no core tool


def test_all_shows_every_tool(site: Site) -> None:
    assert site.names("?toolsets=all") == set(EFFECTS)


def test_what_is_not_asked_for_is_refused_too(site: Site) -> None:
    answer = site.create("?toolsets=exports")
    assert answer["error"]["code"] == "toolset_required"


def test_header_and_url_both_hold(site: Site) -> None:
    found = site.names("?toolsets=datasets,exports", X_MCP_Toolsets="exports,images")
    assert {TOOLSETS[name] for name in found} == {"exports"} | ALWAYS_OPEN


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?read_only=true", {}),
        ("?read_only=1&toolsets=all", {}),
        ("", {"X-MCP-Readonly": "true"}),
        ("?read_only=false", {"X-MCP-Readonly": "true"}),
        ("?read_only=true", {"X-MCP-Readonly": "false"}),
    ],
)
def test_read_only_shows_and_lets_through_reads_alone(
    site: Site, query: str, headers: dict[str, str]
) -> None:
    found = site.post("tools/list", query, headers).json()["result"]["tools"]
    assert {EFFECTS[tool["name"]] for tool in found} == {"read"}
    assert site.create(query, headers)["error"]["code"] == "read_only"
    again = site.post("tools/call", query, headers, name="list_datasets", arguments={}).json()["result"]
    assert not again.get("isError")


def test_without_it_the_same_call_goes_through(site: Site) -> None:
    assert site.create("?read_only=false")["id"]


def test_spaces_around_a_header_do_not_count(site: Site) -> None:
    """The HTTP parser in use keeps those at the end."""
    body = {"name": "list_datasets", "arguments": {}, "_meta": META}
    connection = http.client.HTTPConnection(urlsplit(site.url).netloc)
    connection.request(
        "POST",
        "/mcp",
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": body}),
        {
            "X-API-Key": site.key,
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28 ",
            "Mcp-Method": "tools/call ",
            "Mcp-Name": "list_datasets  ",
        },
    )
    answer = connection.getresponse()
    assert (answer.status, "error" in json.loads(answer.read())) == (200, False)
    connection.close()


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?toolsets=nope", {}),
        ("?toolsets=", {}),
        ("", {"X-MCP-Toolsets": "nope"}),
        ("?read_only=yes", {}),
        ("?read_only=", {}),
        ("", {"X-MCP-Readonly": "2"}),
    ],
)
def test_a_slip_is_refused_and_opens_nothing(site: Site, query: str, headers: dict[str, str]) -> None:
    assert "error" in site.post("tools/list", query, headers).json()
    assert "error" in site.create(query, headers)


def test_the_old_transport_takes_headers_only(site: Site) -> None:
    response = httpx.get(f"{site.url}/sse?read_only=true", headers={"X-API-Key": site.key})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_query")


def test_a_read_only_server_changes_nothing_for_anybody(tmp_path: Path) -> None:
    process, url = serve(tmp_path / "home", "--read-only")
    try:
        key = saved_api_key(tmp_path / "home")
        assert key is not None
        site = Site(url, key)
        assert {EFFECTS[name] for name in site.names("?toolsets=all&read_only=false")} == {"read"}
        assert site.create("?read_only=false")["error"]["code"] == "read_only"
        response = httpx.post(
            f"{url}/api/v1/developer/_dispatch/create_dataset", json={"name": "d"}, headers={"X-API-Key": key}
        )
        assert (response.status_code, response.json()["error"]["code"]) == (403, "read_only")
    finally:
        stop(process)


@pytest.mark.parametrize("era", ERAS)
def test_a_call_inside_a_call_stays_read_only(desk: Desk, era: str) -> None:
    arguments = {"tool": "create_dataset", "arguments": json.dumps({"name": "x"})}

    async def talk(client: Client) -> Any:
        return await client.call_tool("preview_call", arguments)

    assert "read_only" in desk.ask(talk, era=era, read_only=True).content[0].text


def test_claude_code_is_told_what_to_keep_in_sight() -> None:
    tools = {tool["name"]: as_mcp_tool(tool)["_meta"] for tool in load_snapshot()["tools"]}
    always = {name for name, meta in tools.items() if meta.get("anthropic/alwaysLoad")}
    assert always == {"confirm_call", "get_job", "read_more"}
    assert all(meta["anthropic/searchHint"] for meta in tools.values())
    assert all(meta["anthropic/maxResultSizeChars"] == 100_000 for meta in tools.values())
