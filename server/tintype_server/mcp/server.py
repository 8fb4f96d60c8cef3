"""The one MCP server object, for every transport and both protocol eras.

The SDK's low-level server validates nothing and lets exception text of older clients' calls through, so
everything that leaves a handler here is one of: a result, a result marked as error with our visible shape,
or a protocol error of our own wording.
"""

from __future__ import annotations

import base64
import json
import time
import warnings
from functools import lru_cache
from typing import Any

import anyio.from_thread
import anyio.to_thread
import mcp.types as t
import orjson
from mcp.server import CacheHint, NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from tintype_server.dispatch.running import log
from tintype_server.mcp import elicit, identity
from tintype_server.mcp.caller import Caller, CallerOf, Context, agent_name, is_counted
from tintype_server.mcp.changes import Changes
from tintype_server.mcp.lists import add_lists, require_first_page
from tintype_server.mcp.reads import Readers, protocol_error
from tintype_server.runtime import Runtime
from tintype_server.telemetry.traces import trace_context
from tintype_server.workers import Workers
from tintype_studio.errors import ConfirmationRequired, Internal, InvalidInput, TintypeError
from tintype_studio.names import printable
from tintype_tools.call import Outcome, Progress, Request, no_progress
from tintype_tools.snapshot import NAMESPACE, as_mcp_tool, visible_tools
from tintype_tools.spec import Effect

warnings.simplefilter("ignore", MCPDeprecationWarning)

IDEMPOTENCY_META = f"{NAMESPACE}/idempotencyKey"
DRY_RUN_META = f"{NAMESPACE}/dryRun"
CONFIRM_META = f"{NAMESPACE}/confirmToken"
SESSION_META = f"{NAMESPACE}/session"
SECONDS_META = f"{NAMESPACE}/seconds"
PROGRESS_STEP_SECONDS = 0.1

_NO_HEADER_ARGUMENTS: dict[str, Any] = {"type": "object"}


class McpServer(Server[Any]):
    """The SDK's server, which says to older clients as well that lists may change."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """The options of ``initialize``; the SDK's transports ask for them without saying any."""
        options = super().create_initialization_options(
            notification_options or NotificationOptions(True, True, True),
            experimental_capabilities,
            extensions,
        )
        icons = [t.Icon.model_validate(icon) for icon in identity.icons()]
        return options.model_copy(update={"icons": icons})


