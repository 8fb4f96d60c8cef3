"""Prediction tasks with a model whose answers are known: the red and blue cells of a scene."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import orjson
import sqlalchemy as sa
from onnx import TensorProto, helper, numpy_helper
from support.onnx_models import IR, OPSET, blob_detector
from support.ready_models import Cell, add_model, png, scene

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.identity.keys import Principal
from tintype_studio.predictions.asking import PredictionRequest
from tintype_studio.predictions.task import PredictionTask
from tintype_studio.storage.training_tables import models
from tintype_studio.storage.uploads import Ticket
from tintype_studio.studio import Studio
from tintype_studio.training.models import Model
from tintype_studio.vision.heads import INPUT, METADATA_KEY, OUTPUT, HeadsSignature
from tintype_studio.vision.tasks import Signature, Task

CELLS = Signature(Task.DETECTION, "yolox", ("red", "blue"), 64, nms_iou=0.5)
PICTURE = png(scene(64, 64, (1, 2, "red"), (3, 0, "blue")))


STATE = HeadsSignature.of({"red": {"State": ("on", "off")}}, 32)
ON = 0.88
"""How likely each red cell is said to be on."""


def add_cells(
    studio: Studio, principal: Principal, dataset: Dataset, *, heads: bool = False, **values: Any
) -> Model:
    """The model ``recognize_anything/cells``; with ``heads``, the state of every red cell is on."""
    model = add_model(studio, principal, dataset, CELLS, blob_detector(CELLS), **values)
    if heads:
        data = constant_heads(STATE, [2.0, 0.0])
        written = {"heads_sha256": studio.blobs.put(data), "heads_size": len(data)}
        with studio.database.write() as connection:
            connection.execute(sa.update(models).where(models.c.uuid == model.id).values(**written))
    return studio.models.get(principal, model.id)


def constant_heads(signature: HeadsSignature, logits: list[float]) -> bytes:
    """Heads that say the same of every crop."""
    size, count = signature.size, len(logits)
    nodes = [
        helper.make_node("ReduceMean", [INPUT], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "column"], ["column_of_it"]),
        helper.make_node("Add", ["column_of_it", "value"], [OUTPUT]),
    ]
    tensors = [
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.array([-1, 1], np.int64), "column"),
        numpy_helper.from_array(np.array([logits], np.float32), "value"),
    ]
    images = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", 3, size, size])
    output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", count])
    graph = helper.make_graph(nodes, "heads", [images], [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    helper.set_model_props(model, {METADATA_KEY: orjson.dumps(signature.as_json()).decode()})
    data: bytes = model.SerializeToString()
    return data


def put(studio: Studio, ticket: Ticket, data: bytes) -> None:
    """Have the bytes of a task's file in their place, as an upload leaves them."""
    path = Path(studio.home / "blobs" / ticket.path).parent
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def begun(studio: Studio, principal: Principal, data: bytes = PICTURE, **values: Any) -> PredictionTask:
    """A task whose file is there."""
    task, ticket = studio.predictions.begin(principal, **{"media": "image", **values})
    put(studio, ticket, data)
    return task


def ask(
    studio: Studio, principal: Principal, task: PredictionTask | None = None, **values: Any
) -> PredictionTask:
    """Start a prediction as a tool does: quote, hold, then job and hand-over in one transaction."""
    given = {} if task is None else {"task": task.id, "media": task.media}
    request = PredictionRequest(**{"model": "recognize_anything/cells", **given, **values})
    prepared = studio.predictions.prepare(principal, request)
    call_id = clock.new_id()
    principal = replace(principal, call_id=call_id, tool="predict_image", session="tests")
    if prepared.started is not None:
        return studio.predictions.start(principal, prepared)
    operation, amount = prepared.operation, prepared.credits
    studio.ledger.hold(principal, call_id=call_id, operation=operation, amount=amount)
    with studio.database.unit_of_work() as unit:
        started = studio.predictions.start(principal, prepared)
        assert started.job_id is not None
        studio.jobs.take_hold(unit.connection(), started.job_id, call_id)
    return studio.predictions.get(principal, started.id)


def scenes(
    path: Path,
    seconds: Sequence[float],
    *,
    rotation: int | None = None,
    until: float = 0.0,
    bare: Collection[float] = (),
) -> Path:
    """A video of 64 x 64 px whose frames are at ``seconds``: a red cell ``until`` then, a blue one after, and
    nothing in ``bare`` ones.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 64, "yuv420p", 12
        stream.codec_context.time_base = Fraction(1, 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for at in seconds:
            cells: list[Cell] = [(1, 2, "red")] if at < until or not until else [(3, 0, "blue")]
            cells = [] if at in bare else cells
            frame = av.VideoFrame.from_ndarray(scene(64, 64, *cells), "rgb24")
            frame.pts, frame.time_base = round(at * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
