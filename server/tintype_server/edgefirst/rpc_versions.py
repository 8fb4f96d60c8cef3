"""Named versions of datasets, their changelog, and the recycle bin."""

from __future__ import annotations

from typing import Any

from tintype_server.edgefirst.methods import Rpc, method
from tintype_server.edgefirst.params import (
    id_of,
    optional_text,
    stamp,
    text_of,
    texts_of,
    whole_of,
    wrong,
)
from tintype_studio.catalog.dataset_rows import dataset_of_row
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio
from tintype_studio.versions.changelog import MAX_PAGE, Entry
from tintype_studio.versions.counting import Summary
from tintype_studio.versions.rows import Version
from tintype_studio.versions.service import Now

PAGE = 100
"""Entries of a page where the client names no number."""
WAIT_SECONDS = 20
"""For a restore: clients give a call up after 30."""

_MASKS = ("polygon", "mask")
_TYPES = {"bbox": "box2d"}
"""What types of annotations are called here, where that is other than elsewhere."""


@method("version.tag.create")
async def create_tag(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Name the state of a dataset."""
    dataset = await _dataset_of(rpc, params)
    name = text_of(params, "name")
    made = await rpc.call(
        "create_version",
        dataset_name=dataset.name,
        name=name,
        description=optional_text(params, "description"),
    )
    return await _tag(rpc, dataset, made.value["name"])


@method("version.tag.get")
async def get_tag(rpc: Rpc, params: dict[str, Any]) -> Any:
    """One version by name."""
    return await _tag(rpc, await _dataset_of(rpc, params), text_of(params, "name"))


@method("version.tag.list")
async def list_tags(rpc: Rpc, params: dict[str, Any]) -> Any:
    """The versions of a dataset by serial."""
    dataset = await _dataset_of(rpc, params)
    found = await rpc.read(lambda studio, principal: studio.versions.list(principal, dataset.name))
    return [tag_of(version) for version in found]


@method("version.tag.delete")
async def delete_tag(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Take a version away; the answer is a sentence."""
    dataset = await _dataset_of(rpc, params)
    gone = await rpc.call("delete_version", dataset_name=dataset.name, name=text_of(params, "name"))
    return f"Version {gone.value['deleted']} of {dataset.name} is deleted."


@method("version.tag.restore")
async def restore_tag(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Bring a dataset to the state of a version; a large one goes on as a task, and is no success yet."""
    dataset = await _dataset_of(rpc, params)
    name = text_of(params, "name")
    version = await rpc.read(lambda studio, principal: studio.versions.get(principal, dataset.name, name))
    done = await rpc.call(
        "restore_version", dataset_name=dataset.name, name=version.name, wait_seconds=WAIT_SECONDS
    )
    job = done.value.get("job") or {"status": "completed", "job_id": ""}
    return {
        "success": job["status"] == "completed",
        "new_serial": done.value.get("serial") or version.serial,
        "restored_from": {"tag": version.name, "serial": version.serial},
        "restored_counts": {
            "images": version.summary.samples - done.value["lost"],
            "labels": version.summary.labels,
            "annotation_sets": version.summary.annotation_sets,
        },
        "message": _told(done.value, job),
    }


@method("version.changelog")
async def changelog(rpc: Rpc, params: dict[str, Any]) -> Any:
    """What changed between two versions, page by page, oldest first."""
    dataset = await _dataset_of(rpc, params)
    old, new, entities = _range(params)
    limit = min(max(whole_of(params, "limit", PAGE), 1), MAX_PAGE)
    after = _place(optional_text(params, "continue_token"))

    def look(studio: Studio, principal: Principal) -> dict[str, Any]:
        versions = studio.versions
        first, last = versions.span(principal, dataset.name, old, new)
        entries = versions.changelog(
            principal, dataset.name, old=old, new=new, entities=entities, after=after, limit=limit
        )
        count = versions.changelog_count(principal, dataset.name, old=old, new=new, entities=entities)
        more = len(entries) == limit
        return {
            "entries": [_entry(entry, dataset, principal) for entry in entries],
            "count": count,
            "continue_token": str(entries[-1].serial) if more else "",
            "from_serial": first,
            "to_serial": last,
        }

    return await rpc.read(look)


@method("version.changelog.count")
async def changelog_count(rpc: Rpc, params: dict[str, Any]) -> Any:
    """How many entries the changelog has."""
    dataset = await _dataset_of(rpc, params)
    old, new, entities = _range(params)
    count = await rpc.read(
        lambda studio, principal: studio.versions.changelog_count(
            principal, dataset.name, old=old, new=new, entities=entities
        )
    )
    return {"count": count}


@method("version.current")
async def current(rpc: Rpc, params: dict[str, Any]) -> Any:
    """A dataset's serial, versions and summary."""
    dataset = await _dataset_of(rpc, params)

    def look(studio: Studio, principal: Principal) -> dict[str, Any]:
        versions = studio.versions.list(principal, dataset.name)
        now = studio.versions.now(principal, dataset.name)
        newest = max(versions, key=lambda version: version.row_id, default=None)
        found = {
            "dataset_id": dataset.row_id,
            "current_serial": now.serial,
            "tags": [tag_of(version) for version in versions],
            "summary": _summary(dataset, now),
        }
        return found | ({} if newest is None else {"latest_tag": tag_of(newest)})

    return await rpc.read(look)


@method("version.summary")
async def summary(rpc: Rpc, params: dict[str, Any]) -> Any:
    """What a dataset holds now."""
    dataset = await _dataset_of(rpc, params)
    return _summary(
        dataset, await rpc.read(lambda studio, principal: studio.versions.now(principal, dataset.name))
    )


@method("version.summary.recalculate")
async def recalculate(rpc: Rpc, params: dict[str, Any]) -> Any:
    """The same, counted anew."""
    dataset = await _dataset_of(rpc, params)
    return _summary(
        dataset,
        await rpc.read(lambda studio, principal: studio.versions.now(principal, dataset.name, anew=True)),
    )


@method("tags.list_dataset")
async def list_dataset_tags(rpc: Rpc, params: dict[str, Any]) -> Any:
    """The versions as plain tags: other tags of datasets are not kept here."""
    dataset = await _dataset_of(rpc, params)
    found = await rpc.read(lambda studio, principal: studio.versions.list(principal, dataset.name))
    return [
        {"id": version.row_id, "name": version.name, "dataset_id": dataset.row_id}
        for version in sorted(found, key=lambda version: version.row_id)
    ]


def tag_of(version: Version) -> dict[str, Any]:
    """A version as clients read it."""
    return {
        "id": version.row_id,
        "dataset_id": version.dataset_row_id,
        "name": version.name,
        "serial": version.serial,
        "description": version.description or "",
        "created_by": version.created_by,
        "created_at": stamp(version.created_at),
        "snapshot_id": None,
        "is_current": version.current,
        **_counts(version.summary),
    }


def _summary(dataset: Dataset, now: Now) -> dict[str, Any]:
    return {
        "dataset_id": dataset.row_id,
        "current_serial": now.serial,
        "last_updated": stamp(now.counted_at),
        **_counts(now.summary),
    }


def _counts(summary: Summary) -> dict[str, Any]:
    annotations = {_TYPES.get(k, k): n for k, n in summary.annotations.items() if k not in _MASKS}
    if masks := sum(summary.annotations.get(kind, 0) for kind in _MASKS):
        annotations["mask"] = masks
    return {
        "image_count": summary.images,
        "annotation_counts": annotations,
        "sensor_counts": summary.files,
        "label_count": summary.labels,
        "annotation_set_count": summary.annotation_sets,
    }


def _entry(entry: Entry, dataset: Dataset, principal: Principal) -> dict[str, Any]:
    told = {"count": entry.count, "name": entry.label, "uuid": entry.subject, "tool": entry.tool}
    told |= {"call_id": entry.call_id, "undone_by": entry.undone_by}
    return {
        "id": entry.serial,
        "dataset_id": dataset.row_id,
        "serial": entry.serial,
        "entity_type": entry.entity,
        "operation": entry.operation,
        "entity_id": entry.subject_row,
        "change_data": {name: value for name, value in told.items() if value is not None},
        "username": entry.username,
        "organization_id": principal.organization_id,
        "created_at": stamp(entry.created_at),
        "message": entry.label or "",
        "s3_version_ids": [],
    }


def _told(done: dict[str, Any], job: dict[str, Any]) -> str:
    if job["status"] in {"queued", "running"}:
        return f"The restore goes on as the job {job['job_id']}; list tasks to see when it is done."
    if job["status"] != "completed":
        error = job.get("error") or {}
        return f"The restore ended: {error.get('message') or job['status']} Nothing was changed."
    told = (
        f"{done['deleted']} into the recycle bin, {done['brought_back']} out of it, "
        f"{done['updated']} changed, {done['annotated']} with their annotations put back."
    )
    if done["lost"]:
        names = ", ".join(done["lost_names"][:5])
        told += f" Purged since then, and so not restored: {done['lost']} ({names})."
    return f"{told} Undo it with undo_call."


def _range(params: dict[str, Any]) -> tuple[str | None, str | None, list[str] | None]:
    return (
        optional_text(params, "from_version"),
        optional_text(params, "to_version"),
        texts_of(params, "entity_types"),
    )


def _place(token: str | None) -> int:
    if token is None:
        return 0
    if not token.isascii() or not token.isdigit() or len(token) > 18:
        raise wrong("continue_token", "the one of the page before")
    return int(token)


async def _tag(rpc: Rpc, dataset: Dataset, name: str) -> dict[str, Any]:
    return tag_of(
        await rpc.read(lambda studio, principal: studio.versions.get(principal, dataset.name, name))
    )


async def _dataset_of(rpc: Rpc, params: dict[str, Any]) -> Dataset:
    row_id = id_of(params, "dataset_id")
    return await rpc.read(lambda studio, principal: dataset_of_row(studio, principal, row_id))
