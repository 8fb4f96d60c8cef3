"""A ``Toolkit`` over a Tintype server elsewhere: lists from its ``tools.json``, calls over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import orjson

from tintype_studio import clock
from tintype_studio.errors import Forbidden, InvalidInput, NotFound, TintypeError, Unavailable
from tintype_studio.names import printable
from tintype_tools.adapters.answered import error_of, outcome_of, seconds_to_wait
from tintype_tools.call import Outcome, Request
from tintype_tools.local_files import LocalFiles
from tintype_tools.snapshot import ALWAYS_OPEN, load_snapshot
from tintype_tools.toolkit import Confirm, Toolkit

if TYPE_CHECKING:
    import httpx

API = "/api/v1/developer"
CONNECT_SECONDS = 10.0
READ_SECONDS = 90.0
"""How long an answer may take beyond what the call itself says that it waits."""
ATTEMPTS = 5
MAX_TIMEOUTS = 2
MAX_PAUSE_SECONDS = 60.0
"""Pauses of one call in all; a server that wants more of it is quoted to the model."""


@dataclass(frozen=True, slots=True)
class _Send:
    """A step of an exchange: send this."""

    path: str
    headers: dict[str, str]
    content: bytes
    seconds: float


_Steps = Generator[_Send | float, "httpx.Response | Exception | None", Outcome]
"""An exchange, step by step: what to send, or how long to pause. The same for blocking and async callers."""


class _Server:
    """One server and one key."""

    def __init__(self, base_url: str, api_key: str, headers: dict[str, str]) -> None:
        import httpx

        self._httpx = httpx
        self.base_url = base_url
        self._options: dict[str, Any] = {
            "base_url": base_url,
            "headers": {"X-API-Key": api_key, **headers},
            "verify": httpx.create_ssl_context(),  # made once: it is what a client costs
        }
        self._blocking = httpx.Client(**self._options)
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()
        self.tools: dict[str, dict[str, Any]] = {}

    def load(self) -> None:
        """Read ``tools.json``."""
        try:
            response = self._blocking.get(f"{API}/tools.json", timeout=READ_SECONDS)
        except self._httpx.TransportError:
            raise self._lost() from None
        if response.status_code != 200:
            raise error_of(response)
        core = {tool["name"]: tool["core"] for tool in load_snapshot()["tools"]}
        try:
            self.tools = {
                tool["name"]: {"core": core.get(tool["name"], False), "title": tool["name"], **tool}
                for tool in response.json()["tools"]
            }
        except (ValueError, KeyError, TypeError):
            raise Unavailable(
                f"{self.base_url} does not answer like a Tintype server.",
                code="unexpected_answer",
                fix="Check base_url: it is the address that `tintype serve` prints.",
                retryable=False,
            ) from None

    def call(self, request: Request) -> Outcome:
        steps = self._exchange(request)
        step = next(steps)
        while True:
            answer: httpx.Response | Exception | None = None
            try:
                if isinstance(step, float):
                    request.cancelled.wait(step)
                else:
                    answer = self._blocking.post(step.path, **self._sent(step))
            except self._httpx.TransportError as error:
                answer = error
            try:
                step = steps.send(answer)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome

    async def acall(self, request: Request) -> Outcome:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = self._httpx.AsyncClient(**self._options)
        client = self._clients[loop]
        steps = self._exchange(request)
        step = next(steps)
        while True:
            answer: httpx.Response | Exception | None = None
            try:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    answer = await client.post(step.path, **self._sent(step))
            except self._httpx.TransportError as error:
                answer = error
            try:
                step = steps.send(answer)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome

    def _sent(self, step: _Send) -> dict[str, Any]:
        timeout = self._httpx.Timeout(step.seconds, connect=CONNECT_SECONDS)
        return {"content": step.content, "headers": step.headers, "timeout": timeout}

    def _exchange(self, request: Request) -> _Steps:
        """One call, sent again while that is safe and can help.

        What changes something carries an idempotency key, so an answer that got lost is asked for again and
        nothing is done twice.
        """
        send = self._request(request)
        paused, timeouts = 0.0, 0
        for attempt in range(1, ATTEMPTS + 1):
            answer = yield send
            pause: float | None
            if answer is None or isinstance(answer, Exception):
                timeouts += isinstance(answer, self._httpx.ReadTimeout)
                pause = 0.25 * 2**attempt if timeouts < MAX_TIMEOUTS else MAX_PAUSE_SECONDS + 1
            else:
                pause = seconds_to_wait(answer, attempt)
                if pause is None:
                    return outcome_of(answer, request)
            if attempt == ATTEMPTS or paused + pause > MAX_PAUSE_SECONDS or request.cancelled.is_set():
                break
            paused += pause
            yield pause
        if answer is None or isinstance(answer, Exception):
            raise self._lost()
        return outcome_of(answer, request)

    def _request(self, request: Request) -> _Send:
        try:
            content = orjson.dumps(request.arguments)
        except TypeError:
            raise InvalidInput(
                "The arguments cannot be written as JSON.",
                code="invalid_json",
                fix="Use plain values, valid Unicode, and whole numbers of at most 64 bits.",
            ) from None
        headers = {"Content-Type": "application/json"}
        tool = self.tools.get(request.tool, {})
        if tool.get("effect") != "read":
            headers["Idempotency-Key"] = request.idempotency_key or clock.new_id()
        if request.dry_run:
            headers["X-Dry-Run"] = "true"
        if request.confirm_token:
            headers["X-Confirm-Token"] = request.confirm_token
        # The server refuses by itself, then, also what a call inside a call would open again.
        if request.toolsets is not None:
            headers["X-MCP-Toolsets"] = ",".join(sorted(request.toolsets))
        if request.read_only:
            headers["X-MCP-Readonly"] = "true"
        wait = request.arguments.get("wait_seconds")
        seconds = READ_SECONDS + (min(float(wait), 600) if isinstance(wait, int | float) and wait > 0 else 0)
        return _Send(f"{API}/_dispatch/{request.tool}", headers, content, seconds)

    def _lost(self) -> TintypeError:
        return Unavailable(
            f"The server at {self.base_url} cannot be reached.",
            code="server_unreachable",
            fix="Check that it runs and that base_url is right, then call again.",
        )

    def close(self) -> None:
        """Close the connections; those of event loops that still run close with them."""
        self._blocking.close()
        self._clients.clear()


def create_toolkit(
    *,
    base_url: str,
    api_key: str | None = None,
    toolsets: Iterable[str] | None = None,
    read_only: bool = False,
    max_response_tokens: int | None = None,
    agent: str | None = None,
    confirm: Confirm | None = None,
) -> Toolkit:
    """Open a server for an agent loop in this process; reads its ``tools.json``, which blocks for that long.

    ``api_key`` defaults to ``TINTYPE_API_KEY``. Without ``toolsets`` the core tools are shown, with it all
    tools of these; ``read_only`` leaves out, and refuses, whatever changes something. ``confirm`` asks a
    person about calls that need it; without it they raise ``ConfirmationRequired``. Raises ``Unauthorized``
    for a key that is not valid, ``Unavailable`` when no server answers, ``InvalidInput`` for toolsets that
    the server does not have.
    """
    server = _Server(_address(base_url), api_key or _saved_key(), _headers(max_response_tokens, agent))
    try:
        server.load()
        asked = _known(toolsets, server)
    except BaseException:
        server.close()
        raise
    narrow = partial(_refuse_what_is_not_offered, server, asked, read_only)

    def dispatch(request: Request) -> Outcome:
        narrow(request)
        return server.call(request)

    async def dispatch_async(request: Request) -> Outcome:
        narrow(request)
        return await server.acall(request)

    def shown() -> list[dict[str, Any]]:
        return [
            tool
            for _, tool in sorted(server.tools.items())
            if (tool["core"] if asked is None else tool["toolset"] in asked)
            and (tool["effect"] == "read" or not read_only)
        ]

    new_request = partial(
        Request, api_key=None, door="toolkit", files=LocalFiles.under(), toolsets=asked, read_only=read_only
    )
    return Toolkit(
        dispatch, new_request, shown, close=server.close, confirm=confirm, dispatch_async=dispatch_async
    )


def _refuse_what_is_not_offered(
    server: _Server, toolsets: frozenset[str] | None, read_only: bool, request: Request
) -> None:
    tool = server.tools.get(request.tool)
    if tool is None:
        # Nothing tells whether a tool that the list lacks, as one newer than it, reads or of which toolset it
        # is. And what is no name shall not become a part of an address.
        narrowed = read_only or toolsets is not None
        if narrowed or not (request.tool.isascii() and request.tool.isidentifier()):
            raise NotFound(
                f"No tool is named {printable(request.tool[:80])!r}.",
                code="unknown_tool",
                fix="Use the tools that you were shown.",
            )
        return  # the server says it better: with close matches
    if read_only and tool["effect"] != "read":
        raise Forbidden(
            f"{request.tool} changes something, and this toolkit is read-only.",
            code="read_only",
            fix="Read instead, or ask the person who set up the agent.",
        )
    if toolsets is not None and request.tool == "call_tool":
        inner = replace(request, tool=str(request.arguments.get("tool")))
        _refuse_what_is_not_offered(server, toolsets, read_only, inner)
    if toolsets is not None and tool["toolset"] not in toolsets:
        raise Forbidden(
            f"The toolset {tool['toolset']!r} is not open to this toolkit.",
            code="toolset_required",
            fix="Use the tools that you were shown.",
        )


def _known(toolsets: Iterable[str] | None, server: _Server) -> frozenset[str] | None:
    if toolsets is None:
        return None
    asked = frozenset([toolsets] if isinstance(toolsets, str) else toolsets)
    known = {tool["toolset"] for tool in server.tools.values()}
    if unknown := sorted(asked - known - {"all"}):
        raise InvalidInput(
            f"No toolset is named {', '.join(map(repr, unknown))}.",
            code="unknown_toolset",
            fix=f"Known toolsets: {', '.join(sorted(known))}.",
        )
    return frozenset(known if "all" in asked else asked | ALWAYS_OPEN)


def _address(base_url: str) -> str:
    address = base_url.strip().rstrip("/").removesuffix(API)
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise InvalidInput(
            "base_url must be an http or https address.",
            code="invalid_base_url",
            fix="Give the address that `tintype serve` prints, such as http://127.0.0.1:8000.",
        )
    return address


def _saved_key() -> str:
    import os

    return os.environ.get("TINTYPE_API_KEY", "")


def _headers(max_response_tokens: int | None, agent: str | None) -> dict[str, str]:
    headers = {
        "User-Agent": agent or "tintype-toolkit",
        "X-Session-Id": f"toolkit-{clock.new_id()}",
    }
    if max_response_tokens is not None:
        headers["X-Max-Response-Tokens"] = str(max_response_tokens)
    return headers
