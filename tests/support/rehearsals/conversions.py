"""Dry runs of conversions."""

from __future__ import annotations

from typing import Any

import orjson
from support.dry_world import Ready, Refusals, World
from support.uses.conversions import COCO


def _source(world: World) -> dict[str, Any]:
    (world.folder / "in.json").write_bytes(orjson.dumps(COCO))
    return {"source_path": str(world.folder / "in.json"), "output_path": str(world.folder / "t.arrow")}


def _taken(world: World) -> dict[str, Any]:
    (world.folder / "t.arrow").write_text("mine")
    return _source(world)


def _damaged(world: World) -> dict[str, Any]:
    arguments = _source(world)
    (world.folder / "in.json").write_bytes(b'{"images": [1]}')
    return arguments


def _done(world: World, told: dict[str, Any], outcome: Any) -> None:
    (affected,) = told["affected"]
    assert (affected["kind"], affected["count"], affected["name"]) == ("file.written", 1, "t.arrow")
    assert affected["size"] == outcome.value["file_size"] == (world.folder / "t.arrow").stat().st_size


READY: Ready = {"convert_dataset": _source}
DONE = {"convert_dataset": _done}
NOT_UNDOABLE = {"convert_dataset"}
REFUSED: Refusals = [
    ("convert_dataset", "file_exists", _taken),
    ("convert_dataset", "broken_file", _damaged),
    ("convert_dataset", "file_not_found", lambda w: _source(w) | {"source_path": str(w.folder / "none")}),
    (
        "convert_dataset",
        "unsupported_conversion",
        lambda w: _source(w) | {"output_path": str(w.folder / "t.csv")},
    ),
]
