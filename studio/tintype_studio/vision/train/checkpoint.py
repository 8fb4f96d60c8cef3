"""Training's checkpoints and the finished weights, as bytes that ``torch.load(weights_only=True)`` reads.

A checkpoint is all of a run's state. Random numbers are not in it: they follow from seed, epoch and place.
"""

from __future__ import annotations

import io
from typing import Any

import torch

from tintype_studio import clock
from tintype_studio.errors import Unavailable
from tintype_studio.storage.blobs import Blobs
from tintype_studio.vision.tasks import Signature

FORMAT = "tintype-training-1"
WEIGHTS_FORMAT = "tintype-weights-1"


def to_bytes(values: dict[str, Any]) -> bytes:
    """Tensors and plain values as a torch archive."""
    out = io.BytesIO()
    torch.save(values, out)
    return out.getvalue()


def from_bytes(data: bytes, format: str) -> dict[str, Any]:
    """What ``to_bytes`` wrote, on the CPU. Raises ``Unavailable`` (``checkpoint_broken``)."""
    try:
        values: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if values["format"] != format:
            raise KeyError("format")
    except Exception as error:
        raise Unavailable(
            "A stored checkpoint of this training cannot be read.",
            code="checkpoint_broken",
            fix="Start the training again.",
            retryable=False,
        ) from error
    return values


def store(blobs: Blobs, run_id: str, epoch: int | str, values: dict[str, Any]) -> str:
    """Keep a checkpoint under a new key, which is returned."""
    key = f"training/{run_id}/{epoch}-{clock.new_id()}.pt"
    blobs.put_derived(key, to_bytes({"format": FORMAT, **values}))
    return key


def load(blobs: Blobs, key: str) -> dict[str, Any]:
    """The checkpoint of a key. Raises ``Unavailable`` (``checkpoint_missing``, ``checkpoint_broken``)."""
    data = blobs.get_derived(key)
    if data is None:
        raise Unavailable(
            "The last checkpoint of this training is gone.",
            code="checkpoint_missing",
            fix="Start the training again.",
            retryable=False,
        )
    return from_bytes(data, FORMAT)


def weights_bytes(state_dict: dict[str, torch.Tensor], signature: Signature, **about: Any) -> bytes:
    """The finished weights with their signature."""
    return to_bytes(
        {"format": WEIGHTS_FORMAT, "signature": signature.as_json(), "state_dict": state_dict, **about}
    )
