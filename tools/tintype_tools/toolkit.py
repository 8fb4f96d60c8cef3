"""``Toolkit``: the tools for an agent loop in this process."""

from __future__ import annotations

import asyncio
import base64
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from tintype_studio.errors import ApprovalDenied, ConfirmationRequired
from tintype_tools.call import Dispatch, Outcome, Request
from tintype_tools.snapshot import as_anthropic_tool, as_openai_tool, as_registry_entry

Confirm = Callable[[ConfirmationRequired], bool | Awaitable[bool]]
"""Asks a person about a call; ``details`` of the question says what it would do. ``acall`` takes coroutine
functions as well; a plain one holds up the event loop while it asks.
"""


def outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome as one JSON object; pictures travel as base64 under ``_pictures``."""
    if not outcome.pictures:
        return outcome.value
    pictures = [
        {
            "mime_type": p.mime_type,
            "width": p.width,
            "height": p.height,
            "data": base64.b64encode(p.data).decode(),
        }
        for p in outcome.pictures
    ]
    return {**outcome.value, "_pictures": pictures}


class Toolkit:
    """Dispatches calls and lists the tools in each provider's shape.

    Every call passes the same guards as on any other door; a refusal raises ``TintypeError``, whose
    ``as_dict()`` is fit for the model.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        new_request: Callable[..., Request],
        list_tools: Callable[[], list[dict[str, Any]]],
        close: Callable[[], None] = lambda: None,
        confirm: Confirm | None = None,
        dispatch_async: Callable[[Request], Awaitable[Outcome]] | None = None,
    ) -> None:
        """``dispatch_async`` is for a dispatcher that can wait without a thread."""
        self._dispatch = dispatch
        self._new_request = new_request
        self._list_tools = list_tools
        self._close = close
        self._confirm = confirm
        self._dispatch_async = dispatch_async or self._in_thread

    def dispatch(
        self,
        name: str,
        args: dict[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        confirm_token: str | None = None,
    ) -> dict[str, Any]:
        """Call a tool and return its result as a JSON object; for a dry run, what it would do."""
        outcome = self.call(
            name, args, idempotency_key=idempotency_key, dry_run=dry_run, confirm_token=confirm_token
        )
        return outcome_as_json(outcome)

    def call(
        self,
        name: str,
        args: dict[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        confirm_token: str | None = None,
    ) -> Outcome:
        """Call a tool and return the whole outcome: value, pictures as bytes, credits, replay mark.

        A call that needs confirmation is put to ``confirm`` if the toolkit has one; otherwise it raises
        ``ConfirmationRequired``, whose token, sent with the same call, goes on.
        """
        request = self._new_request(
            tool=name,
            arguments=args or {},
            idempotency_key=idempotency_key,
            dry_run=dry_run,
            confirm_token=confirm_token,
        )
        try:
            return self._dispatch(request)
        except ConfirmationRequired as question:
            if self._confirm is None or not question.token:
                raise
            said = self._confirm(question)
            if inspect.isawaitable(said):
                said = asyncio.run(_waited(said))
            if not said:
                raise _denied() from None
            return self._dispatch(request.confirmed(question.token))

    async def acall(
        self,
        name: str,
        args: dict[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        confirm_token: str | None = None,
    ) -> Outcome:
        """As ``call``, without blocking the event loop. Cancelling the task cancels the call."""
        request = self._new_request(
            tool=name,
            arguments=args or {},
            idempotency_key=idempotency_key,
            dry_run=dry_run,
            confirm_token=confirm_token,
        )
        try:
            return await self._dispatch_async(request)
        except ConfirmationRequired as question:
            if self._confirm is None or not question.token:
                raise
            said = self._confirm(question)
            if inspect.isawaitable(said):
                said = await said
            if not said:
                raise _denied() from None
            return await self._dispatch_async(request.confirmed(question.token))

    async def _in_thread(self, request: Request) -> Outcome:
        try:
            return await asyncio.to_thread(self._dispatch, request)
        except asyncio.CancelledError:
            request.cancelled.set()
            raise

    def tools(self) -> list[dict[str, Any]]:
        """What ``registry.json`` says of the tools that are shown, in a fixed order."""
        return self._list_tools()

    def as_json_schema(self) -> list[dict[str, Any]]:
        """The documented descriptors, as in ``tools.json``."""
        return [as_registry_entry(tool) for tool in self._list_tools()]

    def as_anthropic_tools(self) -> list[dict[str, Any]]:
        """Tool dicts for the Anthropic Messages API."""
        return [as_anthropic_tool(tool) for tool in self._list_tools()]

    def as_openai_tools(self) -> list[dict[str, Any]]:
        """Tool dicts for the OpenAI Responses API."""
        return [as_openai_tool(tool) for tool in self._list_tools()]

    def close(self) -> None:
        """Release the workspace, or the connections to the server."""
        self._close()

    def __enter__(self) -> Toolkit:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Toolkit:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await asyncio.to_thread(self.close)


async def _waited(said: Awaitable[bool]) -> bool:
    return await said


def _denied() -> ApprovalDenied:
    return ApprovalDenied("The user did not confirm; nothing was changed.")
