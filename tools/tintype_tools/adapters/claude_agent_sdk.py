"""Tools for the Claude Agent SDK (package ``claude-agent-sdk``): an MCP server in the agent's own process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tintype_tools.adapters.answers import Answers, data_of, missing
from tintype_tools.snapshot import MAX_RESULT_CHARACTERS
from tintype_tools.toolkit import Toolkit

if TYPE_CHECKING:
    from claude_agent_sdk import SdkMcpTool

SERVER = "tintype"
"""The name to mount the server under; Claude sees its tools as ``mcp__tintype__<tool>``."""


class ClaudeAgentTools(list["SdkMcpTool[Any]"]):
    """The tools, and what ``ClaudeAgentOptions`` wants to know of them."""

    def __init__(self, tools: list[SdkMcpTool[Any]], reads: frozenset[str], version: str) -> None:
        super().__init__(tools)
        self._reads = reads
        self._version = version

    @property
    def servers(self) -> dict[str, Any]:
        """For ``mcp_servers=``."""
        from claude_agent_sdk import create_sdk_mcp_server

        return {SERVER: create_sdk_mcp_server(SERVER, self._version, list(self))}

    @property
    def names(self) -> list[str]:
        """For ``allowed_tools=``: all of them. Guards and confirmations hold as ever."""
        return [f"mcp__{SERVER}__{tool.name}" for tool in self]

    @property
    def reading_names(self) -> list[str]:
        """For ``allowed_tools=``: those that only read; for the rest Claude Code asks."""
        return [f"mcp__{SERVER}__{tool.name}" for tool in self if tool.name in self._reads]


def for_claude_agent_sdk(toolkit: Toolkit) -> ClaudeAgentTools:
    """The toolkit's tools for ``ClaudeAgentOptions(mcp_servers=tools.servers, allowed_tools=tools.names)``.

    Raises ``Unavailable`` when ``claude-agent-sdk`` is not installed.
    """
    try:
        from claude_agent_sdk import SdkMcpTool, ToolAnnotations
    except ImportError as error:
        if error.name != "claude_agent_sdk":
            raise
        raise missing("claude-agent-sdk") from None
    from importlib.metadata import version

    answers = Answers(toolkit)
    shown = toolkit.tools()
    tools = [
        SdkMcpTool(
            name=tool["name"],
            description=tool["description"],
            input_schema=tool["input_schema"],
            handler=_handler(answers, tool["name"]),
            annotations=ToolAnnotations(
                title=tool["title"],
                readOnlyHint=tool["effect"] == "read",
                destructiveHint=tool["effect"] == "destroy",
                idempotentHint=tool["idempotent"],
                openWorldHint=tool.get("open_world", False),
                maxResultSizeChars=MAX_RESULT_CHARACTERS,
            ),
        )
        for tool in shown
    ]
    reads = frozenset(tool["name"] for tool in shown if tool["effect"] == "read")
    return ClaudeAgentTools(tools, reads, version("tintype"))


def _handler(answers: Answers, name: str) -> Any:
    async def handle(arguments: dict[str, Any]) -> dict[str, Any]:
        answer = await answers.aanswer(name, arguments)
        content: list[dict[str, Any]] = [{"type": "text", "text": answer.text}]
        content += [
            {"type": "image", "data": data_of(picture), "mimeType": picture.mime_type}
            for picture in answer.pictures
        ]
        return {"content": content, "is_error": answer.is_error}

    return handle
