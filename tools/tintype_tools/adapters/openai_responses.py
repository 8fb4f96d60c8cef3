"""Tools for OpenAI's Responses API, and the items that answer its calls. Needs no package of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from tintype_tools.adapters.answers import Answer, Answers, data_url, part
from tintype_tools.adapters.strict import OPENAI, strict_schema
from tintype_tools.snapshot import as_openai_tool
from tintype_tools.toolkit import Toolkit


class OpenAITools(list[dict[str, Any]]):
    """The ``tools=`` of ``responses.create``, and the answers to the calls in its output."""

    def __init__(self, tools: list[dict[str, Any]], answers: Answers, reads: frozenset[str]) -> None:
        super().__init__(tools)
        self._answers = answers
        self._reads = reads

    def outputs(self, response: Any) -> list[dict[str, Any]]:
        """A ``function_call_output`` for each ``function_call`` of a response, or of its output."""
        return [self.output(item) for item in _calls(response)]

    async def aoutputs(self, response: Any) -> list[dict[str, Any]]:
        """As ``outputs``, without blocking; calls that only read run beside each other."""
        calls = _calls(response)
        if all(part(item, "name") in self._reads for item in calls):
            return list(await asyncio.gather(*(self.aoutput(item) for item in calls)))
        return [await self.aoutput(item) for item in calls]

    def output(self, item: Any) -> dict[str, Any]:
        """The ``function_call_output`` for one ``function_call``."""
        call_id = part(item, "call_id")
        return _output(call_id, self._answers.answer(part(item, "name"), part(item, "arguments"), call_id))

    async def aoutput(self, item: Any) -> dict[str, Any]:
        """As ``output``, without blocking."""
        call_id = part(item, "call_id")
        answer = await self._answers.aanswer(part(item, "name"), part(item, "arguments"), call_id)
        return _output(call_id, answer)

    def arguments(self, item: Any) -> dict[str, Any]:
        """What a ``function_call`` asks for, as ``toolkit.dispatch`` takes it: strict mode is undone.

        Raises ``InvalidInput`` when it is no JSON object.
        """
        return self._answers.arguments(part(item, "name"), part(item, "arguments"))


def for_openai_responses(toolkit: Toolkit, *, strict: bool = True) -> OpenAITools:
    """The toolkit's tools for ``client.responses.create(tools=…)``; the API enforces strict schemas."""
    shown = toolkit.tools()
    tools = []
    for tool in shown:
        made = {**as_openai_tool(tool), "strict": strict}
        if strict:
            made["parameters"] = strict_schema(tool["input_schema"], OPENAI)
        tools.append(made)
    schemas = {tool["name"]: tool["input_schema"] for tool in shown} if strict else {}
    reads = frozenset(tool["name"] for tool in shown if tool["effect"] == "read")
    return OpenAITools(tools, Answers(toolkit, schemas), reads)


def _calls(response: Any) -> list[Any]:
    output = response if isinstance(response, list) else part(response, "output")
    return [item for item in output or [] if part(item, "type") == "function_call"]


def _output(call_id: Any, answer: Answer) -> dict[str, Any]:
    output: str | list[dict[str, Any]] = answer.text
    if answer.pictures:
        output = [
            {"type": "input_text", "text": answer.text},
            *({"type": "input_image", "image_url": data_url(p), "detail": "auto"} for p in answer.pictures),
        ]
    return {"type": "function_call_output", "call_id": call_id, "output": output}
