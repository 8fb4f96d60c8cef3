"""A trained network as one ONNX file, and the proof that ONNX Runtime answers what torch answers."""

from __future__ import annotations

import contextlib
import io
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from torch import nn

from tintype_studio.errors import TintypeError
from tintype_studio.vision.tasks import METADATA_KEY, OUTPUTS, Signature, Task
from tintype_studio.vision.train.lean_graph import lean
from tintype_studio.vision.train.validate import Answer, torch_answer

OPSET = 18
TOLERANCE = 1e-3
"""Largest difference of an output, in proportion to the largest value that torch gives."""

NOISE = 8
"""Pictures of noise that networks are asked about which choose places by rank."""

PART = 4
"""Pictures in one answer."""

TIMED = 20
"""Runs on one image, by turns, of which the fastest counts: the others tell what else the machine did."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An ONNX file that was checked."""

    data: bytes
    exporter: str
    """``torchscript`` or ``dynamo``."""
    difference: float
    """As ``TOLERANCE`` counts; of a network that ranks places, the median of the pictures."""
    torch_seconds: float
    onnx_seconds: float
    """Fastest for one image, each on all cores."""


def export(module: nn.Module, signature: Signature, samples: NDArray[np.float32]) -> Exported:
    """Export the exportable module (on the CPU, in evaluation mode); ``samples`` ``[N, 3, S, S]`` (N ≥ 2) are
    what both are asked.

    The older exporter comes first: its files run as fast, it takes a second where the other takes many. If it
    fails, or its file answers otherwise, the other one is tried. Raises ``TintypeError`` (``export_failed``)
    when neither gives a file that passes.

    A network that chooses its places by rank (no ``nms_iou``) chooses anyhow among places of one score, of
    which a flat background has many: there torch and ONNX Runtime differ, and both are right. So pictures of
    noise, whose places all differ, are asked about too, and most of all pictures have to agree; a mistake of
    the exporter would show in every one.
    """
    module.eval()
    ask_torch = torch_answer(module, torch.device("cpu"))
    ranks = signature.task in (Task.DETECTION, Task.INSTANCES) and signature.nms_iou is None
    if ranks:
        shape = (NOISE, *samples.shape[1:])
        noise = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
        samples = np.concatenate([samples, noise])
    expected = _in_parts(ask_torch, samples)
    problems = []
    for exporter in ("torchscript", "dynamo"):
        try:
            with _quiet():
                data = _exported(module, signature, samples[:2], dynamo=exporter == "dynamo")
            answer = onnx_answer(data)
            # Another number of images than it was exported with, too.
            found = [answer(samples[:1]), _in_parts(answer, samples)]
        except Exception as error:
            problems.append(f"{exporter}: {type(error).__name__}")
            continue
        offs = differences(found[1], expected)
        offs[0] = max(offs[0], differences(found[0], [each[:1] for each in expected])[0])
        off = sorted(offs)[len(offs) // 2 if ranks else -1]
        if off <= TOLERANCE:
            return Exported(data, exporter, off, *_seconds((ask_torch, answer), samples[:1]))
        problems.append(f"{exporter}: answers differ by {off:.2g}")
    raise TintypeError(
        f"The trained network could not be exported to ONNX ({'; '.join(problems)}).",
        code="export_failed",
        fix="Train with another seed or pipeline, and report this with the pipeline's name.",
    )


def difference(found: Sequence[NDArray[np.floating]], expected: Sequence[NDArray[np.floating]]) -> float:
    """The largest difference of any output, in proportion to its largest value (at least 1)."""
    return max(differences(found, expected))


def differences(
    found: Sequence[NDArray[np.floating]], expected: Sequence[NDArray[np.floating]]
) -> list[float]:
    """The same of each picture."""
    off = np.zeros(len(expected[0]))
    for a, b in zip(found, expected, strict=True):
        apart = np.abs(a - b).reshape(len(b), -1).max(axis=1, initial=0.0)
        off = np.maximum(off, apart / max(1.0, float(np.abs(b).max(initial=0.0))))
    return [float(each) for each in np.nan_to_num(off, nan=np.inf)]


def _in_parts(answer: Answer, samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The answers about all, a few pictures at a time: large ones take room."""
    parts = [answer(samples[start : start + PART]) for start in range(0, len(samples), PART)]
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def onnx_answer(data: bytes) -> Answer:
    """Ask a file by ONNX Runtime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def answer(images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return [np.asarray(each) for each in session.run(None, {"images": images})]

    return answer


def _exported(
    module: nn.Module, signature: Signature, samples: NDArray[np.float32], *, dynamo: bool
) -> bytes:
    import onnx

    names = list(OUTPUTS[signature.task])
    images = torch.from_numpy(samples)
    out = io.BytesIO()
    if dynamo:
        program = torch.onnx.export(
            module,
            (images,),
            dynamo=True,
            input_names=["images"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
            external_data=False,
            verbose=False,
        )
        assert program is not None
        model = program.model_proto
    else:
        torch.onnx.export(
            module,
            (images,),
            out,
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=names,
            dynamic_axes={name: {0: "N"} for name in ("images", *names)},
        )
        model = onnx.load_from_string(out.getvalue())
        # Should it ever spoil a file, that differs from torch, and the other exporter's is left alone.
        lean(model)
    onnx.helper.set_model_props(model, {METADATA_KEY: orjson.dumps(signature.as_json()).decode()})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _seconds(answers: tuple[Answer, Answer], image: NDArray[np.float32]) -> tuple[float, float]:
    best = [float("inf")] * 2
    for _ in range(TIMED):
        for index, answer in enumerate(answers):
            started = time.perf_counter()
            answer(image)
            best[index] = min(best[index], time.perf_counter() - started)
    return best[0], best[1]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' words about themselves."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
