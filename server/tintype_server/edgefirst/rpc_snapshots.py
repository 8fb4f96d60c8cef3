"""Snapshots: uploaded in parts, made of a dataset, downloaded, restored."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from tintype_server.edgefirst.methods import Rpc, method
from tintype_server.edgefirst.params import (
    id_of,
    list_of,
    optional_id,
    optional_text,
    stamp,
    text_of,
    texts_of,
    wrong,
)
from tintype_studio.annotations.sets import AnnotationSet
from tintype_studio.catalog.dataset_rows import dataset_of_row, set_of_row
from tintype_studio.catalog.datasets import DEFAULT_SET
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.snapshots.paths import clean_path
from tintype_studio.snapshots.snapshot import MAX_NAME, Snapshot
from tintype_studio.studio import Studio

MOST = 500
"""Snapshots of one look; the answer has all."""
DONE = "ok"


@method("snapshots.list")
async def list_snapshots(rpc: Rpc, _params: dict[str, Any]) -> Any:
    """All snapshots, newest first."""
    found: list[dict[str, Any]] = []
    before: int | None = None
    while True:
        page = await rpc.read(partial(_page, before))
        found += [_shape(each) for each in page]
        if len(page) < MOST:
            return found
        before = page[-1].row_id


@method("snapshots.get")
async def get_snapshot(rpc: Rpc, params: dict[str, Any]) -> Any:
    """One snapshot."""
    return _shape(await _snapshot(rpc, params))


@method("snapshots.create_upload_url_multipart")
async def begin_upload(rpc: Rpc, params: dict[str, Any]) -> Any:
    """A pending snapshot, and links for the parts of each of its files."""
    keys, sizes = texts_of(params, "keys") or [], list_of(params, "file_sizes")
    if len(keys) != len(sizes) or not keys:
        raise wrong("file_sizes", "a list of as many sizes as there are keys")
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in sizes):
        raise wrong("file_sizes", "a list of sizes in bytes")
    name, description = _name_of(text_of(params, "snapshot_name"))
    made = await rpc.call(
        "create_snapshot",
        name=name,
        description=description,
        uploads=[{"path": key, "size": size} for key, size in zip(keys, sizes, strict=True)],
    )
    row_id = int(made.value["wire_id"].removeprefix("ss-"), 16)
    answer: dict[str, Any] = {"snapshot_id": row_id}
    for key, upload in zip(keys, made.value["uploads"], strict=True):
        address = f"{_prefix(row_id)}/{key}"
        answer[address] = {"upload_id": upload["upload_id"], "urls": upload["part_links"], "key": address}
    return answer


@method("snapshots.complete_multipart_upload")
async def complete_file(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Join the parts of one file."""
    row_id, path = _file_of(text_of(params, "key"))
    upload_id = optional_text(params, "upload_id")
    snapshot = await rpc.read(lambda studio, principal: studio.snapshots.of_row(principal, row_id))
    file = next((file for file in snapshot.files if file.path == path), None)
    if file is None or upload_id not in {None, file.upload_id}:
        raise _no_upload()
    await rpc.call("complete_snapshot", snapshot=snapshot.id, path=path, etags=_etags(params))
    return DONE


