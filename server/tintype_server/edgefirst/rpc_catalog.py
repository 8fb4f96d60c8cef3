"""The organization, projects, datasets, annotation sets, labels and groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from tintype_server.edgefirst.methods import Rpc, method
from tintype_server.edgefirst.params import (
    id_of,
    list_of,
    optional_id,
    optional_text,
    stamp,
    text_of,
    texts_of,
    whole_of,
    wrong,
)
from tintype_studio.catalog.dataset_rows import (
    dataset_of_row,
    group_of_row,
    label_of_row,
    sample_of_row,
    set_of_row,
)
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.projects import Project
from tintype_studio.errors import InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio

T = TypeVar("T")

MOST = 10_000
"""Projects or datasets of one answer: clients ask for no further page."""

DONE = "ok"
"""The answer where there is nothing to tell; None would be taken for none."""


@method("org.get")
async def organization(rpc: Rpc, _params: dict[str, Any]) -> Any:
    """The caller's organization and what it has left to spend."""
    name = (await rpc.call("get_organization")).value["name"]
    credits = (await rpc.call("get_credit_balance")).value["credits_remaining"]
    row_id = await rpc.read(lambda _, principal: principal.organization_id)
    return {"id": row_id, "name": name, "latest_credit": int(credits)}


@method("project.list")
async def list_projects(rpc: Rpc, _params: dict[str, Any]) -> Any:
    """All projects."""
    found = await rpc.read(lambda studio, principal: studio.projects.list(principal, limit=MOST))
    return [_project(each) for each in found]


@method("project.get")
async def get_project(rpc: Rpc, params: dict[str, Any]) -> Any:
    """One project."""
    row_id = id_of(params, "project_id")
    return _project(await rpc.read(lambda studio, principal: studio.projects.of_row(principal, row_id)))


@method("dataset.list")
async def list_datasets(rpc: Rpc, params: dict[str, Any]) -> Any:
    """The datasets of a project."""
    row_id = id_of(params, "project_id")

    def look(studio: Studio, principal: Principal) -> list[dict[str, Any]]:
        studio.projects.of_row(principal, row_id)
        found = studio.datasets.list(principal, limit=MOST, project_row_id=row_id)
        return _datasets(studio, found)

    return await rpc.read(look)


@method("dataset.get")
async def get_dataset(rpc: Rpc, params: dict[str, Any]) -> Any:
    """One dataset."""
    row_id = id_of(params, "dataset_id")
    return await rpc.read(
        lambda studio, principal: _datasets(studio, [dataset_of_row(studio, principal, row_id)])[0]
    )


