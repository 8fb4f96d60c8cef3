"""Dry runs of changes of projects, annotation sets, labels and groups."""

from __future__ import annotations

from typing import Any

from support.dry_world import Ready, Refusals, World


def _set(name: str) -> dict[str, Any]:
    return {"dataset_name": "signs", "name": name}


def _made(world: World) -> dict[str, Any]:
    world.live("create_annotation_set", _set("model"))
    return _set("model")


def _shared(world: World) -> dict[str, Any]:
    world.live("manage_labels", {"dataset_name": "signs", "add": [{"name": "van", "index": 40}]})
    return {"dataset_name": "signs", "add": [{"name": "lorry", "index": 40}]}


READY: Ready = {
    "create_project": lambda w: {"name": "road"},
    "create_annotation_set": lambda w: _set("model"),
    "delete_annotation_set": _made,
    "manage_labels": lambda w: {
        "dataset_name": "signs",
        "add": [{"name": "lorry"}],
        "update": [{"name": "sign", "new_name": "road sign", "index": 9}],
    },
    "set_split": lambda w: {"dataset_name": "signs", "group": "val", "image_ids": [w.image().id]},
    "split_dataset": lambda w: {"dataset_name": "signs", "ratios": {"train": 0.5, "val": 0.5}},
}
REFUSED: Refusals = [
    ("create_project", "project_exists", lambda w: {"name": "default"}),
    ("create_project", "invalid_name", lambda w: {"name": "a/b"}),
    ("create_dataset", "project_not_found", lambda w: {"name": "new", "project": "x"}),
    ("create_annotation_set", "annotation_set_exists", lambda w: _set("default")),
    ("create_annotation_set", "dataset_not_found", lambda w: {"dataset_name": "x", "name": "model"}),
    ("delete_annotation_set", "annotation_set_not_found", lambda w: _set("x")),
    ("delete_annotation_set", "default_set", lambda w: _set("default")),
    ("manage_labels", "nothing_to_change", lambda w: {"dataset_name": "signs"}),
    ("manage_labels", "label_not_found", lambda w: {"dataset_name": "signs", "remove": ["x"]}),
    ("manage_labels", "class_in_use", lambda w: {"dataset_name": "signs", "remove": ["sign"]}),
    ("manage_labels", "index_taken", _shared),
    (
        "set_split",
        "sample_not_found",
        lambda w: {"dataset_name": "signs", "group": "val", "image_ids": ["x"]},
    ),
    (
        "set_split",
        "invalid_name",
        lambda w: {"dataset_name": "signs", "group": "a/b", "image_ids": [w.image().id]},
    ),
    ("set_split", "invalid_batch", lambda w: {"dataset_name": "signs", "group": None}),
    (
        "split_dataset",
        "invalid_ratios",
        lambda w: {"dataset_name": "signs", "ratios": {"train": 0.5, "val": 0.4}},
    ),
    (
        "split_dataset",
        "nothing_to_split",
        lambda w: {"dataset_name": "signs", "ratios": {"train": 1}, "only_groups": ["test"]},
    ),
]
