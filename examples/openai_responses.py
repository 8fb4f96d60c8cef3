"""A model of OpenAI through its SDK. Run: python examples/openai_responses.py 'What is in my datasets?'"""

import asyncio
import os
import sys

import openai

from tintype_server import create_toolkit
from tintype_studio.errors import ConfirmationRequired
from tintype_tools.adapters import for_openai_responses


async def ask(question: ConfirmationRequired) -> bool:
    """A person's word on a deletion, or on a call that costs much."""
    said = await asyncio.to_thread(input, f"{question.message} Go on? [y/N] ")
    return said.strip().lower() == "y"


async def main(task: str) -> str:
    client = openai.AsyncOpenAI()
    items = [{"role": "user", "content": task}]
    # TINTYPE_URL: a server elsewhere; without it, the workspace on this machine.
    async with create_toolkit(base_url=os.environ.get("TINTYPE_URL"), confirm=ask) as toolkit:
        tools = for_openai_responses(toolkit)
        while True:
            response = await client.responses.create(model="gpt-5.5", tools=tools, input=items)
            items += response.output
            answers = await tools.aoutputs(response)
            if not answers:
                return response.output_text
            items += answers


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1])))
