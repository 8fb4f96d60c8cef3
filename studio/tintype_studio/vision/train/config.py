"""The configuration of a training run: what a caller gave, checked, over the pipeline's defaults."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from tintype_studio.errors import InvalidInput
from tintype_studio.vision.train.pipelines import Pipeline

STRIDE = 32
"""Image sizes are multiples of it, in pixels."""

SMALLEST_IMAGE, LARGEST_IMAGE = 64, 1280
MAX_EPOCHS = 1000
MAX_BATCH = 256
MAX_MINUTES = 24 * 60
MAX_LEARNING_RATE = 1.0
DEVICES = ("auto", "cpu", "cuda")
DRAFTS = ("use", "skip")
SYNONYMS = {
    "lr": "learning_rate",
    "lr0": "learning_rate",
    "imgsz": "image_size",
    "img_size": "image_size",
    "input_size": "image_size",
    "batch": "batch_size",
    "weights": "pretrained",
    "early_stopping": "patience",
    "amp": "mixed_precision",
}
"""What other trainers call our keys; only told, never taken."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How to train. Made by ``read_config``."""

    epochs: int
    batch_size: int
    """Images; halves when memory runs out."""
    learning_rate: float
    """Of AdamW, after the warm-up."""
    image_size: int
    """Side of the square that images are fitted into, in pixels."""
    seed: int = 0
    max_minutes: int = 10
    """Training stops after them; the best weights until then become the model."""
    patience: int = 20
    """Epochs without a better validation after which training stops; 0: never."""
    val_fraction: float = 0.15
    """Share of the images without a split of their own that validate."""
    test_fraction: float = 0.1
    augment: bool = True
    flip: bool = True
    """Whether augmentation may mirror images; off where left and right differ in meaning."""
    ema: bool = True
    """Whether a moving average of the weights is validated and kept instead of the weights."""
    mixed_precision: bool = True
    """On CUDA only."""
    pretrained: str | None = None
    """Weights to start from: the id of a model, a hub id, or a local file or folder; None: random weights.
    As the caller gave it; what it stands for is found by ``training.weights``.
    """
    drafts: Literal["use", "skip"] = "use"
    """Whether annotations that nobody has reviewed are learned from."""
    attributes: bool = True
    """Whether the attributes that the dataset's classes declare are learned, too."""
    weight_decay: float = 0.05
    device: Literal["auto", "cpu", "cuda"] = "auto"
    deterministic: bool = False
    """Equal runs give equal weights: the learning rate follows epochs alone, never the clock, and
    algorithms that sum in random order are not used.
    """

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> TrainConfig:
        """What ``as_json`` gave."""
        return cls(**found)


def read_config(pipeline: Pipeline, raw: Mapping[str, Any]) -> tuple[TrainConfig, list[str]]:
    """The configuration, and sentences about keys that were ignored because nothing has that name.

    Raises ``InvalidInput`` (``invalid_config``) naming the key whose value has the wrong type or range.
    """
    values: dict[str, Any] = {
        "epochs": pipeline.epochs,
        "batch_size": pipeline.batch_size,
        "learning_rate": pipeline.learning_rate,
        "image_size": pipeline.image_size,
    }
    known = [f.name for f in fields(TrainConfig)]
    notes = []
    for key, value in raw.items():
        if key in known:
            values[key] = _READERS[key](key, value)
        else:
            notes.append(_ignored(str(key), known))
    held_out = values.get("val_fraction", 0.15) + values.get("test_fraction", 0.1)
    if held_out > 0.8:
        raise _invalid(
            "val_fraction", "leaves, with test_fraction, less than a fifth of the images to train on"
        )
    return TrainConfig(**values), notes


def _ignored(key: str, known: list[str]) -> str:
    near = SYNONYMS.get(key.lower()) or next(iter(difflib.get_close_matches(key, known, 1, 0.7)), None)
    hint = f"; {near} may be meant" if near else f"; the keys are {', '.join(known)}"
    return f"The configuration's key {key[:60]!r} is unknown and was ignored{hint}."


