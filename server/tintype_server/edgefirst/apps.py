"""Apps that jobs are started of by name: each is one of our tools, with its arguments as the job's data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tintype_server.edgefirst.params import optional_id
from tintype_studio.catalog.dataset_rows import dataset_of_row, set_of_row
from tintype_studio.errors import NotFound
from tintype_studio.experiments.session import TRAINING
from tintype_studio.identity.keys import Principal
from tintype_studio.names import printable
from tintype_studio.studio import Studio
from tintype_studio.wire_ids import wire_id


@dataclass(frozen=True, slots=True)
class App:
    """An app: its tool, and the kinds of jobs that come of it."""

    tool: str
    title: str
    kinds: tuple[str, ...]
    type: str
    """Of its tasks."""
    always: dict[str, Any] = field(default_factory=lambda: {"wait_seconds": 0})


APPS = {
    "trainer": App("train_pipeline", "Train a model", ("train",), "trainer"),
    "validator": App("start_validation", "Validate a training session", ("evaluate",), "validation"),
    "export": App("create_export", "Export a dataset", ("export",), "export"),
    "import": App("import_dataset", "Import a dataset", ("import_files",), "import"),
    "auto-ann": App("auto_annotate_dataset", "Annotate a dataset", ("auto_annotate",), "auto-ann"),
    "predict": App("predict_dataset", "Label a dataset with a model", ("predict",), "predict"),
    "verify": App("verify_dataset", "Check the images of a dataset", ("verify_images",), "verify-images"),
    "snapshot-create": App("create_snapshot", "Create a snapshot", ("create_snapshot",), "snapshot-create"),
    "snapshot-restore": App(
        "restore_snapshot", "Restore a snapshot", ("restore_snapshot",), "snapshot-restore"
    ),
}
ALIASES = {
    "edgefirst-trainer": "trainer",
    "train": "trainer",
    "edgefirst-validator": "validator",
    "validate": "validator",
    "validation": "validator",
}
_BY_KIND = {kind: (name, app.title) for name, app in APPS.items() for kind in app.kinds}
_BY_TYPE = {app.type: (name, app.title) for name, app in APPS.items()}


def app_of(name: str) -> tuple[str, App]:
    """The app of that name and its proper name; ``NotFound`` (``app_not_found``)."""
    proper = ALIASES.get(name, name)
    if proper not in APPS:
        raise NotFound(
            f"There is no app {printable(name[:80])!r}.",
            code="app_not_found",
            fix=f"The apps are: {', '.join(APPS)}.",
        )
    return proper, APPS[proper]


def told_of_kind(kind: str | None, type: str) -> tuple[str, str]:
    """Name and title of the app that jobs of a kind come of, or what stands for them."""
    return _BY_KIND.get(kind or "") or _BY_TYPE.get(type, (type, type))


def arguments_of(app: App, studio: Studio, principal: Principal, data: dict[str, Any]) -> dict[str, Any]:
    """The tool's arguments: a job's data, where ids of rows may stand for names."""
    told = dict(data)
    names: dict[str, tuple[str, Callable[[int], str]]] = {
        "dataset_id": ("dataset_name", lambda row: dataset_of_row(studio, principal, row).name),
        "annotation_set_id": ("annotation_set", lambda row: set_of_row(studio, principal, row).name),
        "project_id": ("project", lambda row: studio.projects.of_row(principal, row).name),
        "training_session_id": ("training_session_id", lambda row: wire_id(TRAINING, row)),
        "snapshot_id": ("snapshot_id", lambda row: wire_id("ss", row)),
    }
    for given, (wanted, name_of) in names.items():
        row_id = optional_id(told, given)
        if row_id is not None:
            del told[given]
            told[wanted] = name_of(row_id)
    return told | app.always
