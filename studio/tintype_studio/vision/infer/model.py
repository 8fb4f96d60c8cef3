"""A trained model run by ONNX Runtime: pictures in, predictions out.

Models stay open between calls, by the digest of their file: a process opens each once.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

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

_T = TypeVar("_T")


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
        try:
            session = session_of(data, threads)
            described = session.get_modelmeta().custom_metadata_map[METADATA_KEY]
            signature = Signature.from_json(orjson.loads(described))
            fits = [each.name for each in session.get_inputs()] == [INPUT]
            fits &= tuple(each.name for each in session.get_outputs()) == OUTPUTS[signature.task]
        except Exception as error:  # the runtime has no common base for what it raises
            raise foreign() from error
        if not fits:
            raise foreign()
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


def session_of(data: bytes, threads: int | None) -> Any:
    """An ONNX Runtime session of a file, on CUDA where there is some; ``threads`` as ``OnnxModel`` has it."""
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
    return onnxruntime.InferenceSession(data, options, providers=providers)


def foreign() -> InvalidInput:
    """The one answer to a file that no training here has made."""
    return InvalidInput(
        "The file is no model that was trained here.",
        code="not_our_model",
        fix="Use a model that list_models shows, or train one with train_pipeline.",
    )


class OpenFiles(Generic[_T]):
    """Files of models that a process keeps open, by their digest; each is opened once, however many ask."""

    def __init__(self, make: Callable[[bytes], _T], most: int) -> None:
        self._make, self._most = make, most
        self._open: OrderedDict[str, _T] = OrderedDict()
        self._opening: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def get(self, blobs: Blobs, sha256: str) -> _T:
        """The file, open. Raises ``Unavailable`` (``model_file_missing``)."""
        with self._guard:
            lock = self._opening.setdefault(sha256, threading.Lock())
        with lock:
            with self._guard:
                found = self._open.get(sha256)
            if found is None:
                try:
                    data = blobs.get(sha256)
                except NotFound:
                    raise Unavailable(
                        "The stored file of this model is gone.",
                        code="model_file_missing",
                        fix="Ask the operator to restore the blob store, or train the model again.",
                        retryable=False,
                    ) from None
                found = self._make(data)
            with self._guard:
                self._open[sha256] = found
                self._open.move_to_end(sha256)
                while len(self._open) > self._most:
                    self._opening.pop(self._open.popitem(last=False)[0], None)
        return found


_open = OpenFiles(OnnxModel.from_bytes, KEPT_IN_MEMORY)


def open_model(blobs: Blobs, onnx_sha256: str) -> OnnxModel:
    """The model with that digest, from this process's memory if it is there.

    Raises ``Unavailable`` (``model_file_missing``).
    """
    return _open.get(blobs, onnx_sha256)
