"""Whatever comes to /mcp, and whatever a tool answers: the protocol's own answer, no text of an exception."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from mcp import Client
from support.doors import Site

from tintype_server.runtime import Runtime
from tintype_tools.call import Outcome, Request

from .conftest import ERAS, Desk

VERSION = "2026-07-28"
META: dict[str, Any] = {
    f"io.modelcontextprotocol/{key}": value
    for key, value in (
        ("protocolVersion", VERSION),
        ("clientCapabilities", {}),
        ("clientInfo", {"name": "raw", "version": "1"}),
    )
}
ACCEPT = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
INTERNALS = ("Traceback", "pydantic", "starlette", "tintype_server", 'File "', "site-packages", "Error:")


@pytest.fixture
def http(site: Site) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.url, headers={"X-API-Key": site.owner, **ACCEPT}, timeout=20) as client:
        yield client


def call_body(name: str = "list_datasets", **arguments: Any) -> dict[str, Any]:
    params = {"name": name, "arguments": arguments, "_meta": META}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def modern(name: str = "list_datasets") -> dict[str, str]:
    return {"MCP-Protocol-Version": VERSION, "Mcp-Method": "tools/call", "Mcp-Name": name}


def works(http: httpx.Client) -> bool:
    answer = http.post("/mcp", json=call_body(), headers=modern())
    return answer.status_code == 200 and "datasets" in answer.text


def quiet(answer: httpx.Response) -> None:
    for word in INTERNALS:
        assert word not in answer.text, answer.text


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Mcp-Method": "tools/list"}, 400, -32020),
        ({"Mcp-Name": "delete_dataset"}, 400, -32020),
        ({"Mcp-Name": ""}, 400, -32020),
        ({"MCP-Protocol-Version": "2025-11-25"}, 400, None),
        ({"MCP-Protocol-Version": "1999-01-01"}, 400, None),
        ({"MCP-Protocol-Version": "x" * 5000}, 400, None),
        ({"Accept": "text/html"}, 406, None),
        ({"Content-Type": "text/plain"}, 400, None),
        ({"Host": "evil.example"}, 421, None),
        ({"Origin": "https://evil.example"}, 403, None),
        ({"Origin": "null"}, 403, None),
    ],
)
def test_wrong_headers_are_refused(
    http: httpx.Client, headers: dict[str, str], status: int, code: int | None
) -> None:
    answer = http.post("/mcp", content=json.dumps(call_body()), headers=modern() | headers)
    assert answer.status_code == status, answer.text
    if code is not None:
        assert answer.json()["error"]["code"] == code
    quiet(answer)
    assert works(http)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"\xff\xfe\x00",
        b"null",
        b'"call"',
        json.dumps([call_body(), call_body()]).encode(),
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}',
        b'{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{}}',
        b'{"jsonrpc":"2.0","id":null,"method":"tools/list","params":{}}',
        b'{"jsonrpc":"2.0","id":{"a":1},"method":"tools/list","params":{}}',
        b'{"jsonrpc":"2.0","id":1,"method":5,"params":{}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/\\u0000","params":{}}',
        b'{"jsonrpc":"2.0","id":1e999,"method":"tools/list","params":{}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\\ud800","arguments":{}}}',
    ],
)
@pytest.mark.parametrize("headers", [{}, modern()], ids=["old", "new"])
def test_a_bad_body_is_an_error_of_the_caller(
    http: httpx.Client, body: bytes, headers: dict[str, str]
) -> None:
    answer = http.post("/mcp", content=body, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    quiet(answer)
    assert works(http)


@pytest.mark.parametrize("chunked", [False, True])
def test_an_oversized_body_is_not_kept(http: httpx.Client, chunked: bool) -> None:
    piece = b"x" * 1024 * 1024

    def pieces() -> Iterator[bytes]:
        for _ in range(17):
            yield piece

    try:
        answer = http.post("/mcp", content=pieces() if chunked else piece * 17, headers=modern())
    except httpx.WriteError:  # the server hung up before it was all sent
        pass
    else:
        assert answer.status_code == 413
        quiet(answer)
    assert works(http)


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "OPTIONS"])
def test_there_is_no_stream_without_a_session(http: httpx.Client, method: str) -> None:
    for extra in ({}, {"Last-Event-ID": "1"}, {"Mcp-Session-Id": "x" * 3000}):
        answer = http.request(method, "/mcp", headers={"Accept": "text/event-stream", **extra})
        assert 400 <= answer.status_code < 500
        quiet(answer)
    assert works(http)


@pytest.mark.parametrize(
    "junk", [b"GARBAGE\r\n\r\n", b"POST /mcp HTTP/9.9\r\n\r\n", b"\x16\x03\x01" * 50, b""]
)
def test_what_is_no_http_ends_there(http: httpx.Client, junk: bytes) -> None:
    with socket.create_connection((http.base_url.host, http.base_url.port or 80), 5) as connection:
        connection.sendall(junk)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        said = connection.recv(4096)
    assert not said or said.startswith(b"HTTP/1.1 4")
    assert works(http)


def test_callers_who_hang_up_in_the_middle_take_nobody_along(http: httpx.Client) -> None:
    body = json.dumps(call_body()).encode()
    head = "".join(f"{k}: {v}\r\n" for k, v in {**dict(http.headers), **modern()}.items() if k != "host")
    start = f"POST /mcp HTTP/1.1\r\nHost: {http.base_url.host}:{http.base_url.port}\r\n{head}"
    for sent in (0, len(body) // 2, len(body)):
        for _ in range(10):
            with socket.create_connection((http.base_url.host, http.base_url.port or 80), 5) as connection:
                connection.sendall(f"{start}Content-Length: {len(body)}\r\n\r\n".encode() + body[:sent])
    assert works(http)


# What tools answer

TEXTS = {
    "surrogate": "a\ud800b\udfffc",
    "half an emoji": "\ud83d",
    "nul": "a\x00b",
    "controls": "".join(map(chr, range(32))),
    "right to left": "\u202eevil\u2066gpj.exe\u2069",
    "separators": "\u2028\u2029\u0085\ufeff",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f4\U000e0067\U000e007f",
    "non-characters": "\uffff\ufffe\U0010ffff",
    "combining": "e" + "\u0301" * 500,
}


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_an_answer_may_hold_any_text(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, text: str, era: str
) -> None:
    def answer(_self: Runtime, _request: Request) -> Outcome:
        return Outcome("call", {"text": text, text: [text, {text: text}]})

    monkeypatch.setattr(Runtime, "dispatch", answer)

    async def talk(client: Client) -> Any:
        return [await client.call_tool(name, {}) for name in ("list_datasets", "delete_dataset")]

    whole = text.encode("utf-8", "replace").decode()
    for result in desk.ask(talk, era=era):
        assert not result.is_error
        assert json.loads(result.content[0].text)["text"] == whole


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("value", "told"), [({"n": float("nan")}, None), ({"n": 1 << 70}, 1 << 70), ({"n": object()}, "internal")]
)
def test_an_answer_that_is_hardly_json_tells_nothing_else(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, value: dict[str, Any], told: Any, era: str
) -> None:
    monkeypatch.setattr(Runtime, "dispatch", lambda _self, _request: Outcome("call", value))

    async def talk(client: Client) -> Any:
        return await client.call_tool("list_datasets", {})

    result = desk.ask(talk, era=era)
    answer = json.loads(result.content[0].text)
    assert (answer["error"]["code"] if result.is_error else answer["n"]) == told
    assert result.is_error == (told == "internal")


@pytest.mark.parametrize("era", ERAS)
def test_a_fault_tells_nothing_of_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch, era: str) -> None:
    def fail(_self: Runtime, _request: Request) -> Outcome:
        raise RuntimeError("dsn=postgres://u:secret@h/db")

    monkeypatch.setattr(Runtime, "dispatch", fail)

    async def talk(client: Client) -> Any:
        return await client.call_tool("list_datasets", {})

    result = desk.ask(talk, era=era)
    assert result.is_error
    assert "secret" not in result.model_dump_json()
    assert json.loads(result.content[0].text)["error"]["code"] == "internal"


def test_names_of_any_script_go_to_and_fro(desk: Desk, tmp_path: Path) -> None:
    for name in ("\U0001f6a6 \u4fe1\u53f7", "\u05e8\u05de\u05d6\u05d5\u05e8", "\u0438\u0306 e\u0301"):

        async def talk(client: Client, name: str = name) -> Any:
            result: Any = await client.call_tool("create_dataset", {"name": name})
            made = json.loads(result.content[0].text)
            uri = f"tintype://datasets/{quote(made['name'], safe='')}"
            content: Any = (await client.read_resource(uri)).contents[0]
            return made, content.text

        made, read = desk.ask(talk)
        assert json.loads(read)["name"] == made["name"]
