"""Limits, deadlines and cancellation as HTTP callers meet them; a call that is stopped leaves nothing.

The server runs in this process, over real sockets, with one tool more: ``run_slowly`` costs credits, makes a
dataset and works until it is told to stop. So a test decides what happens while a call runs.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import sqlalchemy as sa
import uvicorn

from tintype_server.dispatch.dispatcher import Dispatcher
from tintype_server.http.app import build_app
from tintype_server.opening import open_studio
from tintype_server.runtime import Runtime
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.identity.roles import Role
from tintype_studio.limits.rate import Window
from tintype_studio.storage.tables import calls, holds
from tintype_tools.call import Call, Plan
from tintype_tools.registry import Registry
from tintype_tools.snapshot import NAMESPACE
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec

API = "/api/v1/developer"
LIMITS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
PROTOCOL = "2026-07-28"
MODERN = {
    "io.modelcontextprotocol/protocolVersion": PROTOCOL,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
JSON = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
FUNDS = 1_000
ERAS = ["2026", "2025"]


class SlowArgs(Args):
    name: str
    write: Literal["first", "last"] = "last"
    listens: bool = True
    """Whether it stops when told; otherwise it works to its end whatever happens."""


class SlowResult(Result):
    made: str


class Slow:
    """The tool's handler, and the strings that a test pulls."""

    def __init__(self) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()

    def handle(self, args: SlowArgs, call: Call) -> Result:
        if args.write == "first":
            call.studio.datasets.create(call.principal, name=args.name)
        self.entered.set()
        end = time.monotonic() + 20
        while not self.leave.is_set() and time.monotonic() < end:
            if args.listens:
                call.progress(1, 2)
            time.sleep(0.005)
        if args.write == "last":
            call.studio.datasets.create(call.principal, name=args.name)
        return SlowResult(made=args.name)

    def spec(self) -> ToolSpec:
        return ToolSpec(
            name="run_slowly",
            title="Run slowly",
            category=Category.RESULTS,
            toolset="probe",
            description="Use when testing.",
            args=SlowArgs,
            result=SlowResult,
            required_role=Role.MEMBER,
            credit_cost=5,
            quote=lambda _args, _call: Quote("slow", 5),
            idempotent=False,
            effect=Effect.SPEND,
            plan=lambda _args, _call: Plan(),
            handler=self.handle,
        )


