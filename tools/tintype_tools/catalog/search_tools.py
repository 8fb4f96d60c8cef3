"""Find tools that are not listed."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.snapshot import open_tools
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec
from tintype_tools.tool_search import rank


class SearchToolsArgs(Args):
    """What it should do."""

    query: Annotated[str, Field(min_length=1, max_length=300, description="What you want done, in words.")]
    limit: Annotated[int, Field(ge=1, le=20, description="Tools to return.")] = 5


class ToolShape(Result):
    """A tool, as call_tool takes it."""

    name: str
    description: str
    toolset: str
    effect: str
    required_role: str
    credit_cost: int
    input_schema: dict[str, Any]


class SearchToolsResult(Result):
    """Tools that may be called with this key, best first; none where no word fits."""

    tools: list[ToolShape]


def handle(args: SearchToolsArgs, call: Call) -> SearchToolsResult:
    """Rank what the key may call."""
    who = call.principal
    tools = {tool["name"]: tool for tool in open_tools(who.role.value, who.toolsets)}
    found = [name for name, _ in rank(args.query, [*tools.values()])][: args.limit]
    return SearchToolsResult(
        tools=[ToolShape(**{key: tools[name][key] for key in ToolShape.model_fields}) for name in found]
    )


TOOL = ToolSpec(
    name="search_tools",
    title="Search tools",
    category=Category.DISCOVERY,
    toolset="discovery",
    description=(
        "Use when no listed tool does what you need: there are many more (exports, video, imports, members, "
        "keys, batch changes). Returns their schemas; run one with call_tool."
    ),
    args=SearchToolsArgs,
    result=SearchToolsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
