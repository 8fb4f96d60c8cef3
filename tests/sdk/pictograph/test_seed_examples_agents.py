"""The seed documentation's examples of agents: the toolkit; a model's part is played by the test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("onnx")

from support import agents
from support.sdk import PLACE, Sdk
from support.seed_models import hurried, open_models_sdk, scenes

TOOLS = 28
FROM_ENVIRONMENT = """
import os
from unittest.mock import patch
from pictograph.agents import create_toolkit
with patch.dict(os.environ, {"PICTOGRAPH_API_KEY": key, "PICTOGRAPH_BASE_URL": url}):
    toolkit = create_toolkit()
"""


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    with open_models_sdk(tmp_path_factory.mktemp("seed")) as opened:
        yield opened


def run(sdk: Sdk, code: str, **values: Any) -> Any:
    """With a toolkit of the environment."""
    return sdk.run(hurried(FROM_ENVIRONMENT + code), key=sdk.key, url=sdk.server.url, **values)


def test_a_toolkit_from_the_environment(sdk: Sdk) -> None:
    found = run(sdk, 'return toolkit.dispatch("list_datasets", {})')
    assert "my-dataset" in [each["name"] for each in found["datasets"]]


def test_tools_for_the_model_providers(sdk: Sdk) -> None:
    code = """
from pictograph.agents import for_anthropic_messages, for_openai_responses
claude_tools = for_anthropic_messages(toolkit)
openai_tools = for_openai_responses(toolkit)
result = toolkit.dispatch(name="list_datasets", args={"limit": 10})
return [[t["name"] for t in claude_tools], [t["name"] for t in openai_tools], result["count"]]
"""
    claude, openai, count = run(sdk, code)
    assert (len(claude), claude) == (TOOLS, openai)
    assert 0 < count <= 10


def test_a_conversation_with_claude(sdk: Sdk, tmp_path: Path) -> None:
    """The model's part is a script: two tools, then a text."""
    code = """
from types import SimpleNamespace as Told
from pictograph.agents import for_anthropic_messages
tools = for_anthropic_messages(toolkit)
turns = [
    ("tool_use", [Told(type="tool_use", id=str(n), name=name, input=args)])
    for n, (name, args) in enumerate(asked)
] + [("end_turn", [Told(type="text", text="Done.")])]
seen = []
def create(*, model, max_tokens, tools, messages, tool_choice=None):
    seen.append(len(tools))
    stop_reason, content = turns[len(seen) - 1]
    return Told(stop_reason=stop_reason, content=content)
messages = [
    {"role": "user", "content": "Upload ./photos to 'demo' and find the red cars."},
]
response = create(
    model="claude-opus-4",
    max_tokens=4096,
    tools=tools,
    tool_choice={"type": "auto"},
    messages=messages,
)
while response.stop_reason == "tool_use":
    tool_uses = [b for b in response.content if b.type == "tool_use"]
    tool_results = [
        {
            "type": "tool_result",
            "tool_use_id": tu.id,
            "content": str(toolkit.dispatch(tu.name, tu.input)),
        }
        for tu in tool_uses
    ]
    messages.append({"role": "assistant", "content": response.content})
    messages.append({"role": "user", "content": tool_results})
    response = create(
        model="claude-opus-4",
        max_tokens=4096,
        tools=tools,
        messages=messages,
    )
results = [m["content"][0]["content"] for m in messages[2::2]]
return [seen, results, response.content[0].text]
"""
    upload = {"dataset_name": "demo", "folder": str(scenes(tmp_path / "photos", 2))}
    classes = [{"name": "red car", "output_type": "bbox"}]
    annotate = {"dataset_name": "demo", "classes": classes}
    asked = [("upload_dataset_from_folder", upload), ("auto_annotate_dataset", annotate)]
    seen, (uploaded, annotated), text = run(sdk, code, asked=asked)
    assert (seen, text) == ([TOOLS] * 3, "Done.")
    assert "'images_uploaded': 2" in uploaded
    assert "'images_processed': 4" in annotated