@method("dataset.create")
async def create_dataset(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Make an empty dataset in a project; its id is the answer."""
    project_id = optional_id(params, "project_id")
    project = None
    if project_id is not None:
        project = await rpc.read(lambda studio, principal: studio.projects.of_row(principal, project_id))
    made = await rpc.call(
        "create_dataset",
        name=text_of(params, "name"),
        description=optional_text(params, "description"),
        project=project and project.name,
    )
    name = made.value["name"]
    return {"id": await rpc.read(lambda studio, principal: studio.datasets.get(principal, name).row_id)}


@method("dataset.delete")
async def delete_dataset(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Put a dataset into the recycle bin."""
    dataset = await _dataset_of(rpc, params, "id")
    await rpc.call("delete_dataset", name=dataset.name)
    return DONE


@method("annset.list")
async def list_sets(rpc: Rpc, params: dict[str, Any]) -> Any:
    """The annotation sets of a dataset, now or in a version."""
    dataset = await _dataset_of(rpc, params)
    tag = optional_text(params, "tag")

    def look(studio: Studio, principal: Principal) -> list[dict[str, Any]]:
        now = studio.annotation_sets.names(dataset)
        if tag is None:
            return [
                _set(dataset, row["id"], row["name"], row["description"], row["created_at"]) for row in now
            ]
        made = {row["id"]: row["created_at"] for row in now}
        return [
            _set(dataset, each.row_id, each.name, each.description, made.get(each.row_id, dataset.created_at))
            for each in studio.versions.at(principal, dataset.name, tag).sets
        ]

    return await rpc.read(look)


@method("annset.get")
async def get_set(rpc: Rpc, params: dict[str, Any]) -> Any:
    """One annotation set."""
    found = await _row_of(rpc, set_of_row, id_of(params, "annotation_set_id"))
    return _set(found.dataset, found.row_id, found.name, found.description, found.created_at)


@method("annset.add")
async def add_set(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Make an empty annotation set; its id is the answer. Who made it is who calls, whatever is sent."""
    dataset = await _dataset_of(rpc, params)
    made = await rpc.call(
        "create_annotation_set",
        dataset_name=dataset.name,
        name=text_of(params, "name"),
        description=optional_text(params, "description"),
    )
    return {"id": int(made.value["wire_id"].partition("-")[2], 16)}


@method("annset.del")
async def delete_set(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Delete an annotation set."""
    found = await _row_of(rpc, set_of_row, id_of(params, "id"))
    await rpc.call("delete_annotation_set", dataset_name=found.dataset.name, name=found.name)
    return DONE


@method("label.list")
async def list_labels(rpc: Rpc, params: dict[str, Any]) -> Any:
    """The labels of a dataset by index, now or in a version."""
    dataset = await _dataset_of(rpc, params)
    tag = optional_text(params, "tag")

    def look(studio: Studio, principal: Principal) -> list[dict[str, Any]]:
        now = studio.labels.list(principal, dataset.name)
        if tag is None:
            return [_label(dataset, each.row_id, each.index, each.name, each.color) for each in now]
        ids = {each.name: each.row_id for each in now}
        return [
            _label(dataset, ids.get(each.name, 0), each.index or 0, each.name, each.color)
            for each in studio.versions.at(principal, dataset.name, tag).classes
        ]

    return await rpc.read(look)


@method("label.add2")
async def add_labels(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Add labels, each with an index or the next one; those that are there stay as they are."""
    dataset = await _dataset_of(rpc, params)
    labels = [_new_label(entry) for entry in list_of(params, "labels")]
    if labels:
        await rpc.call("manage_labels", dataset_name=dataset.name, add=labels)
    return DONE


@method("label.update")
async def update_label(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Give a label another name or index. In the middle of a swap, two labels may share an index."""
    found = await _row_of(rpc, label_of_row, id_of(params, "label_id"))
    dataset_id = optional_id(params, "dataset_id")
    if dataset_id not in {None, found.dataset_row_id}:
        raise wrong("dataset_id", "the dataset of the label")
    update: dict[str, Any] = {"name": found.name}
    if (name := optional_text(params, "label_name")) is not None:
        update["new_name"] = name
    if params.get("label_index") is not None:
        update["index"] = whole_of(params, "label_index")
    await rpc.call("manage_labels", dataset_name=found.dataset_name, update=[update], allow_shared_index=True)
    return DONE


@method("label.del")
async def delete_label(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Remove a label that no annotation uses."""
    found = await _row_of(rpc, label_of_row, id_of(params, "label_id"))
    await rpc.call("manage_labels", dataset_name=found.dataset_name, remove=[found.name])
    return DONE


@method("groups.list")
async def list_groups(rpc: Rpc, params: dict[str, Any]) -> Any:
    """The groups of a dataset."""
    dataset = await _dataset_of(rpc, params)
    return await _groups(rpc, dataset)


@method("groups.create")
async def create_groups(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Make groups that are not there yet, and answer with all of them; shares are not kept."""
    dataset = await _dataset_of(rpc, params)
    for name in dict.fromkeys(texts_of(params, "group_names") or ()):
        await rpc.call("set_split", dataset_name=dataset.name, group=name)
    return await _groups(rpc, dataset)


@method("image.set_group_id")
async def set_group(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Put a sample into a group."""
    sample = await _row_of(rpc, sample_of_row, id_of(params, "image_id"))
    group = await _row_of(rpc, group_of_row, id_of(params, "group_id"))
    if group.dataset.row_id != sample.dataset.row_id:
        raise InvalidInput(
            f"The group {group.name!r} is of the dataset {group.dataset.name!r}, "
            f"the sample of {sample.dataset.name!r}.",
            code="invalid_params",
            fix="Use a group of the sample's own dataset; groups.list shows them.",
        )
    await rpc.call("set_split", dataset_name=sample.dataset.name, group=group.name, image_ids=[sample.id])
    return DONE


async def _row_of(rpc: Rpc, look: Callable[[Studio, Principal, int], T], row_id: int) -> T:
    return await rpc.read(lambda studio, principal: look(studio, principal, row_id))


async def _dataset_of(rpc: Rpc, params: dict[str, Any], name: str = "dataset_id") -> Dataset:
    return await _row_of(rpc, dataset_of_row, id_of(params, name))


async def _groups(rpc: Rpc, dataset: Dataset) -> list[dict[str, Any]]:
    found = await rpc.read(lambda studio, principal: studio.groups.list(principal, dataset.name))
    return [{"id": group.row_id, "name": group.name} for group in found]


def _new_label(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise wrong("labels", "a list of objects with a name")
    label: dict[str, Any] = {"name": text_of(entry, "name")}
    if entry.get("index") is not None:
        label["index"] = whole_of(entry, "index")
    return label


def _project(project: Project) -> dict[str, Any]:
    return {
        "id": project.row_id,
        "name": project.name,
        "description": project.description or "",
        "created_at": stamp(project.created_at),
    }


def _datasets(studio: Studio, found: Sequence[Dataset]) -> list[dict[str, Any]]:
    newest = studio.versions.current_of([dataset.row_id for dataset in found])
    shapes = []
    for dataset in found:
        shape: dict[str, Any] = {
            "id": dataset.row_id,
            "project_id": dataset.project_row_id,
            "name": dataset.name,
            "description": dataset.description or "",
            "cloud_key": dataset.id,
            "createdAt": stamp(dataset.created_at),
        }
        if version := newest.get(dataset.row_id):
            shape |= {
                "tag_id": version.row_id,
                "tag": version.name,
                "tag_description": version.description or "",
            }
        shapes.append(shape)
    return shapes


def _set(dataset: Dataset, row_id: int, name: str, description: str | None, made: datetime) -> dict[str, Any]:
    return {
        "id": row_id,
        "dataset_id": dataset.row_id,
        "name": name,
        "description": description or "",
        "date": stamp(made),
    }


def _label(dataset: Dataset, row_id: int, index: int, name: str, color: str | None) -> dict[str, Any]:
    return {
        "id": row_id,
        "dataset_id": dataset.row_id,
        "index": index,
        "name": name,
        "color": None if color is None else int(color.lstrip("#")[:6], 16),
    }
