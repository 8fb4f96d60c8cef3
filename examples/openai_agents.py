"""The OpenAI Agents SDK. Run: python examples/openai_agents.py 'What is in my datasets?'"""

import asyncio
import os
import sys

from agents import Agent, Runner

from tintype_server import create_toolkit
from tintype_studio.errors import ConfirmationRequired
from tintype_tools.adapters import for_openai_agents


async def ask(question: ConfirmationRequired) -> bool:
    """A person's word on a deletion, or on a call that costs much."""
    said = await asyncio.to_thread(input, f"{question.message} Go on? [y/N] ")
    return said.strip().lower() == "y"


async def main(task: str) -> str:
    # TINTYPE_URL: a server elsewhere; without it, the workspace on this machine.
    async with create_toolkit(base_url=os.environ.get("TINTYPE_URL"), confirm=ask) as toolkit:
        agent = Agent(
            name="Curator",
            model="gpt-5.5",
            instructions="You look after image datasets. Say what a call costs before you make it.",
            tools=for_openai_agents(toolkit),
        )
        result = await Runner.run(agent, task)
        return result.final_output


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1])))
