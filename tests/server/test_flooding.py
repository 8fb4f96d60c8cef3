"""What callers can pile up: rows of the audit trail, sessions, streams. Each has an end, and none is shared.

The server runs in this process, over real sockets.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import uvicorn

from tintype_server.dispatch.guards.audit import MAX_BYTES, REFUSALS_A_MINUTE, redact
from tintype_server.http import credentials, streamable
from tintype_server.http.app import build_app
from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.errors import InvalidInput, RateLimited, TintypeError, Unauthorized
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import calls
from tintype_tools.call import Request

API = "/api/v1/developer"
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
JSON = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
}


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    opened = Runtime.open(Settings(home=tmp_path / "home"))
    yield opened
    opened.close()


@pytest.fixture
def url(runtime: Runtime) -> Iterator[str]:
    server = uvicorn.Server(
        uvicorn.Config(build_app(runtime), log_level="error", timeout_graceful_shutdown=1)
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        assert eventually(lambda: server.started)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)


def eventually(met: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if met():
            return True
        time.sleep(0.02)
    return False


def make_key(runtime: Runtime, **given: Any) -> str:
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    return runtime.studio.keys.create(owner, name="k", role=Role.MEMBER, **given)[0]


def left(runtime: Runtime, key: str) -> int:
    return runtime.studio.rate_limits.window(runtime.studio.keys.authenticate(key)).remaining


def request(runtime: Runtime, key: str | None, **given: Any) -> Request:
    values = {"tool": "list_datasets", "arguments": {}, "api_key": key, "door": "toolkit"} | given
    return Request(**values, files=everything(runtime.settings))


def refused(runtime: Runtime, error: type[TintypeError], made: Request) -> TintypeError:
    with pytest.raises(error) as caught:
        runtime.dispatch(made)
    return caught.value


def trail(runtime: Runtime) -> list[sa.RowMapping]:
    runtime.studio.audit.flush()
    with runtime.studio.database.read() as connection:
        return list(connection.execute(sa.select(calls).order_by(calls.c.id)).mappings())


# the audit trail

WIDE = {f"key {n} " + "k" * 190: "v" * 200 for n in range(50)}


@pytest.mark.parametrize(
    "arguments",
    [
        WIDE,
        {f"{n}": dict(WIDE) for n in range(50)},
        {f"{n}": {f"{m}": dict(WIDE) for m in range(50)} for n in range(50)},
        {"a": [[["\x00" * 200] * 10] * 10] * 10},
        {"a": [["😀" * 200] * 10] * 10, "b": [{"é" * 200: 1.5}] * 10},
        {str(n): n for n in range(100_000)},
        {"\ud800" * 200 + str(n): "\ud800" * 200 for n in range(50)},
        {"a": [list(range(10**17, 10**17 + 10))] * 10, "b": [[[[1] * 10] * 10] * 10] * 10},
        ["x" * 201] * 10,
    ],
)
def test_the_arguments_of_a_row_are_short_json_that_says_that_it_was_cut(arguments: Any) -> None:
    text = redact(arguments)
    assert len(text.encode()) <= MAX_BYTES
    assert json.loads(text)
    assert "…" in text


def test_arguments_that_fit_are_kept_as_they_are() -> None:
    arguments = {"a": [1, None, 2.5, {"b": {"c": True}}], "text": "x" * 200, "many": list(range(10))}
    assert json.loads(redact(arguments)) == arguments


@pytest.mark.parametrize(
    "name", ["confirm_token", "cursor", "token", "invite_token", "api_key", "Confirm_Token", "confirm-token"]
)
def test_secret_arguments_are_left_out(name: str) -> None:
    assert json.loads(redact({"deep": [{name: "cft_abc"}]})) == {"deep": [{name: "***"}]}


def test_what_cannot_be_written_out_does_not_keep_a_call_from_being_recorded():
    class Mute:
        def __repr__(self):
            raise RuntimeError

    assert json.loads(redact({"many": 10**5000, "deep": [Mute()]})) == {"many": "<int>", "deep": ["<Mute>"]}


@pytest.mark.parametrize("prefix", ["cft_", "pk_live_", "invite_"])
def test_our_secrets_are_left_out_of_any_text(prefix: str) -> None:
    secret = prefix + "Ab-_9" * 6
    inner = json.dumps({"approval_id": "a", "confirm_token": secret})
    for arguments in ({"tool": "confirm_call", "arguments": inner}, {secret: 1}, {"a": "x" * 180 + secret}):
        text = redact(arguments)
        assert secret[len(prefix) :][:5] not in text


def test_a_confirmation_leaves_no_token(runtime: Runtime) -> None:
    key = runtime.local_api_key()
    runtime.dispatch(request(runtime, key, tool="create_dataset", arguments={"name": "d"}))
    with pytest.raises(TintypeError) as asked:
        runtime.dispatch(request(runtime, key, tool="delete_dataset", arguments={"name": "d"}))
    word = {name: asked.value.details[name] for name in ("approval_id", "confirm_token")}
    runtime.dispatch(request(runtime, key, tool="confirm_call", arguments=word))
    assert not any(word["confirm_token"] in row["arguments"] for row in trail(runtime))


@pytest.mark.parametrize("key", [None, "pk_live_unknown"])
def test_callers_without_a_key_leave_few_short_rows(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)  # one minute throughout
    for _ in range(5 * REFUSALS_A_MINUTE):
        refused(runtime, Unauthorized, request(runtime, key, arguments=WIDE))
    rows = trail(runtime)
    assert len(rows) == REFUSALS_A_MINUTE
    assert {row["arguments"] for row in rows} == {"{}"}
    monkeypatch.undo()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    refused(runtime, Unauthorized, request(runtime, key, arguments=WIDE))
    assert json.loads(trail(runtime)[-1]["arguments"]) == {"not_recorded": 4 * REFUSALS_A_MINUTE}


def test_calls_over_the_limit_leave_few_short_rows_and_hide_nobody_elses(runtime: Runtime) -> None:
    key, other = make_key(runtime, rate_limit=1), make_key(runtime, rate_limit=1)
    for one in (key, other):
        runtime.dispatch(request(runtime, one, arguments={"limit": 3}))
    for _ in range(3 * REFUSALS_A_MINUTE):
        refused(runtime, RateLimited, request(runtime, key, arguments=WIDE))
    refused(runtime, RateLimited, request(runtime, other, arguments=WIDE))
    over = [row for row in trail(runtime) if row["outcome"] == "rate_limited"]
    ids = [runtime.studio.keys.authenticate(one).key_id for one in (key, other)]
    counts = [sum(row["api_key_id"] == own for row in over) for own in ids]
    assert REFUSALS_A_MINUTE <= counts[0] <= 2 * REFUSALS_A_MINUTE + 1  # a minute may end meanwhile
    assert counts[1] == 1
    assert not any("key" in row["arguments"] for row in over)


def test_what_was_let_in_is_recorded_with_its_arguments(runtime: Runtime) -> None:
    for tool in ("no_such_tool", "get_dataset"):
        refused(
            runtime, TintypeError, request(runtime, runtime.local_api_key(), tool=tool, arguments={"n": 1})
        )
    assert [json.loads(row["arguments"]) for row in trail(runtime)] == [{"n": 1}] * 2


def test_a_bad_session_is_somebodys_and_counts(runtime: Runtime) -> None:
    key = make_key(runtime, rate_limit=2)
    made = request(runtime, key, session="é", arguments={"limit": 3})
    for _ in range(2):
        assert refused(runtime, InvalidInput, made).code == "invalid_session"
    refused(runtime, RateLimited, made)
    refused(runtime, RateLimited, request(runtime, key))
    rows = trail(runtime)
    assert [row["outcome"] for row in rows] == ["invalid_session"] * 2 + ["rate_limited"] * 2
    assert {row["api_key_id"] for row in rows} == {runtime.studio.keys.authenticate(key).key_id}
    assert {row["arguments"] for row in rows} == {"{}"}


def test_a_body_without_a_key_is_neither_read_nor_kept(runtime: Runtime, url: str) -> None:
    address = f"{url}{API}/_dispatch/" + "x" * 50
    with httpx.Client(timeout=15) as client:
        for headers in ({}, {"X-API-Key": "pk_live_unknown"}):
            response = client.post(address, content=json.dumps(WIDE), headers=headers)
            assert response.status_code == 401
        split = url.removeprefix("http://").split(":")
        with socket.create_connection((split[0], int(split[1])), timeout=5) as raw:
            raw.sendall(
                f"POST {API}/_dispatch/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n".encode()
            )
            assert raw.recv(100).startswith(b"HTTP/1.1 401")
    assert [(row["outcome"], row["arguments"]) for row in trail(runtime)] == [
        ("missing_key", "{}"),
        ("invalid_key", "{}"),
        ("missing_key", "{}"),
    ]


# sessions and streams


def post(url: str, key: str, message: dict[str, Any], **headers: str) -> httpx.Response:
    sent = JSON | {"X-API-Key": key} | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(
        f"{url}/mcp", content=json.dumps({"jsonrpc": "2.0", **message}), headers=sent, timeout=20
    )


def hello(url: str, key: str) -> httpx.Response:
    return post(url, key, {"id": 1, "method": "initialize", "params": HELLO})


def ping(url: str, key: str, session: str) -> int:
    return post(url, key, {"id": 2, "method": "ping"}, Mcp_Session_Id=session).status_code


def test_whatever_is_asked_of_mcp_counts(runtime: Runtime, url: str) -> None:
    key = make_key(runtime, rate_limit=5)
    listed = {"id": 3, "method": "tools/list", "params": {"_meta": MODERN}}
    modern = {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": "tools/list"}
    opened = hello(url, key)
    assert (opened.status_code, left(runtime, key)) == (200, 4)
    assert ping(url, key, opened.headers["mcp-session-id"]) == 200
    assert (post(url, key, listed, **modern).status_code, left(runtime, key)) == (200, 2)
    assert (hello(url, key).status_code, left(runtime, key)) == (200, 1)
    sent = httpx.post(f"{url}/messages/?session_id={'0' * 32}", headers=JSON | {"X-API-Key": key})
    assert (sent.status_code, left(runtime, key)) == (404, 0)
    for response in (
        hello(url, key),
        post(url, key, listed, **modern),
        httpx.get(f"{url}/sse", headers={"X-API-Key": key}),
        httpx.post(f"{url}/messages/", headers=JSON | {"X-API-Key": key}),
    ):
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (429, "rate_limited")
        assert response.headers["retry-after"] == str(error["details"]["retry_after"])
        assert response.headers["x-ratelimit-remaining"] == "0"


def test_a_call_over_mcp_counts_once(runtime: Runtime, url: str) -> None:
    key = make_key(runtime, rate_limit=10)
    session = hello(url, key).headers["mcp-session-id"]
    call = {"id": 3, "method": "tools/call", "params": {"name": "list_datasets", "arguments": {}}}
    assert post(url, key, call, Mcp_Session_Id=session).status_code == 200
    assert left(runtime, key) == 8
    call["params"] |= {"_meta": MODERN}
    modern = {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": "tools/call", "Mcp_Name": "list_datasets"}
    assert post(url, key, call, **modern).status_code == 200
    assert left(runtime, key) == 7


def test_one_session_too_many_ends_the_one_that_was_idle_for_longest(
    runtime: Runtime, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamable, "MAX_SESSIONS", 3)
    key, other = make_key(runtime), make_key(runtime)
    theirs = hello(url, other).headers["mcp-session-id"]
    first, second, third = (hello(url, key).headers["mcp-session-id"] for _ in range(3))
    assert ping(url, key, first) == 200
    fourth = hello(url, key)
    assert fourth.status_code == 200
    assert [ping(url, key, s) for s in (second, first, third)] == [404, 200, 200]
    assert ping(url, key, fourth.headers["mcp-session-id"]) == 200
    assert ping(url, other, theirs) == 200
    for _ in range(10):  # what opens no session takes no place
        assert post(url, key, {"id": 2, "method": "ping"}).status_code == 400
    ended = httpx.delete(f"{url}/mcp", headers=JSON | {"X-API-Key": key, "Mcp-Session-Id": third})
    assert ended.status_code == 200


def test_sessions_in_use_are_not_ended_for_a_new_one(
    runtime: Runtime, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamable, "MAX_SESSIONS", 2)
    key, other = make_key(runtime), make_key(runtime)
    with ExitStack() as streams:
        client = streams.enter_context(httpx.Client(timeout=20))
        sessions = [hello(url, key).headers["mcp-session-id"] for _ in range(2)]
        for session in sessions:
            headers = {"X-API-Key": key, "Accept": "text/event-stream", "Mcp-Session-Id": session}
            opened = streams.enter_context(client.stream("GET", f"{url}/mcp", headers=headers))
            assert opened.status_code == 200
        refusal = hello(url, key)
        assert (refusal.status_code, refusal.json()["error"]["code"]) == (429, "too_many_sessions")
        assert refusal.headers["retry-after"] == "1"
        assert [ping(url, key, session) for session in sessions] == [200, 200]
        assert hello(url, other).status_code == 200
    assert eventually(lambda: hello(url, key).status_code == 200), "a session that was left is idle"


def test_a_key_has_so_many_streams(runtime: Runtime, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "MAX_STREAMS", 2)
    key, other = make_key(runtime), make_key(runtime)
    with ExitStack() as streams:
        client = streams.enter_context(httpx.Client(timeout=20))
        for _ in range(2):
            opened = streams.enter_context(client.stream("GET", f"{url}/sse", headers={"X-API-Key": key}))
            assert opened.status_code == 200
        refusal = client.get(f"{url}/sse", headers={"X-API-Key": key})
        assert (refusal.status_code, refusal.json()["error"]["code"]) == (429, "too_many_streams")
        theirs = streams.enter_context(client.stream("GET", f"{url}/sse", headers={"X-API-Key": other}))
        assert theirs.status_code == 200

    def again() -> bool:
        with httpx.stream("GET", f"{url}/sse", headers={"X-API-Key": key}, timeout=20) as opened:
            return opened.status_code == 200

    assert eventually(again)


def test_a_request_says_whether_it_was_counted(runtime: Runtime) -> None:
    key = make_key(runtime, rate_limit=5)
    runtime.dispatch(replace(request(runtime, key), counted=True))
    assert left(runtime, key) == 5
    runtime.dispatch(request(runtime, key))
    assert left(runtime, key) == 4
