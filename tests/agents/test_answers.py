"""What goes back to a model: results, pictures and refusals in each provider's shape, never an exception."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
from functools import partial
from typing import Any

import pytest
from PIL import Image

from tintype_studio import clock
from tintype_studio.errors import NotFound, Unavailable
from tintype_tools.adapters import (
    for_anthropic_messages,
    for_claude_agent_sdk,
    for_openai_agents,
    for_openai_responses,
)
from tintype_tools.call import Outcome, Request
from tintype_tools.local_files import LocalFiles
from tintype_tools.snapshot import load_snapshot
from tintype_tools.toolkit import Toolkit


def use(tool: str, arguments: Any, call_id: str = "toolu_1") -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": tool, "input": arguments}


def function_call(tool: str, arguments: str, call_id: str = "call_1") -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": tool, "arguments": arguments}


def unique() -> str:
    return clock.new_id().replace("-", "")


def test_a_picture_is_an_image_block(toolkit: Toolkit, place: Any) -> None:
    [result] = for_anthropic_messages(toolkit).results(
        {"content": [{"type": "text", "text": "…"}, use("preview_image", {"image_uuid": place.image})]}
    )
    text, image = result["content"]
    assert json.loads(text["text"])["image_uuid"] == place.image
    with Image.open(io.BytesIO(base64.b64decode(image["source"]["data"]))) as picture:
        assert Image.MIME[picture.format or ""] == image["source"]["media_type"]
    assert "is_error" not in result


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("get_dataset", {"name": "nowhere"}, "dataset_not_found"),
        ("get_dataset", {}, "invalid_arguments"),
        ("get_dataset", {"name": 3}, "invalid_arguments"),
        ("get_dataset", {"name": "\ud800"}, None),
        ("get_dataset", {"name": "a", "images_limit": 2**70}, None),
        ("get_datasets", {}, "unknown_tool"),
        ("../healthz", {}, "unknown_tool"),
        ("", {}, "unknown_tool"),
        ("dätaset", {}, "unknown_tool"),
        ("get_dataset", ["street"], "invalid_json"),
        ("get_dataset", None, "invalid_json"),
    ],
)
def test_a_refusal_is_a_result_that_says_what_to_do(
    toolkit: Toolkit, tool: str, arguments: Any, code: str | None
) -> None:
    tools = for_anthropic_messages(toolkit)
    [result] = tools.results([use(tool, arguments)])
    assert asyncio.run(tools.aresults([use(tool, arguments)]))[0]["is_error"] is True
    assert result["is_error"] is True
    error = json.loads(result["content"][0]["text"])["error"]
    assert error["fix"]
    assert code is None or error["code"] == code
    assert error["code"] != "internal"


@pytest.mark.parametrize("text", ["", "{}", '{"limit": null, "offset": null}'])
def test_arguments_of_openai_are_read(toolkit: Toolkit, text: str) -> None:
    [output] = for_openai_responses(toolkit).outputs([function_call("list_datasets", text)])
    assert "datasets" in json.loads(output["output"])


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"limit": NaN}', '{"name": "\\ud800"}', "[" * 5000])
def test_arguments_that_are_no_json_object_are_told(toolkit: Toolkit, text: str) -> None:
    tools = for_openai_responses(toolkit)
    for [output] in (
        tools.outputs([function_call("list_datasets", text)]),
        asyncio.run(
            tools.aoutputs({"output": [{"type": "reasoning"}, function_call("list_datasets", text)]})
        ),
    ):
        assert json.loads(output["output"])["error"]["code"] == "invalid_json"


def test_a_call_that_is_played_again_happens_once(toolkit: Toolkit) -> None:
    name, tools = unique(), for_anthropic_messages(toolkit)
    block = use("create_dataset", {"name": name}, f"toolu_{unique()}")
    first, second = tools.results([block, block])
    assert first == second
    assert "is_error" not in second
    assert tools.result(use("create_dataset", {"name": name}, f"toolu_{unique()}"))["is_error"]


def test_ids_that_may_come_twice_are_no_keys(toolkit: Toolkit) -> None:
    tools = for_openai_responses(toolkit)
    for _ in range(2):
        call = function_call("create_dataset", json.dumps({"name": unique()}), "call_0")
        assert "error" not in json.loads(tools.output(call)["output"])


# ---------------------------------------------------------------------------------- several calls at a time


class Counting:
    """A dispatcher that notes how many calls run beside each other."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.order: list[Any] = []

    def dispatch(self, request: Request) -> Outcome:
        if request.tool == "get_dataset" and request.arguments["name"] == "gone":
            raise NotFound("Gone.")
        self.order.append(request.arguments["name"])
        return Outcome("id", dict(request.arguments))

    async def dispatch_async(self, request: Request) -> Outcome:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.01 * (4 - self.running))  # the later ones are done first
        self.running -= 1
        return self.dispatch(request)

    def toolkit(self) -> Toolkit:
        new_request = partial(Request, api_key=None, door="toolkit", files=LocalFiles.under())
        tools = load_snapshot()["tools"]
        return Toolkit(self.dispatch, new_request, lambda: tools, dispatch_async=self.dispatch_async)


def test_reads_run_beside_each_other_and_answer_in_order() -> None:
    counting = Counting()
    tools = for_anthropic_messages(counting.toolkit())
    blocks = [use("get_dataset", {"name": n}, f"toolu_{n}") for n in ("a", "gone", "c")]
    results = asyncio.run(tools.aresults(blocks))
    assert counting.most == 3
    assert counting.order == ["c", "a"]
    assert [r["tool_use_id"] for r in results] == ["toolu_a", "toolu_gone", "toolu_c"]
    assert [r.get("is_error", False) for r in results] == [False, True, False]


def test_changes_run_one_after_the_other_as_the_model_wanted() -> None:
    counting = Counting()
    tools = for_openai_responses(counting.toolkit(), strict=False)
    calls = [function_call("create_dataset", json.dumps({"name": n}), f"call_{n}") for n in "abc"]
    asyncio.run(tools.aoutputs(calls))
    assert counting.most == 1
    assert counting.order == ["a", "b", "c"]


def test_cancelling_reaches_the_call() -> None:
    seen: list[Request] = []

    def dispatch(request: Request) -> Outcome:
        seen.append(request)
        assert request.cancelled.wait(10)
        return Outcome("id", {})

    new_request = partial(Request, api_key=None, door="toolkit", files=LocalFiles.under())
    tools = for_anthropic_messages(Toolkit(dispatch, new_request, lambda: load_snapshot()["tools"]))

    async def main() -> None:
        task = asyncio.create_task(tools.aresult(use("get_dataset", {"name": "a"})))
        while not seen:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen[0].cancelled.is_set()


# ------------------------------------------------------------------------------------------ missing packages


@pytest.mark.parametrize(
    ("adapter", "module", "package"),
    [
        (for_openai_agents, "agents", "openai-agents"),
        (for_claude_agent_sdk, "claude_agent_sdk", "claude-agent-sdk"),
    ],
)
def test_a_missing_package_is_named_with_its_pip_line(
    adapter: Any, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Unavailable) as raised:
        adapter(Counting().toolkit())
    assert raised.value.code == "package_missing"
    assert f"pip install -U {package}" in raised.value.fix


def test_the_raw_adapters_need_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("anthropic", "openai", "agents", "claude_agent_sdk"):
        monkeypatch.setitem(sys.modules, module, None)
    toolkit = Counting().toolkit()
    assert len(for_anthropic_messages(toolkit)) == len(for_openai_responses(toolkit)) > 70
