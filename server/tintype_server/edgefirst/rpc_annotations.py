"""Samples that go, and annotations of samples that stay."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_server.edgefirst.methods import Rpc, method
from tintype_server.edgefirst.params import id_of, list_of, optional_id, texts_of, wrong
from tintype_server.edgefirst.sample_reading import annotation_arguments
from tintype_studio.catalog.dataset_rows import SetRow, dataset_of_row, label_of_row, set_of_row
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.multisensor.editing import PLACES
from tintype_studio.storage.tables import samples
from tintype_studio.studio import Studio

AT_ONCE = 10_000
"""Samples of one deletion."""

_TYPES = {
    "box": "box",
    "box2d": "box",
    "bbox": "box",
    "seg": "seg",
    "mask": "seg",
    "polygon": "seg",
    "box3d": "box3d",
}


@method("image.delete_from_dataset")
async def delete_samples(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Put samples into the recycle bin: some, those of sequences, or all."""
    row_ids = _ids(params, "image_ids")
    sequence_ids = _ids(params, "sequence_ids")
    everything = params.get("delete_all") is True

    def find(studio: Studio, principal: Principal) -> tuple[str, list[str]]:
        dataset = dataset_of_row(studio, principal, id_of(params, "dataset_id"))
        mine = [samples.c.dataset_id == dataset.row_id, samples.c.deleted_at.is_(None)]
        found: list[str] = []
        with studio.database.read() as connection:
            if everything:
                found = list(connection.execute(sa.select(samples.c.uuid).where(*mine)).scalars())
            for column, ids in ((samples.c.id, row_ids), (samples.c.sequence_id, sequence_ids)):
                for start in range(0, len(ids), 500):
                    query = sa.select(samples.c.uuid).where(*mine, column.in_(ids[start : start + 500]))
                    found += connection.execute(query).scalars()
        return dataset.name, list(dict.fromkeys(found))

    dataset, uuids = await rpc.read(find)
    if not uuids and not everything:
        raise NotFound(
            "None of these samples is in the dataset.",
            code="sample_not_found",
            fix="Ask for the samples of the dataset to see their ids.",
        )
    for start in range(0, len(uuids), AT_ONCE):
        await rpc.call("delete_images", dataset_name=dataset, image_ids=uuids[start : start + AT_ONCE])
    return f"deleted {len(uuids)}"


TOLD = (
    *("image_id", "annotation_set_id", "label_id", "type", "object_reference", "score", "polygon", "box3d"),
    *("x", "y", "w", "h"),
)
"""What an answer repeats of an annotation; clients send no more, and anything else might be untellable."""


