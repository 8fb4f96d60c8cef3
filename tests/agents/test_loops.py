"""The examples, run with the real SDKs against a provider of ours: whole loops, here and over the wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.agent_stub import Call, Result, Stub
from support.agents import EXAMPLES, installed, run_script

pytestmark = pytest.mark.sdk

LOOPS = [
    ("anthropic_messages", "remote"),
    ("openai_responses", "remote"),
    ("openai_agents", "remote"),
    ("claude_agent", "remote"),
    ("anthropic_messages", "here"),
    ("claude_agent", "here"),
]
FLAVOURS = """
import asyncio, os
import anthropic, openai
from tintype_server import create_toolkit
from tintype_tools.adapters import for_anthropic_messages, for_openai_responses

async def claude(toolkit):
    client, tools = anthropic.AsyncAnthropic(), for_anthropic_messages(toolkit, strict=True)
    messages = [{"role": "user", "content": "?"}]
    while True:
        async with client.messages.stream(
            model="claude-opus-5-5", max_tokens=99, tools=tools, messages=messages
        ) as stream:
            reply = await stream.get_final_message()
        messages.append({"role": "assistant", "content": reply.content})
        if reply.stop_reason != "tool_use":
            return reply.content[0].text
        messages.append({"role": "user", "content": await tools.aresults(reply)})

def gpt(toolkit):
    client, tools = openai.OpenAI(), for_openai_responses(toolkit)
    items = [{"role": "user", "content": "?"}]
    while True:
        response = client.responses.create(model="gpt-5.5", tools=tools, input=items)
        items += response.output
        if not (answers := tools.outputs(response)):
            return response.output_text
        items += answers

options = dict(base_url=os.environ["TINTYPE_URL"], toolsets=["datasets", "images", "credits"])
with create_toolkit(**options) as toolkit:
    print(asyncio.run(claude(toolkit)))
    print(gpt(toolkit))
"""
"""Blocking where the example is async and the other way round, streamed, strict, and with nobody to ask."""


@pytest.fixture(scope="module", autouse=True)
def _sdks() -> None:
    installed()


def look_and_delete(turns: list[list[Result]]) -> list[Call] | str:
    """A model that looks around, errs, and wants to throw something away."""
    match len(turns):
        case 0:
            return [Call("list_datasets", {}), Call("get_credit_balance", {})]
        case 1:
            assert "street" in [d["name"] for d in turns[0][0].value["datasets"]]
            assert "balance" in str(turns[0][1].value)
            return [
                Call("get_dataset", {"name": "street", "include_images": True, "images_limit": 5}),
                Call("get_dataset", {"name": "Street"}),
            ]
        case 2:
            found, missed = turns[1]
            assert missed.is_error
            assert missed.value["error"]["code"] == "dataset_not_found"
            assert missed.value["error"]["fix"]
            image = found.value["images"][0]["id"]
            return [Call("preview_image", {"image_uuid": image, "max_side": 128})]
        case 3:
            [shown] = turns[2]
            assert not shown.is_error
            assert shown.pictures == ((128, 96),)
            return [Call("delete_dataset", {"name": "street"})]
        case _:
            [refused] = turns[3]
            assert refused.is_error
            return f"one dataset; {refused.value['error']['code']}"


def env_of(place: Any, provider: Stub, where: str) -> dict[str, str]:
    env = {
        "ANTHROPIC_BASE_URL": provider.url,
        "OPENAI_BASE_URL": f"{provider.url}/v1",
        "TINTYPE_API_KEY": place.key,
        "TINTYPE_HOME": str(place.home),
    }
    return env | ({"TINTYPE_URL": place.url} if where == "remote" else {})


def wider(example: str) -> str:
    """An example that shows its model more than the core tools."""
    text = (EXAMPLES / f"{example}.py").read_text()
    assert text.count("confirm=ask)") == 1
    return text.replace("confirm=ask)", 'confirm=ask, toolsets=["datasets", "images", "credits"])')


@pytest.mark.parametrize(("example", "where"), LOOPS)
def test_a_whole_loop(example: str, where: str, place: Any, provider: Stub, tmp_path: Path) -> None:
    provider.story = look_and_delete
    run = run_script(
        wider(example),
        "What do I have?",
        home=tmp_path,
        answers="n\n",
        **env_of(place, provider, where),
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "Go on? [y/N]" in run.stdout, "nobody was asked"
    assert run.stdout.strip().endswith("one dataset; approval_denied"), run.stdout
    assert len(provider.requests) >= 5


def test_the_other_flavours(place: Any, provider: Stub, tmp_path: Path) -> None:
    provider.story = look_and_delete
    run = run_script(FLAVOURS, home=tmp_path, **env_of(place, provider, "remote"))
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.split("\n")[:2] == ["one dataset; confirmation_required"] * 2
    assert any(tool.get("strict") for tool in provider.tools().values())
    assert provider.requests[0]["stream"]
