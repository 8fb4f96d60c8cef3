"""A network's answers on prepared images, decoded and measured: validation, test, and the check of ONNX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tintype_studio.vision.evaluate.evaluation import Evaluation
from tintype_studio.vision.evaluate.evaluator import MAX_DETECTIONS, THRESHOLD, evaluate
from tintype_studio.vision.infer.decode import decode
from tintype_studio.vision.infer.prediction import Prediction
from tintype_studio.vision.tasks import Signature, Task
from tintype_studio.vision.train.prepared import PreparedData

if TYPE_CHECKING:
    import torch

BATCH = 16

Answer = Callable[[NDArray[np.float32]], Sequence[NDArray[np.float32]]]
"""From ``[N, 3, S, S]`` to the outputs of ``tasks.OUTPUTS``."""

MAIN_METRIC = {
    Task.DETECTION: "mAP",
    Task.INSTANCES: "mAP",
    Task.SEMANTIC: "mIoU",
    Task.CLASSIFICATION: "f1",
}
"""What is best is best in this."""


def torch_answer(module: torch.nn.Module, device: torch.device) -> Answer:
    """Ask a network, which is put into evaluation mode; it is the exportable one."""
    import torch

    module.eval()

    def answer(images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        with torch.inference_mode():
            tensor = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
            return [each.float().cpu().numpy() for each in module(tensor)]

    return answer


def pixels(data: PreparedData, indices: Sequence[int]) -> NDArray[np.float32]:
    """``[N, 3, S, S]`` as networks take them."""
    squares = np.stack([data.image(index) for index in indices])
    return np.ascontiguousarray(squares.transpose(0, 3, 1, 2), np.float32)


def predictions(
    answer: Answer, signature: Signature, data: PreparedData, indices: Sequence[int], *, original: bool
) -> Iterator[Prediction]:
    """Of images, in pixels of the originals or of the square."""
    for start in range(0, len(indices), BATCH):
        chunk = indices[start : start + BATCH]
        items = [data.items[index] for index in chunk]
        sizes = [(i.width, i.height) if original else (data.size, data.size) for i in items]
        yield from decode(
            signature,
            answer(pixels(data, chunk)),
            sizes,
            threshold=THRESHOLD,
            max_detections=MAX_DETECTIONS,
        )


def measure(
    answer: Answer, signature: Signature, data: PreparedData, indices: Sequence[int], *, original: bool
) -> Evaluation:
    """Figures of a network on images."""
    return evaluate(
        signature,
        predictions(answer, signature, data, indices, original=original),
        (data.truth(index, original=original) for index in indices),
    )


def numbers(evaluation: Evaluation) -> dict[str, float]:
    """The metrics that have a value."""
    return {name: float(value) for name, value in evaluation.metrics.items() if value is not None}
