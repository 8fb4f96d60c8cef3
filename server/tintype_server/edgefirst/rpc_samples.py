"""Samples: counted, listed, sent and changed; and annotations of samples that are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tintype_server.edgefirst.methods import Rpc, method
from tintype_server.edgefirst.params import (
    id_of,
    list_of,
    optional_id,
    optional_text,
    texts_of,
    whole_of,
    wrong,
)
from tintype_server.edgefirst.sample_reading import sample_arguments
from tintype_server.edgefirst.sample_wire import ANNOTATION_TYPES, WireView
from tintype_studio.catalog.dataset_rows import dataset_of_row, set_of_row
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.file_types import IMAGE, SENSORS_IN_META, file_type
from tintype_studio.multisensor.samples import MAX_PAGE, SensorSample, StoredFile
from tintype_studio.storage.tables import samples
from tintype_studio.studio import Studio

LINK_SECONDS = 24 * 3600
"""How long the links of a page work: a client fetches all pages before the first file."""


@method("samples.count")
async def count_samples(rpc: Rpc, params: dict[str, Any]) -> Any:
    """How many samples match."""
    _, files = _types(params)
    groups = texts_of(params, "group_names")
    tag = optional_text(params, "tag")

    def count(studio: Studio, principal: Principal) -> int:
        dataset, _ = _asked(studio, principal, params)
        if tag is not None:
            return studio.versions.at(principal, dataset.name, tag).count(groups=groups, types=files)
        return studio.multisensor.count(dataset, groups=groups, types=files)

    return {"total": await rpc.read(count)}


@method("samples.list")
async def list_samples(rpc: Rpc, params: dict[str, Any]) -> Any:
    """A page of samples, in the order of their ids."""
    places, files = _types(params)
    groups = texts_of(params, "group_names")
    limit = min(max(whole_of(params, "limit", MAX_PAGE), 1), MAX_PAGE)
    after = _after(params)
    tag = optional_text(params, "tag")

    def page(studio: Studio, principal: Principal) -> list[dict[str, Any]]:
        dataset, set_id = _asked(studio, principal, params)
        found: Sequence[SensorSample]
        if tag is not None:
            version = studio.versions.at(principal, dataset.name, tag)
            labels = {each.name: each.index or 0 for each in version.classes}
            found = version.page(after=after, limit=limit, groups=groups, types=files, annotation_set=set_id)
        else:
            labels = _labels(dataset)
            found = studio.multisensor.page(
                dataset, annotation_set=set_id, groups=groups, types=files, after=after, limit=limit
            )
        view = WireView(
            labels,
            _Links(studio, rpc.base_url),
            places,
            name_bare=_name_bare(params, files, found),
        )
        return [view.sample(sample) for sample in found]

    shown = await rpc.read(page)
    return {"samples": shown, "continue_token": str(shown[-1]["id"]) if len(shown) == limit else None}


@method("samples.populate2")
async def populate(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Take samples; says where their files are to be put."""
    with_files = params.get("presigned_urls", True) is not False
    sent = list_of(params, "samples")
    dataset, set_name = await rpc.read(lambda studio, principal: _names(studio, principal, params))
    if not sent:
        return []
    outcome = await rpc.call(
        "add_samples",
        dataset_name=dataset,
        annotation_set=set_name,
        learn_labels=True,
        samples=[sample_arguments(each, with_files=with_files) for each in sent],
    )
    return [
        {
            "uuid": added["uuid"],
            "urls": [
                {"filename": link["filename"], "key": f"{added['id']}/{link['type']}", "url": link["url"]}
                for link in added.get("links") or ()
            ],
        }
        for added in outcome.value["samples"]
    ]


