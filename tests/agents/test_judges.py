"""The SDKs' own converters find nothing to do in our strict schemas; their types take what we hand over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.agents import run_script

pytestmark = pytest.mark.sdk

SCHEMAS = """
import copy, json
from agents.strict_schema import ensure_strict_json_schema
from anthropic import transform_schema
from openai.lib._pydantic import _ensure_strict_json_schema
from tintype_tools.adapters.strict import ANTHROPIC, OPENAI, strict_schema
from tintype_tools.snapshot import load_snapshot

changed = []
for tool in load_snapshot()["tools"]:
    ours = strict_schema(tool["input_schema"], OPENAI)
    first, second = copy.deepcopy(ours), copy.deepcopy(ours)
    if ensure_strict_json_schema(first) != ours:
        changed.append(("agents", tool["name"]))
    if _ensure_strict_json_schema(second, path=(), root=second) != ours:
        changed.append(("openai", tool["name"]))
    ours = strict_schema(tool["input_schema"], ANTHROPIC)
    if transform_schema(copy.deepcopy(ours)) != ours:
        changed.append(("anthropic", tool["name"]))
print(json.dumps({"tools": len(load_snapshot()["tools"]), "changed": changed}))
"""

TYPES = """
import json, os
from anthropic.types import MessageParam, ToolParam
from openai.types.responses import FunctionToolParam, ResponseInputItemParam
from pydantic import ConfigDict, TypeAdapter
from tintype_server import create_toolkit
from tintype_tools.adapters import for_anthropic_messages, for_openai_responses

image = os.environ["IMAGE"]
with create_toolkit() as toolkit:
    calls = [("preview_image", {"image_uuid": image}), ("get_dataset", {"name": "nowhere"})]
    tools = for_anthropic_messages(toolkit, strict=True, cache=True)
    use = [{"type": "tool_use", "id": f"toolu_{n}", "name": c, "input": a} for n, (c, a) in enumerate(calls)]
    message = {"role": "user", "content": tools.results(use)}
    TypeAdapter(list[ToolParam]).validate_python(list(tools))
    TypeAdapter(MessageParam).validate_python(message)
    kinds = [[b["type"] for b in r["content"]] for r in message["content"]]
    tools = for_openai_responses(toolkit)
    items = [
        {"type": "function_call", "call_id": f"call_{n}", "name": c, "arguments": json.dumps(a)}
        for n, (c, a) in enumerate(calls)
    ]
    TypeAdapter(list[FunctionToolParam]).validate_python(list(tools))
    outputs = tools.outputs(items)
    TypeAdapter(list[ResponseInputItemParam]).validate_python(outputs)
    kinds += [[p["type"] for p in o["output"]] if isinstance(o["output"], list) else "text" for o in outputs]
print(json.dumps(kinds))
"""


def test_the_converters_of_the_sdks_change_nothing(tmp_path: Path) -> None:
    run = run_script(SCHEMAS, home=tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    said = json.loads(run.stdout)
    assert said["tools"] > 70
    assert said["changed"] == []


def test_the_types_of_the_sdks_take_tools_and_answers(place: Any, tmp_path: Path) -> None:
    run = run_script(TYPES, home=tmp_path, TINTYPE_HOME=str(place.home), IMAGE=place.image)
    assert run.returncode == 0, run.stderr[-2000:]
    assert json.loads(run.stdout) == [["text", "image"], ["text"], ["input_text", "input_image"], "text"]