class Live:
    """The server, and short words for what is sent to it."""

    def __init__(self, runtime: Runtime, url: str, slow: Slow) -> None:
        self.runtime, self.studio, self.url, self.slow = runtime, runtime.studio, url, slow
        self.owner = self.studio.keys.authenticate(runtime.local_api_key())
        self.pool = ThreadPoolExecutor(4)

    def key(self, **given: Any) -> str:
        return self.studio.keys.create(self.owner, name="k", role=Role.ADMIN, **given)[0]

    def dispatch(self, key: str, tool: str, arguments: Any = None, **headers: str) -> httpx.Response:
        sent = {"X-API-Key": key} | {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(f"{self.url}{API}/_dispatch/{tool}", json=arguments or {}, headers=sent, timeout=30)

    def mcp(
        self, key: str, tool: str, arguments: Any = None, *, era: str = "2026", meta: Any = None, id: int = 7
    ) -> httpx.Response:
        params: dict[str, Any] = {"name": tool, "arguments": arguments or {}, "_meta": dict(meta or {})}
        headers = JSON | {"X-API-Key": key}
        if era == "2026":
            params["_meta"] |= MODERN
            headers |= {"MCP-Protocol-Version": PROTOCOL, "Mcp-Method": "tools/call", "Mcp-Name": tool}
        else:
            headers |= self.session(key)
        return self.post(headers, {"id": id, "method": "tools/call", "params": params})

    def session(self, key: str) -> dict[str, str]:
        """The header of an open conversation of the older revision."""
        headers = JSON | {"X-API-Key": key}
        opened = self.post(headers, {"id": 1, "method": "initialize", "params": HELLO})
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        self.post(headers | session, {"method": "notifications/initialized"})
        return session

    def post(self, headers: dict[str, str], message: dict[str, Any]) -> httpx.Response:
        body = json.dumps({"jsonrpc": "2.0", **message})
        return httpx.post(f"{self.url}/mcp", content=body, headers=headers, timeout=30)

    def window(self, key: str) -> Window:
        return self.studio.rate_limits.window(self.studio.keys.authenticate(key))

    def start(self, call: Callable[[], httpx.Response]) -> Future[httpx.Response]:
        """Send a slow call from another thread; returns once its handler runs."""
        sent = self.pool.submit(call)
        assert self.slow.entered.wait(20)
        return sent

    def stopped(self, code: str) -> None:
        """The call ended with that code, and nothing of it is left: no dataset, no charge, no hold."""
        assert eventually(lambda: self._outcomes() == [code]), self._outcomes()
        assert self.studio.datasets.list(self.owner) == []
        assert eventually(lambda: self.studio.ledger.available(self.owner) == FUNDS)
        assert [e.amount for e in self.studio.ledger.history(self.owner)] == [FUNDS]
        with self.studio.database.read() as connection:
            assert connection.execute(sa.select(holds.c.call_id)).all() == []

    def _outcomes(self) -> list[str]:
        self.studio.audit.flush()
        with self.studio.database.read() as connection:
            return list(
                connection.execute(sa.select(calls.c.outcome).where(calls.c.tool == "run_slowly")).scalars()
            )


@contextmanager
def serving(home: Path, **options: Any) -> Iterator[Live]:
    slow = Slow()
    plain = Runtime.open(Settings(home=home, **options))
    registry = Registry([*plain.registry, slow.spec()])
    dispatch = Dispatcher(plain.studio, registry, plain.settings)
    runtime = replace(plain, registry=registry, dispatch=dispatch)
    server = uvicorn.Server(
        uvicorn.Config(build_app(runtime), log_level="error", timeout_graceful_shutdown=1)
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        assert eventually(lambda: server.started)
        live = Live(runtime, f"http://127.0.0.1:{listening.getsockname()[1]}", slow)
        try:
            yield live
        finally:
            slow.leave.set()
            live.pool.shutdown()
            server.should_exit = True
            thread.join(20)
            plain.close()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with serving(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def move_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    real = clock.now
    return lambda by: monkeypatch.setattr(clock, "now", lambda: real() + by)


def eventually(met: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if met():
            return True
        time.sleep(0.02)
    return False


def answer(response: httpx.Response) -> dict[str, Any]:
    """The JSON-RPC answer, plain or as the last event of a stream."""
    text = response.text
    if response.headers["content-type"].startswith("text/event-stream"):
        text = [line for line in text.splitlines() if line.startswith("data: {")][-1].removeprefix("data: ")
    message: dict[str, Any] = json.loads(text)
    return message


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The visible error, of either door."""
    body = response.json() if "/_dispatch/" in str(response.url) else answer(response)
    if "result" in body:
        body = json.loads(body["result"]["content"][0]["text"])
    shape: dict[str, Any] = body["error"]
    return shape


def told(response: httpx.Response) -> tuple[int, int]:
    """Limit and remaining calls, as the headers tell."""
    assert time.time() < int(response.headers[LIMITS[2]]) < time.time() + 2 * 3_660
    return int(response.headers[LIMITS[0]]), int(response.headers[LIMITS[1]])


# calls in an hour


def test_every_answer_tells_what_is_left(live: Live) -> None:
    key = live.key(rate_limit=50)
    registry = {"url": f"{live.url}{API}/tools.json", "headers": {"X-API-Key": key}}
    sends: list[tuple[int, Callable[[], httpx.Response]]] = [
        (200, lambda: live.dispatch(key, "list_datasets")),
        (200, lambda: live.dispatch(key, "create_dataset", {"name": "d"})),
        (422, lambda: live.dispatch(key, "list_datasets", {"limt": 3})),
        (404, lambda: live.dispatch(key, "list_dataset")),
        (404, lambda: live.dispatch(key, "get_dataset", {"name": "nowhere"})),
        (428, lambda: live.dispatch(key, "delete_dataset", {"name": "d"})),
        (409, lambda: live.dispatch(key, "create_dataset", {"name": "d"})),
        (200, lambda: httpx.get(**registry)),
        (200, lambda: live.mcp(key, "list_datasets")),
        (200, lambda: live.mcp(key, "get_dataset", {"name": "nowhere"})),
    ]
    for used, (status, send) in enumerate(sends, start=1):
        response = send()
        assert response.status_code == status
        assert told(response) == (50, 50 - used)
        assert live.window(key).remaining == 50 - used


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_call_is_told_too(live: Live, body: bytes) -> None:
    key = live.key(rate_limit=5)
    live.dispatch(key, "list_datasets")
    address, headers = f"{live.url}{API}/_dispatch/list_datasets", {"X-API-Key": key}
    assert told(httpx.post(address, content=body, headers=headers)) == (5, 4)


def test_a_call_over_the_limit_is_429_until_the_hour_has_passed(
    live: Live, move_clock: Callable[[timedelta], None]
) -> None:
    key = live.key(rate_limit=2)
    for _ in range(2):
        assert live.dispatch(key, "list_datasets").status_code == 200
    for _ in range(5):  # refused calls do not count
        response = live.dispatch(key, "list_datasets")
        assert response.status_code == 429
        assert told(response) == (2, 0)
        error = response.json()["error"]
        assert (error["code"], error["retryable"]) == ("rate_limited", True)
        assert response.headers["retry-after"] == str(error["details"]["retry_after"])
        assert 3_500 < error["details"]["retry_after"] <= 3_660
    move_clock(timedelta(seconds=3_660))
    assert live.dispatch(key, "list_datasets").status_code == 200
    assert told(live.dispatch(key, "list_datasets")) == (2, 0)


def test_the_registry_over_the_limit_is_429_and_tells_as_much(live: Live) -> None:
    key = live.key(rate_limit=1)
    live.dispatch(key, "list_datasets")
    response = httpx.get(f"{live.url}{API}/tools.json", headers={"X-API-Key": key})
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) > 3_000
    assert told(response) == (1, 0)


@pytest.mark.parametrize("era", ERAS)
def test_mcp_over_the_limit_is_429(live: Live, era: str) -> None:
    key = live.key(rate_limit=2)
    if era == "2026":
        assert [live.mcp(key, "list_datasets").status_code for _ in range(2)] == [200, 200]
        response = live.mcp(key, "list_datasets")
    else:  # opening a session takes two requests
        headers = JSON | {"X-API-Key": key} | live.session(key)
        call = {"name": "list_datasets", "arguments": {}}
        response = live.post(headers, {"id": 7, "method": "tools/call", "params": call})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["retryable"]) == (429, "rate_limited", True)
    assert told(response) == (2, 0)
    assert response.headers["retry-after"] == str(error["details"]["retry_after"])
    assert 3_000 < error["details"]["retry_after"] <= 3_660


def test_a_call_inside_a_call_counts_with_it(live: Live) -> None:
    key = live.key(rate_limit=4, max_concurrent=1)
    live.dispatch(key, "create_dataset", {"name": "d"})
    inner = {"tool": "delete_dataset", "arguments": json.dumps({"name": "d"})}
    assert told(live.dispatch(key, "preview_call", inner)) == (4, 2)
    question = live.dispatch(key, "delete_dataset", {"name": "d"}).json()["error"]["details"]
    word = {name: question[name] for name in ("approval_id", "confirm_token")}
    confirmed = live.dispatch(key, "confirm_call", word)
    assert confirmed.json()["status"] == "done"
    assert told(confirmed) == (4, 0)
    assert live.dispatch(key, "list_datasets").status_code == 429


# calls at a time


def test_a_call_beyond_those_at_a_time_is_429_at_once(live: Live) -> None:
    key, other = live.key(max_concurrent=1, rate_limit=10), live.key(max_concurrent=1)
    first = live.start(lambda: live.dispatch(key, "run_slowly", {"name": "d"}))
    response = live.dispatch(key, "list_datasets")
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert response.json()["error"]["code"] == "too_many_calls_at_once"
    assert error_of(live.mcp(key, "list_datasets"))["code"] == "too_many_calls_at_once"
    assert live.dispatch(other, "list_datasets").status_code == 200
    live.slow.leave.set()
    assert first.result(20).status_code == 200
    assert live.dispatch(key, "list_datasets").status_code == 200


def test_a_call_that_is_refused_a_place_is_not_counted(live: Live) -> None:
    key = live.key(max_concurrent=1, rate_limit=10)
    live.start(lambda: live.dispatch(key, "run_slowly", {"name": "d"}))
    for _ in range(5):
        assert live.dispatch(key, "list_datasets").status_code == 429
    assert live.window(key).remaining == 9


# deadlines


@pytest.mark.parametrize("listens", [True, False])
@pytest.mark.parametrize("write", ["first", "last"])
def test_a_call_ends_at_its_deadline_and_leaves_nothing(live: Live, write: str, listens: bool) -> None:
    """One that does not listen is stopped before its transaction commits."""
    arguments = {"name": "d", "write": write, "listens": listens}
    call = live.start(lambda: live.dispatch(live.key(), "run_slowly", arguments, X_Deadline_Seconds="0.2"))
    if not listens:
        time.sleep(0.3)
        live.slow.leave.set()
    response = call.result(20)
    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")
    live.stopped("deadline_exceeded")


@pytest.mark.parametrize("era", ERAS)
def test_a_call_over_mcp_ends_at_its_deadline(live: Live, era: str) -> None:
    response = live.mcp(live.key(), "run_slowly", {"name": "d"}, era=era, meta={f"{NAMESPACE}/seconds": 0.2})
    assert error_of(response)["code"] == "deadline_exceeded"
    live.stopped("deadline_exceeded")


def test_the_servers_own_limit_holds_whatever_a_call_asks_for(tmp_path: Path) -> None:
    with serving(tmp_path / "home", call_seconds=0.2) as live:
        response = live.dispatch(live.key(), "run_slowly", {"name": "d"}, X_Deadline_Seconds="900")
        assert response.json()["error"]["code"] == "deadline_exceeded"
        live.stopped("deadline_exceeded")


def test_a_call_that_ends_in_time_is_whole(live: Live) -> None:
    live.slow.leave.set()
    response = live.dispatch(live.key(), "run_slowly", {"name": "d"}, X_Deadline_Seconds="30")
    assert (response.json(), response.headers["x-credits-charged"]) == ({"made": "d"}, "5")
    assert [d.name for d in live.studio.datasets.list(live.owner)] == ["d"]
    assert live.studio.ledger.available(live.owner) == FUNDS - 5


@pytest.mark.parametrize("value", ["", "0", "0.000", "-1", "1e3", "nan", "inf", "soon", "9" * 7, "٣"])
def test_a_bad_deadline_is_refused(live: Live, value: str) -> None:
    response = live.dispatch(live.key(), "run_slowly", {"name": "d"}, X_Deadline_Seconds=value.encode())
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_header")
    assert not live.slow.entered.is_set()


@pytest.mark.parametrize("value", [0, -1, True, "5", [5], {}], ids=repr)
def test_a_bad_deadline_over_mcp_is_refused(live: Live, value: Any) -> None:
    response = live.mcp(live.key(), "run_slowly", {"name": "d"}, meta={f"{NAMESPACE}/seconds": value})
    assert error_of(response)["code"] == "invalid_meta"
    assert not live.slow.entered.is_set()


def test_a_deadline_holds_for_the_call_inside_a_call_too(tmp_path: Path) -> None:
    """Half of the time goes by until a person says yes; the confirmed call has the other half."""
    with serving(tmp_path / "home", confirm_above_credits=1, confirm_by="human") as live:
        key, arguments = live.key(), {"name": "d", "listens": False}
        question = live.dispatch(key, "run_slowly", arguments).json()["error"]["details"]
        wait = {"approval_id": question["approval_id"], "wait_seconds": 20}
        call = live.pool.submit(lambda: live.dispatch(key, "confirm_call", wait, X_Deadline_Seconds="2"))
        time.sleep(0.8)
        live.studio.approvals.decide(live.owner, question["approval_id"], approve=True)
        assert live.slow.entered.wait(20)
        time.sleep(1.4)
        live.slow.leave.set()
        assert call.result(20).json()["error"]["code"] == "deadline_exceeded"
        assert live.studio.datasets.list(live.owner) == []
        assert live.studio.ledger.available(live.owner) == FUNDS


# keys and callers that go away


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_revoked_key_stops_the_call_that_runs(live: Live, where: str) -> None:
    """Whichever process revokes it."""
    key = live.key()
    call = live.start(lambda: live.dispatch(key, "run_slowly", {"name": "d"}))
    studio = live.studio if where == "here" else open_studio(live.runtime.settings)
    studio.keys.revoke(live.owner, prefix=live.studio.keys.authenticate(key).key_uuid)
    response = call.result(15)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_key")
    live.stopped("invalid_key")
    if where == "elsewhere":
        studio.close()


@pytest.mark.parametrize("write", ["first", "last"])
def test_a_caller_who_hangs_up_leaves_nothing(live: Live, write: str) -> None:
    key = live.key()

    def call() -> httpx.Response:
        with httpx.Client(headers={"X-API-Key": key}, timeout=0.5) as client:
            return client.post(f"{live.url}{API}/_dispatch/run_slowly", json={"name": "d", "write": write})

    with pytest.raises(httpx.ReadTimeout):
        live.start(call).result(20)
    live.stopped("cancelled")
    assert live.dispatch(key, "create_dataset", {"name": "d"}).status_code == 200


def test_a_caller_who_hangs_up_on_mcp_leaves_nothing(live: Live) -> None:
    """In the newer revision, that is how a call is cancelled."""
    key = live.key()
    params = {"name": "run_slowly", "arguments": {"name": "d"}, "_meta": MODERN | {"progressToken": 1}}
    headers = JSON | {"X-API-Key": key, "MCP-Protocol-Version": PROTOCOL}
    headers |= {"Mcp-Method": "tools/call", "Mcp-Name": "run_slowly"}
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
    with (
        httpx.Client(timeout=20) as client,
        client.stream("POST", f"{live.url}/mcp", content=body, headers=headers) as stream,
    ):
        assert next(stream.iter_lines())  # the first progress: it runs
    live.stopped("cancelled")


@pytest.mark.parametrize("write", ["first", "last"])
def test_a_cancelled_call_leaves_nothing(live: Live, write: str) -> None:
    """``notifications/cancelled``, as the older revision has it."""
    key = live.key()
    headers = JSON | {"X-API-Key": key} | live.session(key)
    params = {"name": "run_slowly", "arguments": {"name": "d", "write": write}}
    live.start(lambda: live.post(headers, {"id": 7, "method": "tools/call", "params": params}))
    live.post(headers, {"method": "notifications/cancelled", "params": {"requestId": 7}})
    live.stopped("cancelled")
    assert live.post(headers, {"id": 8, "method": "ping"}).status_code == 200
