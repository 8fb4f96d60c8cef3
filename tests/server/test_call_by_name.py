"""call_tool: the guards of the tool that is called hold, whatever way it comes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.errors import TintypeError
from tintype_tools.call import Outcome, Request
from tintype_tools.catalog import call_tool


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    opened = Runtime.open(Settings(home=tmp_path / "home"))
    yield opened
    opened.close()


def call(runtime: Runtime, tool: str, arguments: dict[str, Any], **more: Any) -> Outcome:
    key = more.pop("api_key", runtime.local_api_key())
    request = Request(
        tool=tool,
        arguments=arguments,
        api_key=key,
        door="toolkit",
        files=everything(runtime.settings),
        **more,
    )
    return runtime.dispatch(request)


def by_name(runtime: Runtime, tool: str, arguments: dict[str, Any], **more: Any) -> Outcome:
    return call(runtime, "call_tool", {"tool": tool, "arguments": json.dumps(arguments)}, **more)


def code(runtime: Runtime, tool: str, arguments: dict[str, Any], **more: Any) -> str:
    with pytest.raises(TintypeError) as refused:
        by_name(runtime, tool, arguments, **more)
    return refused.value.code


def key_of(runtime: Runtime, **limits: Any) -> str:
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    return str(runtime.studio.keys.create(owner, name="agent", **limits)[0])


def test_role_toolset_and_reading_only_are_those_of_the_tool(runtime: Runtime) -> None:
    call(runtime, "create_dataset", {"name": "signs"})
    viewer = key_of(runtime, role="viewer")
    renaming = {"name": "signs", "new_name": "x"}
    assert code(runtime, "update_dataset", renaming, api_key=viewer) == "role_required"
    listed = by_name(runtime, "list_exports", {"dataset_name": "signs"}, api_key=viewer)
    assert listed.value["result"]["exports"] == []
    narrow = key_of(runtime, role="member", toolsets=["discovery", "datasets"])
    assert by_name(runtime, "get_dataset", {"name": "signs"}, api_key=narrow).value["tool"] == "get_dataset"
    assert code(runtime, "list_exports", {"dataset_name": "signs"}, api_key=narrow) == "toolset_required"
    assert code(runtime, "update_dataset", renaming, read_only=True) == "read_only"


def test_search_shows_what_the_key_may_call(runtime: Runtime) -> None:
    viewer, narrow = key_of(runtime, role="viewer"), key_of(runtime, role="member", toolsets=["discovery"])

    def found(key: str | None = None) -> set[str]:
        more = {} if key is None else {"api_key": key}
        value = call(runtime, "search_tools", {"query": "move images to a folder", "limit": 20}, **more).value
        return {tool["name"] for tool in value["tools"]}

    assert "move_images" in found()
    assert "move_images" not in found(viewer)
    assert not found(narrow) - {"search_tools", "call_tool", "preview_call", "confirm_call", "read_more"}


def test_a_deletion_asks_as_it_does_by_itself(runtime: Runtime) -> None:
    call(runtime, "create_dataset", {"name": "signs"})
    with pytest.raises(TintypeError) as asked:
        by_name(runtime, "delete_dataset", {"name": "signs"})
    assert asked.value.code == "confirmation_required"
    details = asked.value.details
    known = {"approval_id": details["approval_id"], "confirm_token": details["confirm_token"]}
    assert call(runtime, "confirm_call", known).value["status"] == "done"
    assert runtime.studio.datasets.list(runtime.studio.keys.authenticate(runtime.local_api_key())) == []


@pytest.mark.parametrize("tool", sorted(call_tool.NOT_INSIDE | {"create_api_key", "import_from_connector"}))
def test_some_are_only_called_by_themselves(runtime: Runtime, tool: str) -> None:
    assert code(runtime, tool, {}) == "invalid_tool"


def test_a_repetition_does_it_once_even_if_the_first_answer_was_lost(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        pass

    def lost(**_: Any) -> Any:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(call_tool, "CallToolResult", lost)
        with pytest.raises(Crash):
            by_name(runtime, "create_dataset", {"name": "signs"}, idempotency_key="once")
    made = by_name(runtime, "create_dataset", {"name": "signs"}, idempotency_key="once")
    assert made.value["result"]["name"] == "signs"
