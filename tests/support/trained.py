"""The fake training session, whose models come with a real evaluation and real pictures."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from PIL import Image
from support.training_session import epoch, prepare
from support.training_session import finish as finish_plainly

from tintype_studio.storage.blobs import Blobs
from tintype_studio.vision.evaluate.evaluation import Confusion, Evaluation
from tintype_studio.vision.tasks import Task
from tintype_studio.vision.train.session import Finished, Order, StoredFile

if TYPE_CHECKING:
    from support.training import Script

__all__ = ["curves", "epoch", "finish", "prepare", "use_fake_models"]


def use_fake_models(monkeypatch: Any, folder: Path) -> Script:
    """Have runs of this process trained by this module."""
    from support.training import use_fake_session

    from tintype_studio.training import turn

    script = use_fake_session(monkeypatch, folder)
    monkeypatch.setattr(turn, "SESSION", __name__)
    monkeypatch.setattr(turn, "CURVES", f"{__name__}:curves")
    return script


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(out, "PNG")
    return out.getvalue()


def curves(history: list[dict[str, Any]], title: str) -> bytes:
    return png(30, len(history))


def finish(order: Order, checkpoint: str) -> Finished:
    blobs = Blobs(order.blob_url)
    done = finish_plainly(order, checkpoint)
    evaluation = Evaluation(
        task=Task.DETECTION,
        images=1,
        objects=2,
        metrics=dict(done.metrics),
        per_class=[
            {"name": "badge", "count": 2, "mAP": 0.51234, "recall": 0.7},
            {"name": "crate", "count": 0, "mAP": None, "recall": None},
        ],
        confusion=Confusion(("badge", "background"), ((2, 0), (1, 0)), "objects", 0.5),
    )
    data = orjson.dumps(evaluation.as_json())
    drawn = {"pr_curves": png(40, 20), "confusion": png(20, 20)}
    return replace(
        done,
        evaluation=StoredFile(blobs.put(data), len(data)),
        pictures={name: StoredFile(blobs.put(each), len(each)) for name, each in drawn.items()},
    )
