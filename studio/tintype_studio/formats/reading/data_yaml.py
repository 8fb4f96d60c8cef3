"""``data.yaml`` of a YOLO dataset: class names, folders of the splits, the shape of keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tintype_studio.errors import InvalidInput
from tintype_studio.formats.reading.base import broken
from tintype_studio.formats.reading.lookup import reference, split_of

MAX_YAML_BYTES = 4 << 20
MAX_CLASSES = 100_000


@dataclass(frozen=True, slots=True)
class DataYaml:
    """``names`` by class number; ``points`` is ``(keypoints, numbers of each)`` of a pose dataset."""

    names: dict[int, str]
    folders: list[tuple[str, list[str]]] = field(default_factory=list)
    """``(split, segments)`` of every folder that a split names."""
    lists: dict[str, str] = field(default_factory=dict)
    """Split by text file of image paths."""
    points: tuple[int, int] | None = None

    def split_of(self, folders: Sequence[str]) -> str | None:
        """The split whose folder these folders lie in."""
        for split, segments in self.folders:
            if segments and list(folders[: len(segments)]) == segments:
                return split
        return None


def read_data_yaml(data: bytes, path: str) -> DataYaml:
    """Parse it.

    Raises:
        InvalidInput: it is no YAML of a YOLO dataset.
    """
    import yaml  # type: ignore[import-untyped]

    if len(data) > MAX_YAML_BYTES:
        raise broken(path, "it is too large for a data.yaml")
    try:
        document = yaml.safe_load(data)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise broken(path, "it is no YAML") from None
    if not isinstance(document, dict):
        raise broken(path, "it is no YAML with names")
    folders, lists = [], {}
    for key in ("train", "val", "valid", "test"):
        value = document.get(key)
        for entry in value if isinstance(value, list) else [value]:
            segments = reference(f"./{entry}") if isinstance(entry, str) else []
            if segments and segments[-1].endswith(".txt"):
                lists["/".join(segments)] = split_of(key) or key
            elif segments:
                folders.append((split_of(key) or key, segments))
    return DataYaml(_names(document, path), folders, lists, _points(document, path))


def _names(document: dict[Any, Any], path: str) -> dict[int, str]:
    names, number = document.get("names"), document.get("nc")
    if names is None and isinstance(number, int) and 0 < number <= MAX_CLASSES:
        return {index: f"class_{index}" for index in range(number)}
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(isinstance(key, int) for key in names):
        raise broken(path, "its names are neither a list nor numbered")
    # YAML reads yes, no and 12 as other things than text.
    return {key: name if isinstance(name, str) else _scalar(name, path) for key, name in names.items()}


def _scalar(value: object, path: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    raise broken(path, f"a class name is {str(value)[:40]!r}")


def _points(document: dict[Any, Any], path: str) -> tuple[int, int] | None:
    shape = document.get("kpt_shape")
    if shape is None:
        return None
    if not isinstance(shape, list) or len(shape) != 2 or not all(isinstance(n, int) for n in shape):
        raise broken(path, "its kpt_shape is no pair of numbers")
    count, numbers = shape
    if not 0 < count <= 1000 or numbers not in {2, 3}:
        raise broken(path, "its kpt_shape makes no sense")
    return count, numbers


def text_lines(data: bytes, path: str) -> list[str]:
    """The lines of a text file without blanks at their ends; empty ones are left out."""
    try:
        return [line.strip() for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise InvalidInput(f"{path[:200]}: it is no text in UTF-8.", code="broken_file") from None