@method("annotation.add_bulk")
async def add_annotations(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Add annotations to samples that are there."""
    sent = list_of(params, "annotations")
    if not all(isinstance(each, dict) for each in sent):
        raise wrong("annotations", "a list of objects")
    if not sent:
        return []
    wanted = list(dict.fromkeys(id_of(each, "image_id") for each in sent))
    label_ids = {label for each in sent if (label := optional_id(each, "label_id")) is not None}

    def find(studio: Studio, principal: Principal) -> tuple[SetRow, dict[int, Any], dict[int, str]]:
        found = set_of_row(studio, principal, id_of(params, "annotation_set_id"))
        labels: dict[int, str] = {}
        for label_id in label_ids:
            label = label_of_row(studio, principal, label_id)
            if label.dataset_row_id != found.dataset.row_id:
                raise NotFound(
                    f"Dataset {found.dataset.name!r} has no label {label_id}.",
                    code="label_not_found",
                    fix="Ask for the labels of the dataset.",
                )
            labels[label_id] = label.name
        return found, _rows(studio, found, wanted), labels

    annotation_set, rows, labels = await rpc.read(find)
    edits: dict[str, list[dict[str, Any]]] = {}
    made: list[dict[str, Any]] = []
    for each in sent:
        row = rows[id_of(each, "image_id")]
        new_id = str(uuid.uuid4())
        edits.setdefault(row.uuid, []).append(
            annotation_arguments(
                _as_sample_annotation(each, labels), (row.width or 1, row.height or 1), new_id
            )
        )
        made.append({key: each[key] for key in TOLD if key in each} | {"uuid": new_id})
    await rpc.call(
        "edit_annotations",
        dataset_name=annotation_set.dataset.name,
        annotation_set=annotation_set.name,
        edits=[{"sample_id": sample, "add": added} for sample, added in edits.items()],
    )
    return made


@method("annotation.bulk.del")
async def delete_annotations(rpc: Rpc, params: dict[str, Any]) -> Any:
    """Take one kind of annotations away from samples."""
    kinds: list[str] = []
    for name in texts_of(params, "annotation_types") or ():
        if name not in _TYPES:
            raise InvalidInput(
                f"{name[:40]!r} is not a type of annotations.",
                code="invalid_params",
                fix=f"Use {', '.join(PLACES)}.",
            )
        kinds.append(_TYPES[name])
    wanted = _ids(params, "image_ids")
    if not kinds or not wanted:
        return "deleted 0"

    def find(studio: Studio, principal: Principal) -> tuple[SetRow, dict[int, Any]]:
        found = set_of_row(studio, principal, id_of(params, "annotation_set_id"))
        return found, _rows(studio, found, wanted)

    annotation_set, rows = await rpc.read(find)
    outcome = await rpc.call(
        "edit_annotations",
        dataset_name=annotation_set.dataset.name,
        annotation_set=annotation_set.name,
        edits=[{"sample_id": row.uuid, "remove": sorted(set(kinds))} for row in rows.values()],
    )
    return f"deleted {outcome.value['removed']}"


def _as_sample_annotation(sent: dict[str, Any], labels: dict[int, str]) -> dict[str, Any]:
    """An annotation in the form of those that come with samples; only a label's id says the label."""
    found = {key: value for key, value in sent.items() if key in {"object_reference", "box3d"}}
    label_id = optional_id(sent, "label_id")
    if label_id is not None:
        found["label_name"] = labels[label_id]
    score = sent.get("score")
    kind = _TYPES.get(str(sent.get("type")))
    if kind is None:
        raise InvalidInput(
            f"{str(sent.get('type'))[:40]!r} is not a type of annotations.",
            code="invalid_params",
            fix=f"Use {', '.join(PLACES)}.",
        )
    if kind == "seg":
        outline = sent.get("polygon")
        if isinstance(outline, str):
            try:
                outline = orjson.loads(outline)
            except orjson.JSONDecodeError:
                raise wrong("polygon", "the text of a JSON list of rings") from None
        found |= {"mask": outline, "polygon_score": score}
    if kind == "box":
        found |= {"box2d": {side: sent.get(side) for side in "xywh"}, "box2d_score": score}
    return found


def _ids(params: dict[str, Any], name: str) -> list[int]:
    sent = params.get(name)
    if sent is None:
        return []
    if not isinstance(sent, list):
        raise wrong(name, "a list of ids")
    return list(dict.fromkeys(id_of({name: each}, name) for each in sent))


def _rows(studio: Studio, annotation_set: SetRow, row_ids: Sequence[int]) -> dict[int, Any]:
    """Id, UUID and size of living samples of the set's dataset; ``NotFound`` unless all of them are."""
    found: dict[int, Any] = {}
    with studio.database.read() as connection:
        for start in range(0, len(row_ids), 500):
            rows = connection.execute(
                sa.select(samples.c.id, samples.c.uuid, samples.c.width, samples.c.height).where(
                    samples.c.id.in_(row_ids[start : start + 500]),
                    samples.c.dataset_id == annotation_set.dataset.row_id,
                    samples.c.deleted_at.is_(None),
                )
            )
            found |= {row.id: row for row in rows}
    for row_id in row_ids:
        if row_id not in found:
            raise NotFound(
                f"Dataset {annotation_set.dataset.name!r} has no sample s-{row_id:x}.",
                code="sample_not_found",
                fix="Ask for the samples of the dataset to see their ids.",
            )
    return found
