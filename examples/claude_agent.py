"""The Claude Agent SDK. Run: python examples/claude_agent.py 'What is in my datasets?'"""

import asyncio
import os
import sys

from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, query

from tintype_server import create_toolkit
from tintype_studio.errors import ConfirmationRequired
from tintype_tools.adapters import for_claude_agent_sdk


async def ask(question: ConfirmationRequired) -> bool:
    """A person's word on a deletion, or on a call that costs much."""
    said = await asyncio.to_thread(input, f"{question.message} Go on? [y/N] ")
    return said.strip().lower() == "y"


async def main(task: str) -> str:
    # TINTYPE_URL: a server elsewhere; without it, the workspace on this machine.
    async with create_toolkit(base_url=os.environ.get("TINTYPE_URL"), confirm=ask) as toolkit:
        tools = for_claude_agent_sdk(toolkit)
        options = ClaudeAgentOptions(
            system_prompt="You look after image datasets. Say what a call costs before you make it.",
            mcp_servers=tools.servers,
            allowed_tools=tools.names,
            tools=[],  # nothing of Claude Code's own: no shell, no files
            setting_sources=[],
        )
        answer = ""
        async for message in query(prompt=task, options=options):
            if isinstance(message, ResultMessage):
                answer = message.result or ""
        return answer


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1])))
