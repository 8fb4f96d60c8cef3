"""Puts resources, prompts, completion and news of changes on a server object."""

from __future__ import annotations

from typing import Any

import mcp.types as t
from mcp.server import Server
from mcp.shared.exceptions import MCPError

from tintype_server.mcp import apps, completion, identity, prompts, resources
from tintype_server.mcp.caller import Context
from tintype_server.mcp.changes import Changes
from tintype_server.mcp.reads import Readers, protocol_error


def add_lists(server: Server[Any], readers: Readers, changes: Changes) -> None:
    """Add the handlers. What one raises goes out as a protocol error of our own wording."""

    async def list_resources(ctx: Context, params: t.PaginatedRequestParams) -> t.ListResourcesResult:
        try:
            return await resources.listed(await readers.of(ctx), params.cursor)
        except Exception as error:
            raise protocol_error(error, ctx) from None

    async def list_templates(ctx: Context, params: t.PaginatedRequestParams) -> t.ListResourceTemplatesResult:
        require_first_page(params, "template")
        try:
            found = resources.templates(await readers.of(ctx))
        except Exception as error:
            raise protocol_error(error, ctx) from None
        return t.ListResourceTemplatesResult(resource_templates=found)

    async def read_resource(ctx: Context, params: t.ReadResourceRequestParams) -> t.ReadResourceResult:
        try:
            reader = await readers.of(ctx)
            return apps.page(str(params.uri)) or await resources.read(reader, str(params.uri))
        except Exception as error:
            raise protocol_error(error, ctx, uri=str(params.uri)) from None

    async def list_prompts(ctx: Context, params: t.PaginatedRequestParams) -> t.ListPromptsResult:
        require_first_page(params, "prompt")
        try:
            return t.ListPromptsResult(prompts=prompts.listed(await readers.of(ctx)))
        except Exception as error:
            raise protocol_error(error, ctx) from None

    async def get_prompt(ctx: Context, params: t.GetPromptRequestParams) -> t.GetPromptResult:
        try:
            recipe = prompts.find(await readers.of(ctx), params.name)
            return prompts.filled(recipe, params.arguments or {})
        except Exception as error:
            raise protocol_error(error, ctx) from None

    async def complete(ctx: Context, params: t.CompleteRequestParams) -> t.CompleteResult:
        argument = params.argument
        try:
            found = await completion.complete(
                await readers.of(ctx), params.ref, argument.name, argument.value
            )
        except Exception as error:
            raise protocol_error(error, ctx) from None
        return t.CompleteResult(completion=found)

    async def listen(ctx: Context, params: t.SubscriptionsListenRequestParams) -> t.SubscriptionsListenResult:
        try:
            return await changes.listen(ctx, params)
        except MCPError:
            raise
        except Exception as error:
            raise protocol_error(error, ctx) from None

    async def discover(ctx: Context, _params: t.RequestParams) -> t.DiscoverResult:
        # The SDK would promise news of single resources along with those of lists.
        return t.DiscoverResult(
            supported_versions=list(identity.MODERN_VERSIONS),
            capabilities=t.ServerCapabilities.model_validate(identity.MODERN_CAPABILITIES),
            instructions=identity.INSTRUCTIONS,
            _meta={identity.SERVER_INFO_META: identity.server_info()},
        )

    server.add_request_handler("resources/list", t.PaginatedRequestParams, list_resources)
    server.add_request_handler("resources/templates/list", t.PaginatedRequestParams, list_templates)
    server.add_request_handler("resources/read", t.ReadResourceRequestParams, read_resource)
    server.add_request_handler("prompts/list", t.PaginatedRequestParams, list_prompts)
    server.add_request_handler("prompts/get", t.GetPromptRequestParams, get_prompt)
    server.add_request_handler("completion/complete", t.CompleteRequestParams, complete)
    server.add_request_handler("subscriptions/listen", t.SubscriptionsListenRequestParams, listen)
    server.add_request_handler("server/discover", t.RequestParams, discover)


def require_first_page(params: t.PaginatedRequestParams | None, what: str) -> None:
    """Refuse a cursor where there is but one page: several clients read the first one only."""
    if params is not None and params.cursor is not None:
        raise MCPError(t.INVALID_PARAMS, f"Invalid cursor: the {what} list has a single page.")
