"""What resources and completions read: tool calls, through all guards, made on behalf of a message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio.to_thread
import mcp.types as t
from mcp.shared.exceptions import MCPError

from tintype_server.dispatch.running import log
from tintype_server.mcp.caller import Caller, CallerOf, Context, agent_name, is_counted
from tintype_server.mcp.identity import MODERN_VERSIONS
from tintype_server.runtime import Runtime
from tintype_server.workers import Workers
from tintype_studio.errors import Internal, InvalidInput, NotFound, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_tools.call import Outcome, Request
from tintype_tools.snapshot import ALWAYS_OPEN
from tintype_tools.spec import Effect

RESOURCE_NOT_FOUND = -32002
"""Of the ``initialize`` era; the revision of 2026-07-28 has invalid params instead."""


@dataclass(frozen=True, slots=True)
class Reader:
    """The sender of one message, with what it may call."""

    runtime: Runtime
    workers: Workers
    ctx: Context
    caller: Caller
    principal: Principal

    def may_call(self, tool: str) -> bool:
        """Whether role, toolsets and read-only mode leave the tool open; the guards say the same."""
        settings, registry = self.runtime.settings, self.runtime.registry
        if tool not in registry:
            return False
        spec = registry.get(tool)
        toolsets = settings.offered_toolsets(self.principal.toolsets, self.caller.toolsets)
        return (
            self.principal.role.covers(spec.required_role)
            and (toolsets is None or spec.toolset in toolsets | ALWAYS_OPEN)
            and (spec.effect is Effect.READ or not (settings.read_only or self.caller.read_only))
        )

    async def call(self, tool: str, /, *, again: bool = False, **arguments: Any) -> Outcome:
        """Call a tool as the message's sender. ``again``: not the message's first call, counted with it.

        Raises ``TintypeError`` as the guards do.
        """
        caller = self.caller
        return await self.workers.run(
            Request(
                tool=tool,
                arguments=arguments,
                api_key=caller.api_key,
                door=caller.door,
                files=caller.files,
                agent=agent_name(self.ctx),
                base_url=caller.base_url,
                max_response_tokens=caller.max_response_tokens,
                session=caller.session,
                counted=again or is_counted(self.ctx),
                toolsets=caller.toolsets,
                read_only=True,
            )
        )


class Readers:
    """Makes a ``Reader`` of a message's sender."""

    def __init__(self, runtime: Runtime, workers: Workers, caller_of: CallerOf) -> None:
        self._runtime = runtime
        self._workers = workers
        self._caller_of = caller_of

    async def of(self, ctx: Context) -> Reader:
        """Who sent the message. Raises ``TintypeError`` for one without a valid key."""
        caller = self._caller_of(ctx.request)
        keys = self._runtime.studio.keys
        principal = keys.cached(caller.api_key)
        if principal is None:
            principal = await anyio.to_thread.run_sync(keys.authenticate, caller.api_key)
        return Reader(self._runtime, self._workers, ctx, caller, principal)


def protocol_error(error: Exception, ctx: Context, **data: str) -> MCPError:
    """A refusal of what is no tool call, with more data. Nothing of an unforeseen error's text goes out."""
    if not isinstance(error, TintypeError):
        log.error("a message through MCP failed outside the dispatcher", exc_info=error)
        error = Internal()
    if isinstance(error, Internal):
        code = t.INTERNAL_ERROR
    elif isinstance(error, NotFound):
        code = t.INVALID_PARAMS if ctx.protocol_version in MODERN_VERSIONS else RESOURCE_NOT_FOUND
    elif isinstance(error, InvalidInput):
        code = t.INVALID_PARAMS
    else:
        code = t.INVALID_REQUEST
    return MCPError(code, f"{error.message} {error.fix}", {**error.as_dict(), **data})
