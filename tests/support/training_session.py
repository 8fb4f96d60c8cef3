"""What a child process does in place of ``vision.train.session``: learns nothing, but keeps its word.

What each step is to do stands in a script: see ``support.training.Script``. Imports little, because every run
starts a process of its own.
"""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from tintype_studio import clock
from tintype_studio.errors import InvalidInput, Unavailable
from tintype_studio.storage.blobs import Blobs
from tintype_studio.vision.tasks import Signature, Task
from tintype_studio.vision.train.session import (
    EpochReport,
    Finished,
    HeadsReport,
    Order,
    Prepared,
    StoredFile,
)

SCRIPT = "TEST_TRAINING_SCRIPT"

_at = -1
"""The epoch that this process stands after."""


def prepare(order: Order) -> Prepared:
    script = _deed("prepare", order)
    work = Path(order.work_dir)
    work.mkdir(parents=True, exist_ok=True)
    (work / "images").write_bytes(b"x" * 1000)
    assert Blobs(order.blob_url).exists(order.export_sha256)
    return Prepared(
        ("badge", "crate"),
        {"train": 4, "val": 1, "test": 1},
        {"train": 8, "val": 2, "test": 2},
        {"badge": {"train": 4}, "crate": {"train": 4}},
        multi_label=False,
        notes=("The class crate stands in for others.", *script["notes"]),
        attributes={
            name: {
                attribute: {option: {"train": 2, "val": 1, "test": 1} for option in options}
                for attribute, options in of_class.items()
            }
            for name, of_class in (order.attributes or {}).items()
        },
    )


def epoch(
    order: Order, number: int, checkpoint: str | None, seconds_left: float, batch_size: int
) -> EpochReport:
    global _at
    script = _deed(str(number), order, checkpoint, batch_size)
    blobs = Blobs(order.blob_url)
    if _at != number - 1 and number > 1:
        state = None if checkpoint is None else blobs.get_derived(checkpoint)
        assert state == f"after {number - 1}".encode(), (number, checkpoint, state)
    key = f"training/{order.run_id}/{number}-{clock.new_id()}.pt"
    blobs.put_derived(key, f"after {number}".encode())
    _at = number
    deed, seconds = script["deed"], min(script["seconds"], seconds_left)
    return EpochReport(
        number=number,
        metrics={
            "train_loss": 1 / number,
            "train_box": 0.5 / number,
            "val_mAP_50": math.nan if deed == "nan" else 1 - 1 / number,
        },
        seconds=seconds,
        images_per_second=40.0,
        data_share=0.05,
        batch_size=batch_size,
        best=True,
        stop=deed in {"stop", "over"} or number == order.config.epochs,
        out_of_time=deed == "over",
        checkpoint=key,
        initialization="random",
        architecture="fake-nano",
        parameters=1000,
        device="cpu",
        peak_memory_bytes=1_000_000,
        notes=(f"Epoch {number} is tired.",) if deed == "stop" else (),
    )


def heads_epoch(
    order: Order, number: int, checkpoint: str | None, seconds_left: float, batch_size: int
) -> HeadsReport:
    script = _deed(f"heads-{number}", order, checkpoint, batch_size)
    blobs = Blobs(order.blob_url)
    if number > 1:
        state = None if checkpoint is None else blobs.get_derived(checkpoint)
        assert state == f"heads after {number - 1}".encode(), (number, checkpoint, state)
    key = f"training/{order.run_id}/heads-{number}-{clock.new_id()}.pt"
    blobs.put_derived(key, f"heads after {number}".encode())
    return HeadsReport(
        number=number,
        metrics={"train_loss": 1 / number, "val_loss": math.nan, "val_accuracy": 1 - 1 / (number + 1)},
        seconds=min(script["seconds"], seconds_left),
        batch_size=batch_size,
        best=True,
        stop=number == 3,
        checkpoint=key,
    )


def finish(order: Order, checkpoint: str, heads_checkpoint: str | None = None) -> Finished:
    _deed("finish", order, checkpoint, order.config.batch_size)
    blobs = Blobs(order.blob_url)
    state = blobs.get_derived(checkpoint)
    assert state is not None
    heads = None if heads_checkpoint is None else blobs.get_derived(heads_checkpoint)
    signature = Signature(Task.DETECTION, order.pipeline, ("badge", "crate"), order.config.image_size)

    def stored(what: bytes) -> StoredFile:
        data = what + b" of " + order.run_id.encode()
        return StoredFile(blobs.put(data), len(data))

    return Finished(
        signature=signature.as_json(),
        onnx=stored(b"onnx"),
        checkpoint=stored(b"weights"),
        evaluation=stored(b"evaluation"),
        pictures={"pr_curves": stored(b"curves")},
        metrics={"mAP": 0.5, "mAP_50": 0.9, "precision": 0.8, "recall": 0.7},
        evaluated_on="test",
        best_epoch=int(state.split()[-1]),
        onnx_check={"max_difference": 1e-6, "tolerance": 1e-3},
        initialization="random",
        architecture="fake-nano",
        parameters=1000,
        heads=None if heads is None else stored(heads),
        attributes=None if heads is None else order.attributes,
        heads_card=None if heads is None else {"evaluated_on": "test", "best_epoch": 3},
    )


def curves(history: list[dict[str, Any]], title: str) -> bytes:
    return f"{title}: {[each['train_loss'] for each in history]}".encode()


def _deed(
    step: str, order: Order, checkpoint: str | None = None, batch_size: int | None = None
) -> dict[str, Any]:
    path = Path(os.environ[SCRIPT])
    script = json.loads(path.read_text())
    log = path.with_suffix(".log")
    with log.open("a") as file:
        file.write(json.dumps([step, checkpoint, batch_size, order.config.batch_size]) + "\n")
    begun = sum(json.loads(line)[0] == step for line in log.read_text().splitlines())
    deeds = script["at"].get(step, [])
    deed = deeds[begun - 1] if begun <= len(deeds) else None
    if deed == "crash":
        os._exit(9)
    if deed == "memory":
        raise Unavailable("Not enough memory.", code="out_of_memory", retryable=False)
    if deed == "diverge":
        raise InvalidInput("The loss is not a number.", code="training_diverged", fix="Learn slower.")
    if deed == "full":
        raise Unavailable("The disk is full.", code="disk_full")
    if deed == "hang":
        time.sleep(60)
    return {"seconds": script["seconds"], "notes": script["notes"], "deed": deed}
