"""A provider on 127.0.0.1 that speaks the Messages API and the Responses API, with a story for a model.

It is as strict as the providers: every call must be answered, once and in the next turn, strict schemas must
be of the documented part of JSON Schema, pictures must be pictures. What it would refuse is an assertion.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jsonschema
from PIL import Image

PREFIX = "mcp__tintype__"


@dataclass(frozen=True)
class Result:
    """An answer to a call, as the model sees it."""

    value: Any
    pictures: tuple[tuple[int, int], ...] = ()
    """Their sizes."""
    is_error: bool = False


@dataclass(frozen=True)
class Call:
    """What the model wants."""

    tool: str
    arguments: dict[str, Any]


Story = Callable[[list[list[Result]]], "list[Call] | str"]
"""What the model does after the answers of each turn: further calls, or its last word."""


@dataclass
class Stub:
    """A running provider."""

    url: str = ""
    story: Story = lambda _turns: "nothing to do"
    requests: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tools(self, number: int = 0) -> dict[str, dict[str, Any]]:
        """The tools of a request by name."""
        return {tool["name"]: tool for tool in self.requests[number]["tools"]}


# ----------------------------------------------------------------------------------------------- messages


_TOOL_KEYS = {"type", "name", "description", "input_schema", "strict", "cache_control", "defer_loading"}


def _messages(stub: Stub, body: dict[str, Any]) -> dict[str, Any]:
    tools = {tool["name"]: tool for tool in body.get("tools", []) if tool.get("type", "custom") == "custom"}
    for tool in tools.values():
        assert set(tool) <= _TOOL_KEYS, set(tool)
        jsonschema.Draft202012Validator.check_schema(tool["input_schema"])
        if tool.get("strict"):
            strict_for_anthropic(tool["input_schema"])
    turns, open_calls = [], []
    for message in body["messages"]:
        content = message["content"]
        blocks = [] if isinstance(content, str) else content
        if message["role"] == "assistant":
            assert not open_calls, f"calls without an answer: {open_calls}"
            open_calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        elif message["role"] == "user":
            answers = [block for block in blocks if block["type"] == "tool_result"]
            assert sorted(open_calls) == sorted(a["tool_use_id"] for a in answers), (open_calls, answers)
            if open_calls:
                by_id = {a["tool_use_id"]: a for a in answers}
                turns.append([_anthropic_result(by_id[call]) for call in open_calls])
            open_calls = []
    assert not open_calls, f"calls without an answer: {open_calls}"
    wanted = stub.story(turns)
    if isinstance(wanted, str):
        return _message(stub, body, [{"type": "text", "text": wanted}], "end_turn")
    blocks = []
    for call in wanted:
        name = call.tool if call.tool in tools else PREFIX + call.tool
        assert name in tools, f"the model was not shown {call.tool}"
        if tools[name].get("strict"):
            jsonschema.validate(call.arguments, tools[name]["input_schema"])
        blocks.append(
            {"type": "tool_use", "id": f"toolu_{next(stub.ids):024}", "name": name, "input": call.arguments}
        )
    return _message(stub, body, blocks, "tool_use")


def _anthropic_result(block: dict[str, Any]) -> Result:
    content = block.get("content", [])
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts, pictures = [], []
    for part in parts:
        if part["type"] == "text":
            texts.append(part["text"])
        else:
            assert part["type"] == "image", part["type"]
            source = part["source"]
            assert source["type"] == "base64"
            pictures.append(_size(base64.b64decode(source["data"]), source["media_type"]))
    return Result(_parsed("".join(texts)), tuple(pictures), bool(block.get("is_error")))


def _message(stub: Stub, body: dict[str, Any], blocks: list[dict[str, Any]], stop: str) -> dict[str, Any]:
    return {
        "id": f"msg_{next(stub.ids):08}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _as_events(message: dict[str, Any]) -> str:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    ]
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            empty = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": 1}})
    events.append({"type": "message_stop"})
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


# ---------------------------------------------------------------------------------------------- responses


def _responses(stub: Stub, body: dict[str, Any]) -> dict[str, Any]:
    tools = {tool["name"]: tool for tool in body.get("tools", [])}
    for tool in tools.values():
        assert tool["type"] == "function"
        jsonschema.Draft202012Validator.check_schema(tool["parameters"])
        if tool["strict"]:
            strict_for_openai(tool["parameters"])
    items = [{"type": "message", **item} for item in body["input"]]
    calls = [item for item in items if item["type"] == "function_call"]
    answers = {item["call_id"]: item for item in items if item["type"] == "function_call_output"}
    assert sorted(call["call_id"] for call in calls) == sorted(answers), "a call without an answer, or two"
    turns: list[list[Result]] = []
    for number, item in enumerate(items):
        if item["type"] == "function_call":
            if number == 0 or items[number - 1]["type"] != "function_call":
                turns.append([])
            turns[-1].append(_openai_result(answers[item["call_id"]]))
    wanted = stub.story(turns)
    output: list[dict[str, Any]] = []
    if isinstance(wanted, str):
        text = {"type": "output_text", "text": wanted, "annotations": [], "logprobs": []}
        output.append(
            {
                "type": "message",
                "id": f"msg_{next(stub.ids):08}",
                "role": "assistant",
                "status": "completed",
                "content": [text],
            }
        )
    else:
        for call in wanted:
            arguments = call.arguments
            assert call.tool in tools, f"the model was not shown {call.tool}"
            if tools[call.tool]["strict"]:
                schema = tools[call.tool]["parameters"]
                arguments = {name: arguments.get(name) for name in schema["properties"]}
                jsonschema.validate(arguments, schema)
            output.append(
                {
                    "type": "function_call",
                    "id": f"fc_{next(stub.ids):08}",
                    "call_id": f"call_{next(stub.ids):024}",
                    "name": call.tool,
                    "arguments": json.dumps(arguments),
                    "status": "completed",
                }
            )
    return {
        "id": f"resp_{next(stub.ids):08}",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": body["model"],
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 1,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 1,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 2,
        },
    }


def _openai_result(item: dict[str, Any]) -> Result:
    output = item["output"]
    parts = [{"type": "input_text", "text": output}] if isinstance(output, str) else output
    texts, pictures = [], []
    for part in parts:
        if part["type"] == "input_text":
            texts.append(part["text"])
        else:
            assert part["type"] == "input_image", part["type"]
            head, data = part["image_url"].split(",", 1)
            assert head.endswith(";base64")
            mime_type = head.removeprefix("data:").removesuffix(";base64")
            pictures.append(_size(base64.b64decode(data), mime_type))
    value = _parsed("".join(texts))
    return Result(value, tuple(pictures), isinstance(value, dict) and set(value) == {"error"})


# ------------------------------------------------------------------------------------------- strict schemas

_OPENAI = {
    *("type", "enum", "const", "description", "anyOf", "properties", "required", "additionalProperties"),
    *("items", "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("multipleOf", "pattern", "format"),
}
_ANTHROPIC = {
    *("type", "enum", "const", "description", "anyOf", "properties", "required", "additionalProperties"),
    *("items", "minItems", "format"),
}


def strict_for_openai(schema: dict[str, Any]) -> None:
    """What the Responses API demands of a strict schema."""
    assert schema["type"] == "object"
    for node, depth in _nodes(schema):
        assert set(node) <= _OPENAI, set(node) - _OPENAI
        assert depth <= 10
        if "properties" in node or node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])


def strict_for_anthropic(schema: dict[str, Any]) -> None:
    """What the Messages API demands of a strict schema."""
    assert schema["type"] == "object"
    for node, _ in _nodes(schema):
        assert set(node) <= _ANTHROPIC, set(node) - _ANTHROPIC
        assert node.get("minItems", 0) in (0, 1)
        if "properties" in node or node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert set(node["required"]) <= set(node["properties"])


def _nodes(schema: dict[str, Any], depth: int = 1) -> Iterator[tuple[dict[str, Any], int]]:
    yield schema, depth
    for inner in [*schema.get("properties", {}).values(), *filter(None, [schema.get("items")])]:
        yield from _nodes(inner, depth + 1)
    for arm in schema.get("anyOf", []):
        yield from _nodes(arm, depth)


# --------------------------------------------------------------------------------------------------- server


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _size(data: bytes, mime_type: str) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        assert Image.MIME[image.format or ""] == mime_type
        return image.size


@contextmanager
def open_stub() -> Iterator[Stub]:
    """Run it in a thread; what went against the providers' rules is raised at the end."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_arguments: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = {"/v1/messages": _messages, "/v1/responses": _responses}.get(self.path.split("?")[0])
            if answer is None:
                self._send(404, "{}", "application/json")
                return
            with stub.lock:
                stub.requests.append(body)
                try:
                    reply = answer(stub, body)
                except Exception as error:
                    stub.problems.append(f"{type(error).__name__}: {error}")
                    shape = {"type": "invalid_request_error", "message": str(error)[:2000]}
                    self._send(400, json.dumps({"type": "error", "error": shape}), "application/json")
                    return
            if body.get("stream"):
                assert "content" in reply, "only the Messages API streams here"
                self._send(200, _as_events(reply), "text/event-stream")
            else:
                self._send(200, json.dumps(reply), "application/json")

        def _send(self, status: int, text: str, kind: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
    assert not stub.problems, stub.problems
