"""A model's attribute heads at work: pictures and boxes in, an option for each attribute out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tintype_studio.errors import Unavailable
from tintype_studio.storage.blobs import Blobs
from tintype_studio.vision.crops import crop_of
from tintype_studio.vision.heads import INPUT, METADATA_KEY, OUTPUT, Choices, HeadsSignature
from tintype_studio.vision.infer.model import OpenFiles, foreign, session_of

BATCH = 64
"""Crops that go through the network at a time."""
DIGITS = 4
"""After the point, of scores."""


class Heads:
    """Open heads. May be called from many threads."""

    def __init__(self, session: Any, signature: HeadsSignature) -> None:
        self._session = session
        self.signature = signature
        self._of_class = {head.name: signature.of_class(head.name) for head in signature.heads}

    @classmethod
    def from_bytes(cls, data: bytes, *, threads: int | None = None) -> Heads:
        """Open an ONNX file of heads that training here has made; ``threads`` as ``OnnxModel`` has them.

        Raises InvalidInput (``not_our_model``) for any other file.
        """
        try:
            session = session_of(data, threads)
            described = session.get_modelmeta().custom_metadata_map[METADATA_KEY]
            signature = HeadsSignature.from_json(orjson.loads(described))
            fits = [each.name for each in session.get_inputs()] == [INPUT]
            fits &= [each.name for each in session.get_outputs()] == [OUTPUT]
        except Exception as error:  # the runtime has no common base for what it raises
            raise foreign() from error
        if not fits:
            raise foreign()
        return cls(session, signature)

    def choose(
        self,
        image: NDArray[np.uint8],
        boxes: Sequence[Sequence[float]] | NDArray[np.floating],
        names: Sequence[str],
        *,
        check: Callable[[], None] = lambda: None,
    ) -> list[Choices]:
        """The options of each object: ``boxes`` are corners in pixels of the image, (H, W, 3) uint8 RGB,
        ``names`` the objects' classes. An object whose class has no heads gets no choice.

        ``check`` is called before each batch of ``BATCH`` crops; what it raises ends the call. Raises
        Unavailable (``engine_failed``) when the network breaks.
        """
        found: list[Choices] = [{} for _ in names]
        wanted = [index for index, name in enumerate(names) if name in self._of_class]
        for start in range(0, len(wanted), BATCH):
            check()
            part = wanted[start : start + BATCH]
            crops = np.stack([crop_of(image, boxes[index], self.signature.size) for index in part])
            for index, choices in zip(part, self.read(crops, [names[i] for i in part]), strict=True):
                found[index] = choices
        return found

    def read(self, crops: NDArray[np.uint8], names: Sequence[str]) -> list[Choices]:
        """The options of objects that ``crop_of`` has cut out, ``[N, S, S, 3]``."""
        batch = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32)
        try:
            logits = np.asarray(self._session.run(None, {INPUT: batch})[0], np.float64)
        except Exception as error:
            raise Unavailable(
                "The model's attribute heads failed on this picture.",
                code="engine_failed",
                fix="Use another model or train it again; the operator finds the cause in the server's log.",
                retryable=False,
            ) from error
        return [self._choices(row, name) for row, name in zip(logits, names, strict=True)]

    def _choices(self, logits: NDArray[np.float64], name: str) -> Choices:
        chosen: Choices = {}
        for head in self._of_class.get(name, ()):
            mine = logits[head.start : head.end]
            shares = np.exp(mine - mine.max())
            shares /= shares.sum()
            scores = {
                option: round(float(share), DIGITS)
                for option, share in zip(head.options, shares, strict=True)
            }
            best = head.options[int(shares.argmax())]
            chosen[head.attribute] = (best, scores[best], scores)
        return chosen


_open = OpenFiles(Heads.from_bytes, most=8)


def open_heads(blobs: Blobs, sha256: str) -> Heads:
    """The heads with that digest, from this process's memory if they are there.

    Raises ``Unavailable`` (``model_file_missing``).
    """
    return _open.get(blobs, sha256)
