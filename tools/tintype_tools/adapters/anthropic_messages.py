"""Tools for Anthropic's Messages API, and the blocks that answer its calls. Needs no package of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from tintype_studio.errors import InvalidInput
from tintype_tools.adapters.answers import Answer, Answers, data_of, part
from tintype_tools.adapters.strict import ANTHROPIC, ANTHROPIC_LIMITS, Load, Schema, load_of, strict_schema
from tintype_tools.snapshot import as_anthropic_tool
from tintype_tools.toolkit import Toolkit


class AnthropicTools(list[dict[str, Any]]):
    """The ``tools=`` of ``messages.create``, and the answers to the calls in its reply."""

    def __init__(self, tools: list[dict[str, Any]], answers: Answers, reads: frozenset[str]) -> None:
        super().__init__(tools)
        self._answers = answers
        self._reads = reads

    def results(self, message: Any) -> list[dict[str, Any]]:
        """A ``tool_result`` for each ``tool_use`` of a message (or of its content), in its order."""
        return [self.result(block) for block in _calls(message)]

    async def aresults(self, message: Any) -> list[dict[str, Any]]:
        """As ``results``, without blocking; calls that only read run beside each other."""
        calls = _calls(message)
        if all(part(block, "name") in self._reads for block in calls):
            return list(await asyncio.gather(*(self.aresult(block) for block in calls)))
        return [await self.aresult(block) for block in calls]

    def result(self, block: Any) -> dict[str, Any]:
        """The ``tool_result`` for one ``tool_use``."""
        call_id = part(block, "id")
        return _result(call_id, self._answers.answer(part(block, "name"), part(block, "input"), call_id))

    async def aresult(self, block: Any) -> dict[str, Any]:
        """As ``result``, without blocking."""
        call_id = part(block, "id")
        answer = await self._answers.aanswer(part(block, "name"), part(block, "input"), call_id)
        return _result(call_id, answer)


def for_anthropic_messages(
    toolkit: Toolkit, *, strict: bool | Collection[str] = False, cache: bool = False
) -> AnthropicTools:
    """The toolkit's tools for ``client.messages.create(tools=…)``.

    ``strict=True`` has the API enforce the schemas of as many tools as one request may hold (those with the
    fewest optional properties first); names make exactly these strict, and raise ``InvalidInput`` when they
    are unknown or too many. Strict tools delay the first request while their grammar is compiled. ``cache``
    marks the end of the list for prompt caching.
    """
    shown = toolkit.tools()
    chosen = _chosen(shown, strict)
    tools = []
    for tool in shown:
        made = as_anthropic_tool(tool)
        if tool["name"] in chosen:
            made |= {"input_schema": strict_schema(tool["input_schema"], ANTHROPIC), "strict": True}
        tools.append(made)
    if cache and tools:
        tools[-1]["cache_control"] = {"type": "ephemeral"}
    reads = frozenset(tool["name"] for tool in shown if tool["effect"] == "read")
    return AnthropicTools(tools, Answers(toolkit, chosen), reads)


def _chosen(shown: list[dict[str, Any]], strict: bool | Collection[str]) -> dict[str, Schema]:
    schemas: dict[str, Schema] = {tool["name"]: tool["input_schema"] for tool in shown}
    loads = {name: load_of(strict_schema(schema, ANTHROPIC)) for name, schema in schemas.items()}
    if not isinstance(strict, bool):
        unknown = sorted(set(strict) - set(schemas))
        total = sum((loads[name] for name in set(strict) - set(unknown)), Load())
        if unknown or not total.within(ANTHROPIC_LIMITS):
            raise InvalidInput(
                f"No such tools: {', '.join(unknown)}."
                if unknown
                else f"{total.tools} strict tools with {total.optional} optional properties and "
                f"{total.unions} unions are more than a request may hold.",
                code="invalid_strict",
                fix=f"Name at most {ANTHROPIC_LIMITS.tools} tools with {ANTHROPIC_LIMITS.optional} optional "
                "properties in all, or say strict=True for as many as fit.",
            )
        return {name: schemas[name] for name in schemas if name in strict}
    chosen, total = {}, Load()
    for name in sorted(schemas, key=lambda name: (loads[name].optional + loads[name].unions, name)):
        if strict and (total + loads[name]).within(ANTHROPIC_LIMITS):
            chosen[name] = schemas[name]
            total += loads[name]
    return chosen


def _calls(message: Any) -> list[Any]:
    content = message if isinstance(message, list) else part(message, "content")
    return [block for block in content or [] if part(block, "type") == "tool_use"]


def _result(call_id: Any, answer: Answer) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": answer.text}]
    content += [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": picture.mime_type, "data": data_of(picture)},
        }
        for picture in answer.pictures
    ]
    result = {"type": "tool_result", "tool_use_id": call_id, "content": content}
    return {**result, "is_error": True} if answer.is_error else result
