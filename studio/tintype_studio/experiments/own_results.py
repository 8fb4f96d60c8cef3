"""What came of trainings and evaluations of this server, as metrics and files of their sessions.

Nothing is copied: it is read from the run, its epochs, its model and the evaluation.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from tintype_studio.experiments.files import StoredFile
from tintype_studio.experiments.parameters import without_nulls
from tintype_studio.storage.training_tables import evaluations, models, training_runs
from tintype_studio.training.run import Epoch, read_epochs

if TYPE_CHECKING:
    from tintype_studio.studio import Studio

ARTIFACTS, CHECKPOINTS, METRICS = "artifacts/", "checkpoints/", "metrics/"
MODEL = "model.onnx"
CHECKPOINT = "best.pt"


def metrics_of_run(studio: Studio, run_row_id: int) -> dict[str, Any]:
    """Figures of the last epoch, of the finished model once there is one; and ``history``, epoch by epoch."""
    with studio.database.read() as connection:
        row = _run(connection, run_row_id)
        epochs = read_epochs(connection, run_row_id)
    told = {**row["metrics"], "epochs": row["epochs_done"], "best_epoch": row["best_epoch"]}
    if epochs:
        told["history"] = [{"epoch": epoch.number, **epoch.metrics} for epoch in epochs]
    return without_nulls(told)  # type: ignore[no-any-return]


def metrics_of_evaluation(studio: Studio, evaluation_row_id: int) -> dict[str, Any]:
    """The figures, those of each class, and of how many images."""
    row = _evaluation(studio, evaluation_row_id)
    found = orjson.loads(studio.blobs.get(row["sha256"]))
    told = {
        **found["metrics"],
        "images": found["images"],
        "objects": found["objects"],
        "split": row["split"].partition("@")[0],
        "per_class": found["per_class"] or None,
        "attributes": found.get("attributes") or None,
    }
    return without_nulls(told)  # type: ignore[no-any-return]


def files_of_run(studio: Studio, run_row_id: int) -> list[StoredFile]:
    """Artifacts, the checkpoint and metrics, by path; the model's once it is ready."""
    with studio.database.read() as connection:
        run = _run(connection, run_row_id)
        epochs = read_epochs(connection, run_row_id)
        model = (
            connection.execute(
                sa.select(models).where(models.c.run_id == run_row_id, models.c.ready_at.is_not(None))
            )
            .mappings()
            .first()
        )
        first = None
        if model is not None:
            query = sa.select(evaluations).where(evaluations.c.model_id == model["id"])
            first = connection.execute(query.order_by(evaluations.c.id).limit(1)).mappings().first()
    made = run["finished_at"] or run["created_at"]
    files = [_made(METRICS + "epochs.csv", _table(epochs), made)] if epochs else []
    if run["metrics"]:
        files.append(_made(METRICS + "metrics.json", _json(without_nulls(run["metrics"])), made))
    if model is not None:
        files += _of_model(model)
    if first is not None:
        files += _of_evaluation(studio, first, ARTIFACTS)
    return sorted(files, key=lambda file: file.path)


def files_of_evaluation(studio: Studio, evaluation_row_id: int) -> list[StoredFile]:
    """The evaluation as JSON, and its pictures."""
    return _of_evaluation(studio, _evaluation(studio, evaluation_row_id), "")


def _of_model(row: sa.RowMapping) -> Iterable[StoredFile]:
    ready = row["ready_at"]
    for path, column in (
        (ARTIFACTS + MODEL, "onnx"),
        (ARTIFACTS + "attributes.onnx", "heads"),
        (CHECKPOINTS + CHECKPOINT, "checkpoint"),
    ):
        if row[f"{column}_sha256"] is not None:
            yield StoredFile(path, row[f"{column}_size"], row[f"{column}_sha256"], ready)
    classes = (row["signature"] or {}).get("classes", ())
    yield _made(ARTIFACTS + "labels.txt", "".join(f"{name}\n" for name in classes).encode(), ready)
    yield _made(ARTIFACTS + "model_card.json", _json(row["card"] or {}), ready)


def _of_evaluation(studio: Studio, row: sa.RowMapping, prefix: str) -> list[StoredFile]:
    digests = {"evaluation.json": row["sha256"]}
    digests |= {f"{name}.png": sha256 for name, sha256 in row["pictures"].items()}
    return [
        StoredFile(prefix + name, studio.blobs.size(sha256), sha256, row["created_at"])
        for name, sha256 in digests.items()
        if studio.blobs.exists(sha256)
    ]


def _run(connection: sa.Connection, run_row_id: int) -> sa.RowMapping:
    query = sa.select(training_runs).where(training_runs.c.id == run_row_id)
    return connection.execute(query).mappings().one()


def _evaluation(studio: Studio, row_id: int) -> sa.RowMapping:
    with studio.database.read() as connection:
        query = sa.select(evaluations).where(evaluations.c.id == row_id)
        return connection.execute(query).mappings().one()


def _table(epochs: list[Epoch]) -> bytes:
    names = list(dict.fromkeys(name for epoch in epochs for name in epoch.metrics))
    text = io.StringIO()
    writer = csv.DictWriter(text, ["epoch", *names, "seconds", "best"], lineterminator="\n")
    writer.writeheader()
    for epoch in epochs:
        facts = {"epoch": epoch.number, "seconds": round(epoch.seconds, 3), "best": int(epoch.best)}
        writer.writerow(facts | epoch.metrics)
    return text.getvalue().encode()


def _made(path: str, data: bytes, at: datetime) -> StoredFile:
    return StoredFile(path, len(data), None, at, data)


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)
