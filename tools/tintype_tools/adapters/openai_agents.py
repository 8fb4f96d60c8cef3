"""Tools for the OpenAI Agents SDK (package ``openai-agents``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tintype_tools.adapters.answers import Answers, data_url, missing
from tintype_tools.adapters.strict import OPENAI, strict_schema
from tintype_tools.toolkit import Toolkit

if TYPE_CHECKING:
    from agents import FunctionTool


def for_openai_agents(toolkit: Toolkit, *, strict: bool = True) -> list[FunctionTool]:
    """The toolkit's tools for ``Agent(tools=…)``.

    Raises ``Unavailable`` when ``openai-agents`` is not installed.
    """
    try:
        from agents import FunctionTool
    except ImportError as error:
        if error.name != "agents":
            raise
        raise missing("openai-agents") from None

    shown = toolkit.tools()
    answers = Answers(toolkit, {tool["name"]: tool["input_schema"] for tool in shown} if strict else {})
    return [
        FunctionTool(
            name=tool["name"],
            description=tool["description"],
            params_json_schema=strict_schema(tool["input_schema"], OPENAI)
            if strict
            else tool["input_schema"],
            on_invoke_tool=_invoke(answers, tool["name"]),
            strict_json_schema=strict,
        )
        for tool in shown
    ]


def _invoke(answers: Answers, name: str) -> Any:
    from agents import ToolOutputImage, ToolOutputText

    async def invoke(context: Any, arguments: str) -> Any:
        answer = await answers.aanswer(name, arguments, getattr(context, "tool_call_id", None))
        if not answer.pictures:
            return answer.text
        return [
            ToolOutputText(text=answer.text),
            *(ToolOutputImage(image_url=data_url(picture), detail="auto") for picture in answer.pictures),
        ]

    return invoke
