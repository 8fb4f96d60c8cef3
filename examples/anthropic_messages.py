"""Claude through the Anthropic SDK. Run: python examples/anthropic_messages.py 'What is in my datasets?'"""

import os
import sys

import anthropic

from tintype_server import create_toolkit
from tintype_studio.errors import ConfirmationRequired
from tintype_tools.adapters import for_anthropic_messages


def ask(question: ConfirmationRequired) -> bool:
    """A person's word on a deletion, or on a call that costs much."""
    return input(f"{question.message} Go on? [y/N] ").strip().lower() == "y"


def main(task: str) -> str:
    client = anthropic.Anthropic()
    messages = [{"role": "user", "content": task}]
    # TINTYPE_URL: a server elsewhere; without it, the workspace on this machine.
    with create_toolkit(base_url=os.environ.get("TINTYPE_URL"), confirm=ask) as toolkit:
        tools = for_anthropic_messages(toolkit, cache=True)
        while True:
            reply = client.messages.create(
                model="claude-opus-5-5", max_tokens=4096, tools=tools, messages=messages
            )
            messages.append({"role": "assistant", "content": reply.content})
            if reply.stop_reason != "tool_use":
                return "".join(block.text for block in reply.content if block.type == "text")
            messages.append({"role": "user", "content": tools.results(reply)})


if __name__ == "__main__":
    print(main(sys.argv[1]))
