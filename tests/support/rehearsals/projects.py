"""Dry runs of what changes a dataset as a whole."""

from __future__ import annotations

from typing import Any


def _taken(world: Any) -> dict[str, Any]:
    world.live("create_dataset", {"name": "other"})
    return {"name": "signs", "new_name": "other"}


READY = {"update_dataset": lambda w: {"name": "signs", "new_name": "road signs", "description": "all"}}

REFUSED = [
    ("update_dataset", "dataset_not_found", lambda w: {"name": "x", "description": "d"}),
    ("update_dataset", "dataset_exists", _taken),
    ("update_dataset", "invalid_name", lambda w: {"name": "signs", "new_name": "a/b"}),
    ("update_dataset", "nothing_to_change", lambda w: {"name": "signs"}),
]