def _invalid(key: str, problem: str) -> InvalidInput:
    return InvalidInput(
        f"The configuration's {key} {problem}.",
        code="invalid_config",
        fix=f"Correct {key}, or leave it out for the default.",
        details={"key": key},
    )


@dataclass(frozen=True, slots=True)
class _Whole:
    low: int
    high: int
    multiple: int = 1

    def __call__(self, key: str, value: Any) -> int:
        if isinstance(value, float) and value.is_integer():  # JSON of some writers has no whole numbers
            value = int(value)
        of = f", a multiple of {self.multiple}" if self.multiple > 1 else ""
        wanted = f"must be a whole number from {self.low:,} to {self.high:,}{of}"
        if isinstance(value, bool) or not isinstance(value, int):
            raise _invalid(key, wanted)
        if not self.low <= value <= self.high or value % self.multiple:
            # Digits of a number can be too many to print.
            raise _invalid(key, wanted)
        return value


@dataclass(frozen=True, slots=True)
class _Real:
    low: float
    high: float
    above: bool = False
    """Whether ``low`` itself is too low."""

    def __call__(self, key: str, value: Any) -> float:
        start = "above" if self.above else "from"
        wanted = f"must be a number {start} {self.low:g} up to {self.high:g}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _invalid(key, wanted)
        # Compared before anything else: not a number fails it, and so do whole numbers that no float holds.
        if not self.low <= value <= self.high or (self.above and value == self.low):
            raise _invalid(key, wanted)
        return float(value)


def _truth(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _invalid(key, "must be true or false")
    return value


def _weights(key: str, value: Any) -> str | None:
    if value is None or (isinstance(value, str) and 0 < len(value) <= 1000 and "\0" not in value):
        return value
    raise _invalid(key, "must be the id of a model, a hub id, a folder or a file, as text")


@dataclass(frozen=True, slots=True)
class _Choice:
    options: tuple[str, ...]

    def __call__(self, key: str, value: Any) -> str:
        if value in self.options:
            return str(value)
        raise _invalid(key, f"must be one of {', '.join(self.options)}")


_READERS: dict[str, Any] = {
    "epochs": _Whole(1, MAX_EPOCHS),
    "batch_size": _Whole(1, MAX_BATCH),
    "learning_rate": _Real(0, MAX_LEARNING_RATE, above=True),
    "image_size": _Whole(SMALLEST_IMAGE, LARGEST_IMAGE, STRIDE),
    "seed": _Whole(0, 2**31 - 1),
    "max_minutes": _Whole(1, MAX_MINUTES),
    "patience": _Whole(0, MAX_EPOCHS),
    "val_fraction": _Real(0, 0.5, above=True),
    "test_fraction": _Real(0, 0.5),
    "augment": _truth,
    "flip": _truth,
    "ema": _truth,
    "mixed_precision": _truth,
    "pretrained": _weights,
    "drafts": _Choice(DRAFTS),
    "attributes": _truth,
    "weight_decay": _Real(0, 1),
    "device": _Choice(DEVICES),
    "deterministic": _truth,
}


def options_of(pipeline: Pipeline) -> list[dict[str, Any]]:
    """The keys of a configuration for whoever fills in a form: ``name``, ``type`` (int, float, bool, select,
    text), ``default`` where there is one, ``min`` and ``max`` of numbers, ``options`` of a choice.
    """
    defaults = read_config(pipeline, {})[0].as_json()
    found = []
    for key, read in _READERS.items():
        option: dict[str, Any] = {"name": key, "label": key.replace("_", " ")}
        match read:
            case _Whole():
                option |= {"type": "int", "min": read.low, "max": read.high, "step": read.multiple}
            case _Real():
                option |= {"type": "float", "min": read.low, "max": read.high}
            case _Choice():
                option |= {"type": "select", "options": [{"name": o, "label": o} for o in read.options]}
            case _:
                option["type"] = "bool" if isinstance(defaults[key], bool) else "text"
        if defaults[key] is not None:
            option["default"] = defaults[key]
        found.append(option)
    return found