@method("samples.update_dimensions")
async def update_dimensions(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Set sizes where they are not known."""
    sizes: dict[int, tuple[int, int]] = {}
    for each in list_of(params, "samples"):
        if not isinstance(each, dict):
            raise wrong("samples", "a list of objects")
        sizes[id_of(each, "id")] = whole_of(each, "width"), whole_of(each, "height")

    def names(studio: Studio, principal: Principal) -> tuple[str, dict[int, str]]:
        dataset = dataset_of_row(studio, principal, id_of(params, "dataset_id"))
        return dataset.name, _uuids(studio, dataset, list(sizes))

    dataset, uuids = await rpc.read(names)
    if not uuids:
        return {"updated": 0}
    outcome = await rpc.call(
        "set_sample_sizes",
        dataset_name=dataset,
        sizes=[
            {"id": uuid, "width": sizes[row_id][0], "height": sizes[row_id][1]}
            for row_id, uuid in uuids.items()
        ],
    )
    return {"updated": outcome.value["changed"]}


def _name_bare(params: dict[str, Any], files: Sequence[str], page: Sequence[SensorSample]) -> bool:
    """Whether samples without a picture are told by name (see ``WireView.name_bare``).

    Newer clients, which ask for ``gps`` with every file, give up a whole download of pictures over one.
    Unless several stand alone: these would get one name there, and overwrite each other.
    """
    newer = not set(SENSORS_IN_META).isdisjoint(texts_of(params, "types") or ())
    alone = sum(IMAGE not in sample.files and sample.sequence is None for sample in page)
    return not newer or IMAGE not in files or alone > 1


class _Links:
    """Signed addresses of files."""

    def __init__(self, studio: Studio, base_url: str) -> None:
        self._signer = studio.signer
        self._base_url = base_url

    def __call__(self, file: StoredFile) -> str:
        token = self._signer.token(
            {"op": "get", "sha": file.sha256, "ct": file.mime_type, "fn": file.filename}, LINK_SECONDS
        )
        return f"{self._base_url}/_blob/{token}"


def _asked(studio: Studio, principal: Principal, params: dict[str, Any]) -> tuple[Dataset, int | None]:
    """The dataset, and the row of the annotation set if one is named, which must be of it."""
    dataset = dataset_of_row(studio, principal, id_of(params, "dataset_id"))
    set_id = optional_id(params, "annotation_set_id")
    if set_id is None:
        return dataset, None
    found = set_of_row(studio, principal, set_id)
    if found.dataset.row_id != dataset.row_id:
        raise NotFound(
            f"Dataset {dataset.name!r} has no annotation set as-{set_id:x}.",
            code="annotation_set_not_found",
            fix="Ask for the annotation sets of the dataset.",
        )
    return dataset, set_id


def _names(studio: Studio, principal: Principal, params: dict[str, Any]) -> tuple[str, str | None]:
    dataset, set_id = _asked(studio, principal, params)
    return dataset.name, None if set_id is None else set_of_row(studio, principal, set_id).name


def _labels(dataset: Dataset) -> dict[str, int]:
    return {each.name: each.index or 0 for each in dataset.classes}


def _types(params: dict[str, Any]) -> tuple[set[str], list[str]]:
    """What ``types`` asks for: places of annotations, and types of files."""
    places: set[str] = set()
    files: list[str] = []
    for name in texts_of(params, "types") or ():
        if name in ANNOTATION_TYPES:
            places.add(name)
        elif name in {"polygon", "seg"}:
            places.add("mask")
        elif name not in SENSORS_IN_META and name != "all":
            files.append(file_type(name).name)
    return places, files


def _after(params: dict[str, Any]) -> int:
    token = optional_text(params, "continue_token")
    if token is None:
        return 0
    if not token.isascii() or not token.isdecimal() or len(token) > 18:
        raise InvalidInput(
            "This continue_token is not one of samples.list.",
            code="invalid_params",
            fix="Send it as it came, or leave it out for the first page.",
        )
    return int(token)


def _uuids(studio: Studio, dataset: Dataset, row_ids: Sequence[int]) -> dict[int, str]:
    """By row, the UUIDs of those rows that are living samples of the dataset."""
    import sqlalchemy as sa

    found: dict[int, str] = {}
    with studio.database.read() as connection:
        for start in range(0, len(row_ids), 500):
            rows = connection.execute(
                sa.select(samples.c.id, samples.c.uuid).where(
                    samples.c.id.in_(row_ids[start : start + 500]),
                    samples.c.dataset_id == dataset.row_id,
                    samples.c.deleted_at.is_(None),
                )
            )
            found |= {row.id: row.uuid for row in rows}
    return found
