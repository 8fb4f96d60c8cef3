"""What the conformance suite wants a server to have, put on our server object beside its own things.

Only tool bodies, prompts and resources are made up: transport, sessions, keys, limits, sealing of state and
news of changes are those of the product.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import mcp.types as t
from mcp.server import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata

Handler = Callable[[Any, Any], Awaitable[Any]]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
SILENCE = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="
MISSING_CAPABILITY = -32021
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}


def _text(text: str) -> t.TextContent:
    return t.TextContent(type="text", text=text)


def _image() -> t.ImageContent:
    return t.ImageContent(type="image", data=PIXEL, mime_type="image/png")


def _embedded(uri: str, text: str, mime_type: str = "text/plain") -> t.EmbeddedResource:
    return t.EmbeddedResource(
        type="resource", resource=t.TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    )


def _form(message: str, required: str, **properties: dict[str, Any]) -> t.ElicitRequest:
    schema = {"type": "object", "properties": properties, "required": [required] if required else []}
    return t.ElicitRequest(params=t.ElicitRequestFormParams(message=message, requested_schema=schema))


def _name_form(message: str = "What is your name?") -> t.ElicitRequest:
    return _form(message, "name", name={"type": "string"})


def _sample(text: str) -> t.CreateMessageRequest:
    message = t.SamplingMessage(role="user", content=_text(text))
    return t.CreateMessageRequest(params=t.CreateMessageRequestParams(messages=[message], max_tokens=50))


async def _live(ctx: Any, request: Any, result: Any) -> Any:
    """Ask over the open connection, as before 2026-07-28."""
    related = ServerMessageMetadata(related_request_id=ctx.request_id)
    return await ctx.session.send_request(request, result, metadata=related)


async def _log(ctx: Any, *lines: str) -> None:
    for line in lines:
        await ctx.session.send_log_message("info", line, related_request_id=ctx.request_id)
        await asyncio.sleep(0.05)


async def _with_logging(ctx: Any, _params: Any) -> Any:
    await _log(ctx, "Tool execution started", "Tool processing data", "Tool execution completed")
    return "logged"


async def _with_progress(ctx: Any, _params: Any) -> Any:
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100, f"step {done}")
        await asyncio.sleep(0.05)
    return "done"


async def _sampling(ctx: Any, params: Any) -> Any:
    answer = await _live(ctx, _sample((params.arguments or {}).get("prompt", "")), t.CreateMessageResult)
    return f"LLM response: {answer.content.text}"


async def _elicitation(ctx: Any, params: Any) -> Any:
    form = _form((params.arguments or {}).get("message", ""), "username", username={"type": "string"})
    form.params.requested_schema["properties"]["email"] = {"type": "string"}
    answer = await _live(ctx, form, t.ElicitResult)
    return f"User response: action={answer.action}, content={json.dumps(answer.content)}"


async def _defaults(ctx: Any, _params: Any) -> Any:
    form = _form(
        "Please review and update the form fields with defaults",
        "",
        name={"type": "string", "default": "John Doe"},
        age={"type": "integer", "default": 30},
        score={"type": "number", "default": 95.5},
        status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        verified={"type": "boolean", "default": True},
    )
    answer = await _live(ctx, form, t.ElicitResult)
    return f"action={answer.action}, content={json.dumps(answer.content)}"


async def _enums(ctx: Any, _params: Any) -> Any:
    plain = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"Option {n}"} for n in (1, 2, 3)]
    form = _form(
        "Please select options from the enum fields",
        "",
        untitledSingle={"type": "string", "enum": plain},
        titledSingle={"type": "string", "oneOf": titled},
        legacyEnum={"type": "string", "enum": plain, "enumNames": ["One", "Two", "Three"]},
        untitledMulti={"type": "array", "items": {"type": "string", "enum": plain}},
        titledMulti={"type": "array", "items": {"anyOf": titled}},
    )
    answer = await _live(ctx, form, t.ElicitResult)
    return f"action={answer.action}, content={json.dumps(answer.content)}"


async def _missing_capability(ctx: Any, _params: Any) -> Any:
    capabilities = ctx.session.client_capabilities
    if capabilities is None or capabilities.sampling is None:
        raise MCPError(
            MISSING_CAPABILITY,
            "This needs the client's capability to sample.",
            {"requiredCapabilities": {"sampling": {}}},
        )
    return "sampling is there"


def _asks(requests: Callable[[Any], dict[str, Any]], state: str | None = None) -> Handler:
    """A tool that wants all of these answered before it is done."""

    async def run(ctx: Any, params: Any) -> Any:
        wanted, given = requests(ctx), params.input_responses or {}
        if wanted and set(wanted) <= set(given) and (state is None or params.request_state == state):
            said = [a.model_dump(mode="json", by_alias=True) for a in given.values()]
            return f"state-ok: {json.dumps(said)}"
        return t.InputRequiredResult(input_requests=wanted, request_state=state)

    return run


def _declared(ctx: Any) -> dict[str, Any]:
    """Only what the client says it can answer."""
    capabilities = ctx.session.client_capabilities
    asked: dict[str, Any] = {}
    if capabilities is not None and capabilities.sampling is not None:
        asked["sample"] = _sample("Say hello")
    if capabilities is not None and capabilities.elicitation is not None:
        asked["ask"] = _name_form()
    return asked


async def _multi_round(_ctx: Any, params: Any) -> Any:
    state = json.loads(params.request_state) if params.request_state else {"round": 0}
    given = params.input_responses or {}
    if state["round"] == 1 and "step1" in given:
        answer = given["step1"]
        colour = _form("Step 2: What is your favourite colour?", "color", color={"type": "string"})
        following = {"round": 2, "name": (answer.content or {}).get("name")}
        return t.InputRequiredResult(input_requests={"step2": colour}, request_state=json.dumps(following))
    if state["round"] == 2 and "step2" in given:
        return f"{state['name']} likes {(given['step2'].content or {}).get('color')}."
    first = {"step1": _name_form("Step 1: What is your name?")}
    return t.InputRequiredResult(input_requests=first, request_state=json.dumps({"round": 1}))


def _says(*content: Any, failed: bool = False) -> Handler:
    async def run(_ctx: Any, _params: Any) -> Any:
        return t.CallToolResult(content=list(content), is_error=failed)

    return run


def _confirm(_ctx: Any) -> dict[str, Any]:
    return {"confirm": _form("Please confirm", "ok", ok={"type": "boolean"})}


TOOLS: dict[str, Handler] = {
    "test_simple_text": _says(_text("This is a simple text response for testing.")),
    "test_image_content": _says(_image()),
    "test_audio_content": _says(t.AudioContent(type="audio", data=SILENCE, mime_type="audio/wav")),
    "test_embedded_resource": _says(_embedded("test://embedded-resource", "An embedded resource.")),
    "test_multiple_content_types": _says(
        _text("Several kinds of content:"),
        _image(),
        _embedded("test://mixed-content-resource", '{"test": "data", "value": 123}', "application/json"),
    ),
    "test_error_handling": _says(_text("This tool intentionally returns an error for testing"), failed=True),
    "test_tool_with_logging": _with_logging,
    "test_logging_tool": _with_logging,
    "test_tool_with_progress": _with_progress,
    "test_sampling": _sampling,
    "test_elicitation": _elicitation,
    "test_elicitation_sep1034_defaults": _defaults,
    "test_elicitation_sep1330_enums": _enums,
    "test_missing_capability": _missing_capability,
    "test_x_mcp_header": _says(_text("seen")),
    "json_schema_2020_12_tool": _says(_text("seen")),
    "test_streaming_elicitation": _asks(lambda _ctx: {"answer": _name_form()}),
    "test_input_required_result_elicitation": _asks(lambda _ctx: {"user_name": _name_form()}),
    "test_input_required_result_sampling": _asks(
        lambda _ctx: {"capital_question": _sample("What is the capital of France?")}
    ),
    "test_input_required_result_list_roots": _asks(lambda _ctx: {"client_roots": t.ListRootsRequest()}),
    "test_input_required_result_request_state": _asks(_confirm, "request-state-nonce"),
    "test_input_required_result_tampered_state": _asks(_confirm, "round-1"),
    "test_input_required_result_multiple_inputs": _asks(
        lambda _ctx: {
            "user_name": _name_form(),
            "greeting": _sample("Generate a greeting"),
            "client_roots": t.ListRootsRequest(),
        },
        "several",
    ),
    "test_input_required_result_capabilities": _asks(_declared, "gated"),
    "test_input_required_result_multi_round": _multi_round,
}

SCHEMAS: dict[str, dict[str, Any]] = {
    "test_x_mcp_header": {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    },
    "test_sampling": {"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]},
    "test_elicitation": {
        "type": "object",
        "properties": {"message": {"type": "string"}},
        "required": ["message"],
    },
    "json_schema_2020_12_tool": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
}

RESOURCES: dict[str, t.TextResourceContents | t.BlobResourceContents] = {
    uri: t.TextResourceContents(uri=uri, mime_type="text/plain", text=text)
    for uri, text in {
        "test://static-text": "This is the content of the static text resource.",
        "test://watched-resource": "Watched resource content",
    }.items()
} | {
    "test://static-binary": t.BlobResourceContents(
        uri="test://static-binary", mime_type="image/png", blob=PIXEL
    )
}
TEMPLATE = "test://template/{id}/data"


def _said(*content: Any) -> t.GetPromptResult:
    return t.GetPromptResult(messages=[t.PromptMessage(role="user", content=c) for c in content])


PROMPTS: dict[str, tuple[tuple[str, ...], Callable[[dict[str, str]], t.GetPromptResult]]] = {
    "test_simple_prompt": ((), lambda _a: _said(_text("This is a simple prompt for testing."))),
    "test_prompt_with_arguments": (
        ("arg1", "arg2"),
        lambda a: _said(_text(f"Prompt with arguments: arg1='{a['arg1']}', arg2='{a['arg2']}'")),
    ),
    "test_prompt_with_embedded_resource": (
        ("resourceUri",),
        lambda a: _said(_embedded(a["resourceUri"], "Embedded resource content for testing.")),
    ),
    "test_prompt_with_image": ((), lambda _a: _said(_image(), _text("Please analyze the image above."))),
    "test_input_required_result_prompt": ((), lambda _a: _said(_text("never: it asks first"))),
}


def _prompt_asks() -> t.ElicitRequest:
    return _form("What context should the prompt use?", "context", context={"type": "string"})


def add_fixtures(server: Server[Any], tools: dict[str, Handler]) -> None:
    """Put the fixtures, and ``tools`` of the judge's own, before what the server has."""
    every = TOOLS | tools

    def own(method: str) -> Handler:
        entry = server.get_request_handler(method)
        assert entry is not None, method
        return entry.handler

    own_tools, own_call = own("tools/list"), own("tools/call")
    own_resources, own_read = own("resources/list"), own("resources/read")
    own_templates = own("resources/templates/list")
    own_prompts, own_get, own_complete = own("prompts/list"), own("prompts/get"), own("completion/complete")

    async def list_tools(ctx: Any, params: Any) -> Any:
        found = await own_tools(ctx, params)
        added = [
            t.Tool(name=name, description="A fixture.", input_schema=SCHEMAS.get(name, NO_ARGUMENTS))
            for name in every
        ]
        return found.model_copy(update={"tools": [*added, *found.tools]})

    async def call_tool(ctx: Any, params: Any) -> Any:
        if params.name not in every:
            return await own_call(ctx, params)
        answer = await every[params.name](ctx, params)
        return t.CallToolResult(content=[_text(answer)]) if isinstance(answer, str) else answer

    async def list_resources(ctx: Any, params: Any) -> Any:
        found = await own_resources(ctx, params)
        added = [t.Resource(uri=uri, name=uri[7:], mime_type=c.mime_type) for uri, c in RESOURCES.items()]
        return found.model_copy(update={"resources": [*added, *found.resources]})

    async def list_templates(ctx: Any, params: Any) -> Any:
        found = await own_templates(ctx, params)
        added = t.ResourceTemplate(uri_template=TEMPLATE, name="template", mime_type="application/json")
        return found.model_copy(update={"resource_templates": [added, *found.resource_templates]})

    async def read(ctx: Any, params: Any) -> Any:
        uri = str(params.uri)
        if uri in RESOURCES:
            return t.ReadResourceResult(contents=[RESOURCES[uri]])
        if uri.startswith("test://template/") and uri.endswith("/data"):
            found = uri.split("/")[3]
            value = {"id": found, "templateTest": True, "data": f"Data for ID: {found}"}
            content = t.TextResourceContents(uri=uri, mime_type="application/json", text=json.dumps(value))
            return t.ReadResourceResult(contents=[content])
        return await own_read(ctx, params)

    async def list_prompts(ctx: Any, params: Any) -> Any:
        found = await own_prompts(ctx, params)
        added = [
            t.Prompt(
                name=name,
                description="A fixture.",
                arguments=[t.PromptArgument(name=a, description=a, required=True) for a in arguments],
            )
            for name, (arguments, _) in PROMPTS.items()
        ]
        return found.model_copy(update={"prompts": [*added, *found.prompts]})

    async def get(ctx: Any, params: Any) -> Any:
        if params.name == "test_input_required_result_prompt":
            answer = (params.input_responses or {}).get("user_context")
            if answer is None:
                return t.InputRequiredResult(input_requests={"user_context": _prompt_asks()})
            return _said(_text(f"Use this context: {(answer.content or {}).get('context')}"))
        if params.name in PROMPTS:
            return PROMPTS[params.name][1](params.arguments or {})
        return await own_get(ctx, params)

    async def complete(ctx: Any, params: Any) -> Any:
        if getattr(params.ref, "name", None) in PROMPTS:
            return t.CompleteResult(completion=t.Completion(values=["paris", "park"], total=2))
        return await own_complete(ctx, params)

    async def nothing(_ctx: Any, _params: Any) -> Any:
        return t.EmptyResult()

    page = t.PaginatedRequestParams
    server.add_request_handler("tools/list", page, list_tools)
    server.add_request_handler("tools/call", t.CallToolRequestParams, call_tool)
    server.add_request_handler("resources/list", page, list_resources)
    server.add_request_handler("resources/templates/list", page, list_templates)
    server.add_request_handler("resources/read", t.ReadResourceRequestParams, read)
    server.add_request_handler("prompts/list", page, list_prompts)
    server.add_request_handler("prompts/get", t.GetPromptRequestParams, get)
    server.add_request_handler("completion/complete", t.CompleteRequestParams, complete)
    server.add_request_handler("logging/setLevel", t.SetLevelRequestParams, nothing)
    server.add_request_handler("resources/subscribe", t.SubscribeRequestParams, nothing)
    server.add_request_handler("resources/unsubscribe", t.UnsubscribeRequestParams, nothing)