@method("snapshots.update")
async def update_snapshot(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Make an uploaded snapshot available."""
    snapshot = await _snapshot(rpc, params)
    if text_of(params, "status", "available") != "available":
        raise InvalidInput(
            "A snapshot's status can only be set to available.",
            code="invalid_params",
            fix="Send status as available, once all files are complete.",
        )
    await rpc.call("complete_snapshot", snapshot=snapshot.id)
    return _shape(await _snapshot(rpc, params))


@method("snapshots.create")
async def create_snapshot(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Begin to make a snapshot of a dataset."""
    dataset_id, set_id = id_of(params, "dataset_id"), optional_id(params, "annotation_set_id")
    dataset = await rpc.read(lambda studio, principal: dataset_of_row(studio, principal, dataset_id))
    annotation_set = DEFAULT_SET
    if set_id:
        found = await rpc.read(lambda studio, principal: set_of_row(studio, principal, set_id))
        if found.dataset.row_id != dataset.row_id:
            raise NotFound(
                f"The dataset has no annotation set {set_id}.",
                code="annotation_set_not_found",
                fix="List the annotation sets of the dataset.",
            )
        annotation_set = found.name
    name, description = _name_of(text_of(params, "description", "") or dataset.name)
    made = await rpc.call(
        "create_snapshot",
        name=name,
        description=description,
        dataset_name=dataset.name,
        annotation_set=annotation_set,
        wait_seconds=0,
    )
    row_id = int(made.value["wire_id"].removeprefix("ss-"), 16)
    return {"id": row_id, **await _task(rpc, made.value.get("job_id"))}


@method("snapshots.create_download_url")
async def download_links(rpc: Rpc, params: dict[str, Any]) -> Any:
    """A link for each file, by name without folders: clients make none."""
    snapshot = await _snapshot(rpc, params)
    found = await rpc.call("download_snapshot", snapshot=snapshot.id)
    return {file["name"]: file["download_url"] for file in found.value["files"]}


@method("snapshots.restore")
async def restore_snapshot(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Begin to restore a snapshot into a new dataset of a project."""
    project_id = optional_id(params, "project_id")
    snapshot = await _snapshot(rpc, params)
    project = None
    if project_id is not None:
        project = await rpc.read(lambda studio, principal: studio.projects.of_row(principal, project_id))
    made = await rpc.call(
        "restore_snapshot",
        snapshot=snapshot.id,
        dataset_name=optional_text(params, "dataset_name"),
        description=optional_text(params, "dataset_description"),
        project=None if project is None else project.name,
        topics=texts_of(params, "enabled_topics") or None,
        fps=_fps(params),
        labels=texts_of(params, "label_names") or None,
        depth=params.get("depth_gen") is True or None,
        wait_seconds=0,
    )
    name = made.value["dataset_name"]
    dataset = await rpc.read(lambda studio, principal: studio.datasets.get(principal, name))
    annotation_set: AnnotationSet = await rpc.read(
        lambda studio, principal: studio.annotation_sets.get(principal, name, DEFAULT_SET)
    )
    return {
        "id": snapshot.row_id,
        "description": dataset.description or snapshot.name,
        "dataset_name": dataset.name,
        "dataset_id": dataset.row_id,
        "annotation_set_id": annotation_set.row_id,
        "date": stamp(dataset.created_at),
        **await _task(rpc, made.value["job"]["job_id"]),
    }


@method("snapshots.delete")
async def delete_snapshot(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Put a snapshot into the recycle bin."""
    snapshot = await _snapshot(rpc, params)
    await rpc.call("delete_snapshot", snapshot=snapshot.id)
    return DONE


def _page(before: int | None, studio: Studio, principal: Principal) -> Sequence[Snapshot]:
    return studio.snapshots.list(principal, limit=MOST, before=before)


async def _snapshot(rpc: Rpc, params: dict[str, Any]) -> Snapshot:
    row_id = id_of(params, "snapshot_id")
    return await rpc.read(lambda studio, principal: studio.snapshots.of_row(principal, row_id))


async def _task(rpc: Rpc, job_id: str | None) -> dict[str, int]:
    """The task of a job, where there is one."""
    if job_id is None:
        return {}
    return {
        "task_id": await rpc.read(lambda studio, principal: studio.tasks.of_job(principal, job_id).row_id)
    }


def _shape(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "id": snapshot.row_id,
        "uid": snapshot.wire_id,
        "description": snapshot.description or snapshot.name,
        "status": snapshot.status.value,
        "path": _prefix(snapshot.row_id),
        "date": stamp(snapshot.created_at),
    }


def _prefix(row_id: int) -> str:
    """What begins the addresses of a snapshot's files."""
    return f"snapshots/{row_id}"


def _file_of(key: str) -> tuple[int, str]:
    """Row of the snapshot and path of the file that an address names."""
    start, _, rest = key.partition("/")
    number, _, path = rest.partition("/")
    if start != "snapshots" or not number.isascii() or not number.isdecimal() or len(number) > 18 or not path:
        raise _no_upload()
    return int(number), clean_path(path)


def _etags(params: dict[str, Any]) -> list[str]:
    """The ETags in the order of the parts; what is missing among them is empty, and told by the tool."""
    found: dict[int, str] = {}
    for each in list_of(params, "etag_list"):
        if not isinstance(each, dict):
            raise wrong("etag_list", "a list of objects with ETag and PartNumber")
        number, etag = each.get("PartNumber"), each.get("ETag")
        if isinstance(number, bool) or not isinstance(number, int) or not isinstance(etag, str):
            raise wrong("etag_list", "a list of objects with ETag and PartNumber")
        if not 1 <= number <= 2000:
            raise wrong("PartNumber", "1 to 2000")
        found[number] = etag
    return [found.get(number, "") for number in range(1, max(found, default=0) + 1)]


def _fps(params: dict[str, Any]) -> float | None:
    fps = params.get("fps")
    if fps is None:
        return None
    if isinstance(fps, bool) or not isinstance(fps, int | float):
        raise wrong("fps", "a number")
    return float(fps)


def _name_of(text: str) -> tuple[str, str | None]:
    """A name of one line; the whole text where that is more."""
    line = " ".join(text.split())[:MAX_NAME].strip()
    return line or "snapshot", (text if text != line else None)


def _no_upload() -> NotFound:
    return NotFound(
        "There is no such upload.",
        code="upload_not_found",
        fix="Send key and upload_id as snapshots.create_upload_url_multipart gave them.",
    )