def test_a_conversation_with_openai(sdk: Sdk) -> None:
    """The model's part is a script: two calls, then a text."""
    code = """
import json
from types import SimpleNamespace as Told
from pictograph.agents import for_openai_responses
tools = for_openai_responses(toolkit)
turns = [
    [Told(type="function_call", call_id=str(n), name=name, arguments=json.dumps(args))]
    for n, (name, args) in enumerate(asked)
]
def create(*, model, input, tools):
    output = turns.pop(0) if turns else []
    return Told(output=output, output_text="Told.")
input_messages = [
    {"role": "user", "content": "Show my Pictograph credit balance and recent training runs"},
]
while True:
    response = create(
        model="gpt-5",
        input=input_messages,
        tools=tools,
    )
    function_calls = [o for o in response.output if o.type == "function_call"]
    if not function_calls:
        break
    for call in function_calls:
        result = toolkit.dispatch(call.name, json.loads(call.arguments))
        input_messages.append(call)
        input_messages.append({
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": json.dumps(result, default=str),
        })
outputs = [json.loads(m["output"]) for m in input_messages if isinstance(m, dict) and "output" in m]
return [outputs, response.output_text]
"""
    (balance, models), text = run(
        sdk, code, asked=[("get_credit_balance", {}), ("list_models", {"limit": 5})]
    )
    assert balance["credits_monthly_allowance"] == 1000
    assert (models["count"], text) == (5, "Told.")


AMONG_SDKS = f"""
import asyncio, json, os, sys
sys.path.append({str(PLACE)!r} + f"/lib/python{{sys.version_info[0]}}.{{sys.version_info[1]}}/site-packages")
from claude_agent_sdk import ClaudeSDKClient, ClaudeAgentOptions
from pictograph.agents import create_toolkit, for_claude_agent_sdk, for_openai_agents
toolkit = create_toolkit()
agent_tools = claude_sdk_tools = for_claude_agent_sdk(toolkit)
client = ClaudeSDKClient(
    options=ClaudeAgentOptions(
        system_prompt="You drive Pictograph for the user. Confirm destructive operations.",
        allowed_tools=[t.name for t in agent_tools],
    ),
)
(tool,) = [t for t in agent_tools if t.name == "list_datasets"]
answer = asyncio.run(tool.handler({{"limit": 10}}))
try:
    for_openai_agents(toolkit)
    problem = None
except TypeError as error:
    problem = str(error)
names = client.options.allowed_tools
print(json.dumps([names, json.loads(answer["content"][0]["text"]), problem]))
"""


def test_tools_for_the_agent_sdks(sdk: Sdk, tmp_path: Path) -> None:
    """Claude's are called as its SDK calls them; those of openai-agents the published SDK cannot make."""
    env = {"PICTOGRAPH_API_KEY": sdk.key, "PICTOGRAPH_BASE_URL": sdk.server.url}
    done = agents.run_script(AMONG_SDKS, home=tmp_path, **env)
    assert done.returncode == 0, done.stderr
    names, found, problem = json.loads(done.stdout)
    assert (len(names), found["count"]) == (TOOLS, 10)
    assert "params_json_schema" in problem


def test_the_tools_address(sdk: Sdk) -> None:
    """All tools of the toolkit, and ours beside them; a tool is called with what its schema asks for."""
    headers = {"X-API-Key": sdk.key}
    schema = httpx.get(f"{sdk.server.url}/api/v1/developer/tools.json", headers=headers).json()
    specs = {spec["name"]: spec for spec in schema["tools"]}
    names = sdk.run("return [tool.name for tool in pictograph.REGISTRY]")
    assert len(names) == TOOLS
    for name in names:
        assert specs[name]["description"]
        assert specs[name]["input_schema"]["type"] == "object"
    assert httpx.get(f"{sdk.server.url}/api/v1/developer/tools.json").status_code == 401


def test_a_tool_by_hand(sdk: Sdk) -> None:
    """Without LangChain's decorator around it, which adds nothing to the call."""
    code = """
    def list_datasets(limit: int = 100) -> list[dict]:
        return [d.model_dump(mode="json") for d in client.datasets.list(limit=limit)]
    description = "List Pictograph datasets in your org."
    return list_datasets(limit=3)
    """
    assert len(sdk.run(code)) == 3


def test_the_toolkits_schema(sdk: Sdk) -> None:
    code = """
    from unittest.mock import MagicMock
    from pictograph.agents import Toolkit
    toolkit = Toolkit(MagicMock())
    schema = toolkit.as_json_schema()
    anthropic_tools = toolkit.as_anthropic_tools()
    openai_tools = toolkit.as_openai_tools()
    return [schema, anthropic_tools, openai_tools]
    """
    schema, anthropic, openai = sdk.run(code)
    assert [len(tools) for tools in (schema, anthropic, openai)] == [TOOLS] * 3
    served = httpx.get(f"{sdk.server.url}/api/v1/developer/tools.json", headers={"X-API-Key": sdk.key}).json()
    roles = {spec["name"]: spec["required_role"] for spec in served["tools"]}
    assert {tool["name"]: tool["required_role"] for tool in schema}.items() <= roles.items()