def build_server(runtime: Runtime, caller_of: CallerOf) -> Server[Any]:
    """The server object; hand it to any of the SDK's transports."""
    workers = Workers(runtime)
    readers = Readers(runtime, workers, caller_of)
    changes = Changes(readers)

    async def list_tools(ctx: Context, params: t.PaginatedRequestParams | None) -> t.ListToolsResult:
        require_first_page(params, "tool")
        try:
            reader = await readers.of(ctx)
        except Exception as error:
            raise protocol_error(error, ctx) from None
        caller, principal, settings = reader.caller, reader.principal, runtime.settings
        toolsets = settings.offered_toolsets(principal.toolsets, caller.toolsets)
        read_only = settings.read_only or caller.read_only
        return t.ListToolsResult(tools=_mcp_tools(principal.role.value, toolsets, read_only))

    async def call_tool(
        ctx: Context, params: t.CallToolRequestParams
    ) -> t.CallToolResult | t.InputRequiredResult:
        try:
            answer = await answered(ctx, params)
        except MCPError:
            raise
        except TintypeError as error:
            return error_result(error)
        except Exception:
            log.exception("a call through MCP failed outside the dispatcher")
            return error_result(Internal())
        return answer

    async def answered(
        ctx: Context, params: t.CallToolRequestParams
    ) -> t.CallToolResult | t.InputRequiredResult:
        try:
            request = _request(ctx, params, caller_of(ctx.request))
            try:
                if params.request_state is not None:
                    request = request.confirmed(elicit.token_of(params.request_state, params))
                outcome = await workers.run(request)
            except ConfirmationRequired as error:
                question = await elicit.ask(ctx, error)
                if question is None:
                    raise
                if isinstance(question, t.InputRequiredResult):
                    return question
                outcome = await workers.run(request.confirmed(question))
        except elicit.Declined as error:
            await anyio.to_thread.run_sync(runtime.studio.approvals.withdraw, error.token)
            return error_result(error)
        except TintypeError as error:
            if error.code == "unknown_tool":
                raise MCPError(t.INVALID_PARAMS, f"{error.message} {error.fix}", error.as_dict()) from None
            raise
        if ctx.protocol_version not in identity.MODERN_VERSIONS and params.name not in reads:
            await changes.after_change(ctx)
        return success_result(outcome)

    reads = frozenset(spec.name for spec in runtime.registry if spec.effect is Effect.READ)
    server = McpServer(
        identity.NAME,
        title=identity.TITLE,
        version=identity.server_version(),
        instructions=identity.INSTRUCTIONS,
        cache_hints={
            method: CacheHint(ttl_ms=identity.LISTS_TTL_MS, scope="private")
            for method in ("tools/list", "prompts/list", "resources/templates/list")
        },
        # The SDK looks for arguments that travel as headers. We have none; without an answer here it runs
        # the whole tools/list before every HTTP call.
        get_tool_input_schema=lambda _name: _NO_HEADER_ARGUMENTS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    add_lists(server, readers, changes)
    # The SDK's own spans, without an exporter, cost a fifth of a call; ours come with the telemetry extra.
    server.middleware.clear()
    server.middleware.append(
        elicit.boundary(
            runtime.studio.signer.state_key,
            lambda ctx: runtime.studio.signer.hash_key(caller_of(ctx.request).api_key or ""),
        )
    )
    return server


def success_result(outcome: Outcome) -> t.CallToolResult:
    """An outcome as MCP content: the value as JSON text, then the pictures.

    There is no ``structuredContent``: several hosts show it to the model beside the text, which
    doubles the tokens.
    """
    content: list[t.ContentBlock] = [t.TextContent(type="text", text=_json(outcome.value))]
    content.extend(
        t.ImageContent(type="image", data=base64.b64encode(p.data).decode(), mime_type=p.mime_type)
        for p in outcome.pictures
    )
    meta: dict[str, Any] = {f"{NAMESPACE}/callId": outcome.call_id}
    if outcome.credits:
        meta[f"{NAMESPACE}/credits"] = outcome.credits
    if outcome.replayed:
        meta[f"{NAMESPACE}/replayed"] = True
    if outcome.restore_point:
        meta[f"{NAMESPACE}/restorePoint"] = outcome.restore_point
    return t.CallToolResult(content=content, _meta=meta)


def error_result(error: TintypeError) -> t.CallToolResult:
    """A refusal that the model can read and act on."""
    shape = error.as_dict()
    return t.CallToolResult(
        is_error=True,
        content=[t.TextContent(type="text", text=_json({"error": shape}))],
        _meta={f"{NAMESPACE}/error": shape},
    )


def _json(value: Any) -> str:
    """JSON of whatever a tool told; what has been done is told even if its text cannot be encoded."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return printable(json.dumps(value, ensure_ascii=False))


@lru_cache(maxsize=64)
def _mcp_tools(role: str, toolsets: frozenset[str] | None, read_only: bool) -> list[t.Tool]:
    shown = visible_tools(role, toolsets, read_only=read_only)
    return [t.Tool.model_validate(as_mcp_tool(tool)) for tool in shown]


def _request(ctx: Context, params: t.CallToolRequestParams, caller: Caller) -> Request:
    meta: dict[str, Any] = dict(params.meta or {})
    seconds = meta.get(SECONDS_META)
    if seconds is not None and (
        isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0
    ):
        raise InvalidInput(f"{SECONDS_META} is a number above zero.", code="invalid_meta")
    return Request(
        tool=params.name,
        arguments=params.arguments or {},
        api_key=caller.api_key,
        door=caller.door,
        files=caller.files,
        agent=agent_name(ctx),
        idempotency_key=_text(meta, IDEMPOTENCY_META, "invalid_idempotency_key"),
        base_url=caller.base_url,
        max_response_tokens=caller.max_response_tokens,
        progress=_progress_sender(ctx),
        dry_run=_flag(meta, DRY_RUN_META),
        confirm_token=_text(meta, CONFIRM_META),
        session=_text(meta, SESSION_META) or caller.session,
        deadline_seconds=seconds,
        trace=trace_context(meta),
        toolsets=caller.toolsets,
        read_only=caller.read_only,
        counted=is_counted(ctx),
    )


def _text(meta: dict[str, Any], name: str, code: str = "invalid_meta") -> str | None:
    value = meta.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"{name} is a string.", code=code)
    return value


def _flag(meta: dict[str, Any], name: str) -> bool:
    # Not by truth value: whoever sends "false" must not get the live call, nor for 1 the dry one.
    value = meta.get(name, False)
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} is true or false.", code="invalid_meta")
    return value


def _progress_sender(ctx: Context) -> Progress:
    """Sends progress from the worker thread, a few times a second at most; the last step always."""
    if (ctx.meta or {}).get("progress_token") is None:
        return no_progress
    last = 0.0

    def send(done: int, total: int | None, message: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < PROGRESS_STEP_SECONDS and done != total:
            return
        last = now
        # The loop may be gone while an abandoned call still winds down.
        try:
            anyio.from_thread.run(ctx.session.report_progress, done, total, message)
        except RuntimeError:
            return

    return send
