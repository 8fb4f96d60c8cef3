"""Attribute heads: what the second network of a model may choose for the objects that the first one finds.

One network looks at a crop of each object; for each attribute of each class it has one softmax over the
options that it has learned. Importing this module loads nothing heavy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tintype_studio.annotations.options import option_of
from tintype_studio.vision.tasks import Task

Attributes = Mapping[str, Mapping[str, Sequence[str]]]
"""Of each class its attributes, of each attribute its options."""

Choices = dict[str, tuple[str, float, dict[str, float]]]
"""Of one object, by attribute: the likeliest option, how likely it is, and the same of every option (0 to 1,
they sum to 1).
"""

ATTRIBUTE_TASKS = (Task.DETECTION, Task.INSTANCES)
"""Tasks of models that find objects."""

METADATA_KEY = "tintype_heads"
"""Of the ONNX file's metadata: the JSON of ``HeadsSignature``."""

INPUT, OUTPUT = "images", "logits"
"""``images``: float32 ``[N, 3, S, S]``, RGB, 0 to 255, made by ``crops.crop_of``; ``logits``: ``[N, K]``, the
options of all heads one after the other.
"""


@dataclass(frozen=True, slots=True)
class Head:
    """One attribute of one class."""

    name: str
    """The class."""
    attribute: str
    options: tuple[str, ...]
    start: int
    """Where its logits begin."""

    @property
    def end(self) -> int:
        """Where they end."""
        return self.start + len(self.options)


@dataclass(frozen=True, slots=True)
class HeadsSignature:
    """How to feed the network and to read its answers; travels inside its ONNX file."""

    size: int
    """S, the side of the crops in pixels."""
    heads: tuple[Head, ...]

    @classmethod
    def of(cls, attributes: Attributes, size: int) -> HeadsSignature:
        """Heads for these, in their order."""
        heads: list[Head] = []
        for name, of_class in attributes.items():
            for attribute, options in of_class.items():
                heads.append(Head(name, attribute, tuple(options), heads[-1].end if heads else 0))
        return cls(size, tuple(heads))

    @property
    def outputs(self) -> int:
        """K."""
        return self.heads[-1].end if self.heads else 0

    @property
    def attributes(self) -> dict[str, dict[str, list[str]]]:
        """What ``of`` was given."""
        found: dict[str, dict[str, list[str]]] = {}
        for head in self.heads:
            found.setdefault(head.name, {})[head.attribute] = list(head.options)
        return found

    def of_class(self, name: str) -> list[Head]:
        """The heads of a class."""
        return [head for head in self.heads if head.name == name]

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"size": self.size, "attributes": self.attributes}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> HeadsSignature:
        """What ``as_json`` gave."""
        return cls.of(found["attributes"], int(found["size"]))


def options_in(entries: Iterable[Any], wanted: Collection[str]) -> dict[str, str]:
    """What an annotation's ``attributes`` say of the wanted ones, whether or not they are options."""
    found: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry, Mapping):
            for key, value in entry.items():
                option = option_of(value) if key in wanted else None
                if option is not None:
                    found[key] = option
    return found


def options_of(choices: Choices) -> dict[str, str]:
    """The chosen option of each attribute."""
    return {attribute: option for attribute, (option, _, _) in choices.items()}
