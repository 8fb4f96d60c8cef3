"""Dry runs of a call that is made by name: those of the tool that is called."""

from __future__ import annotations

import json
from typing import Any


def _renaming(_world: Any, **more: Any) -> dict[str, Any]:
    arguments = {"name": "signs", "new_name": "signposts", **more}
    return {"tool": "update_dataset", "arguments": json.dumps(arguments)}


READY = {"call_tool": _renaming}
OWN = {"call_tool"}
REFUSED = [
    ("call_tool", "unknown_tool", lambda _: {"tool": "fly_away"}),
    ("call_tool", "dataset_not_found", lambda w: _renaming(w, name="x")),
    ("call_tool", "invalid_arguments", lambda _: {"tool": "update_dataset", "arguments": "[]"}),
    ("call_tool", "invalid_arguments", lambda w: _renaming(w, color="red")),
    ("call_tool", "invalid_tool", lambda _: {"tool": "call_tool"}),
    ("call_tool", "invalid_tool", lambda _: {"tool": "create_api_key", "arguments": "{}"}),
    ("call_tool", "invalid_tool", lambda _: {"tool": "import_from_connector", "arguments": "{}"}),
]


def _renamed(world: Any, told: dict[str, Any], outcome: Any) -> None:
    """The change stands in the history of the call inside."""
    (affected,) = told["affected"]
    assert (affected["kind"], affected["count"]) == ("dataset.updated", 1)
    inner = outcome.value["call_id"]
    assert inner != outcome.call_id
    world.live("undo_call", {"call_id": inner})


DONE = {"call_tool": _renamed}
