"""The recycle bin: what of it has an id, and its removal for good."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tintype_server.edgefirst.methods import Rpc, method
from tintype_server.edgefirst.params import optional_text, stamp, texts_of, wrong
from tintype_studio.catalog.bin_items import BinItem, Sort

_SORTS = {
    "project": Sort.PROJECT,
    "dataset": Sort.DATASET,
    "annset": Sort.ANNOTATION_SET,
    "experiment": Sort.EXPERIMENT,
    "train-session": Sort.TRAINING_SESSION,
    "validate": Sort.VALIDATION_SESSION,
}
"""By what clients call them when they ask."""

_LISTS = {
    Sort.PROJECT: "projects",
    Sort.DATASET: "datasets",
    Sort.ANNOTATION_SET: "annotation_sets",
    Sort.EXPERIMENT: "experiments",
    Sort.TRAINING_SESSION: "training_sessions",
    Sort.VALIDATION_SESSION: "validate_sessions",
}
"""Where they look for them in the answer."""


@method("recycle.list")
async def list_bin(rpc: Rpc, params: dict[str, Any]) -> Any:
    """What was deleted between two times, in a list for each sort."""
    types = texts_of(params, "types")
    sorts = list(Sort) if types is None else [_SORTS[each] for each in types if each in _SORTS]
    since, until = _time(params, "deleted_start"), _time(params, "deleted_end")
    found = await rpc.read(
        lambda studio, principal: studio.bin_items.list(principal, sorts=sorts, since=since, until=until)
    )
    lists: dict[str, list[dict[str, Any]]] = {name: [] for name in _LISTS.values()}
    for item in found:
        lists[_LISTS[item.sort]].append(_item(item))
    return lists


@method("recycle.purge")
async def purge_bin(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Remove items for good, all of them or none."""
    ids = texts_of(params, "item_ids")
    if ids is None:
        raise wrong("item_ids", "a list of ids such as ds-1a")
    if not ids:
        return {"purged": 0}
    done = await rpc.call("purge_deleted", items=ids)
    return {"purged": done.value["datasets"] + done.value.get("others", 0)}


def _item(item: BinItem) -> dict[str, Any]:
    return {
        "id": item.row_id,
        "name": item.name,
        "description": item.description or item.name,
        "deleted": stamp(item.deleted_at),
    }


def _time(params: dict[str, Any], name: str) -> datetime | None:
    text = optional_text(params, name)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise wrong(name, "a time such as 2026-01-31T12:00:00Z") from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
