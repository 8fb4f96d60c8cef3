"""Tools that are not listed, found and called by name."""

from __future__ import annotations

import json
from typing import Any


def use_search_tools(door: Any, world: Any) -> None:
    value = door.call("search_tools", {"query": "take frames out of my video", "limit": 3}).value
    assert value["tools"][0]["name"] == "extract_video_frames"
    assert len(value["tools"]) == 3
    assert "fps" in value["tools"][0]["input_schema"]["properties"]
    assert door.call("search_tools", {"query": "the of"}).value == {"tools": []}


def use_call_tool(door: Any, world: Any) -> None:
    arguments = json.dumps({"name": world.dataset, "new_name": f"{world.dataset} renamed"})
    value = door.call("call_tool", {"tool": "update_dataset", "arguments": arguments}).value
    assert (value["tool"], value["result"]["name"]) == ("update_dataset", f"{world.dataset} renamed")
    world.make("undo_call", call_id=value["call_id"])
    assert world.make("get_dataset", name=world.dataset)["name"] == world.dataset
