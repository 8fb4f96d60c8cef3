"""A trained model run by ONNX Runtime: pictures in, predictions out.

Models stay open between calls, by the digest of their file: a process opens each once.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tintype_studio.errors import InvalidInput, NotFound, Unavailable
from tintype_studio.storage.blobs import Blobs
from tintype_studio.vision.infer.decode import decode
from tintype_studio.vision.infer.prediction import Prediction
from tintype_studio.vision.letterbox import letterbox
from tintype_studio.vision.tasks import METADATA_KEY, OUTPUTS, Signature

BATCH = 8
"""Pictures that go through the network at a time."""
KEPT_IN_MEMORY = 4
"""Models that a process keeps open."""
INPUT = "images"


class OnnxModel:
    """An open model. May be called from many threads."""

    def __init__(self, session: Any, signature: Signature) -> None:
        self._session = session
        self.signature = signature

    @classmethod
    def from_bytes(cls, data: bytes, *, threads: int | None = None) -> OnnxModel:
        """Open an ONNX file that training here has made.

        ``threads`` of the CPU are used by one call, 0 for all cores; None for what ``OMP_NUM_THREADS`` says
        (one, in the children of a job), else all. Runs on CUDA where ONNX Runtime can. Raises InvalidInput
        (``not_our_model``) for any other file.
        """
        import onnxruntime

        if threads is None:
            said = os.environ.get("OMP_NUM_THREADS", "")
            threads = int(said) if said.isdecimal() else 0
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Threads that wait in a busy loop take the cores from the other children.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads == 0 else "0")
        there = onnxruntime.get_available_providers()
        providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in there]
        try:
            session = onnxruntime.InferenceSession(data, options, providers=providers)
            described = session.get_modelmeta().custom_metadata_map[METADATA_KEY]
            signature = Signature.from_json(orjson.loads(described))
            fits = [each.name for each in session.get_inputs()] == [INPUT]
            fits &= tuple(each.name for each in session.get_outputs()) == OUTPUTS[signature.task]
        except Exception as error:  # the runtime has no common base for what it raises
            raise _foreign() from error
        if not fits:
            raise _foreign()
        return cls(session, signature)

    def predict(
        self,
        images: Sequence[NDArray[np.uint8]],
        *,
        threshold: float,
        max_detections: int = 300,
        check: Callable[[], None] = lambda: None,
    ) -> list[Prediction]:
        """What is in each image, (H, W, 3) uint8 RGB; in pixels of that image, as ``decode`` has it.

        ``check`` is called before each batch of ``BATCH`` images; what it raises ends the call. Raises
        Unavailable (``engine_failed``) when the network breaks.
        """
        found: list[Prediction] = []
        for start in range(0, len(images), BATCH):
            check()
            part = images[start : start + BATCH]
            sizes = [(image.shape[1], image.shape[0]) for image in part]
            outputs = self.run(np.stack([letterbox(image, self.signature.image_size)[0] for image in part]))
            found += decode(
                self.signature, outputs, sizes, threshold=threshold, max_detections=max_detections
            )
        return found

    def run(self, squares: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Raw outputs for letterboxed pictures ``[N, S, S, 3]`` uint8."""
        batch = np.ascontiguousarray(squares.transpose(0, 3, 1, 2), np.float32)
        try:
            return [np.asarray(each, np.float32) for each in self._session.run(None, {INPUT: batch})]
        except Exception as error:
            raise Unavailable(
                "The model failed on this picture.",
                code="engine_failed",
                fix="Use another model or train it again; the operator finds the cause in the server's log.",
                retryable=False,
            ) from error


def _foreign() -> InvalidInput:
    return InvalidInput(
        "The file is no model that was trained here.",
        code="not_our_model",
        fix="Use a model that list_models shows, or train one with train_pipeline.",
    )


_open: OrderedDict[str, OnnxModel] = OrderedDict()
_opening: dict[str, threading.Lock] = {}
_guard = threading.Lock()


def open_model(blobs: Blobs, onnx_sha256: str) -> OnnxModel:
    """The model with that digest, from this process's memory if it is there.

    Raises ``Unavailable`` (``model_file_missing``).
    """
    key = onnx_sha256
    with _guard:
        lock = _opening.setdefault(key, threading.Lock())
    with lock:
        with _guard:
            model = _open.get(key)
        if model is None:
            try:
                data = blobs.get(onnx_sha256)
            except NotFound:
                raise Unavailable(
                    "The stored file of this model is gone.",
                    code="model_file_missing",
                    fix="Ask the operator to restore the blob store, or train the model again.",
                    retryable=False,
                ) from None
            model = OnnxModel.from_bytes(data)
        with _guard:
            _open[key] = model
            _open.move_to_end(key)
            while len(_open) > KEPT_IN_MEMORY:
                _opening.pop(_open.popitem(last=False)[0], None)
    return model
