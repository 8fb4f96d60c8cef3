"""Properties of V7 classes, of which one option is chosen: our attributes.

A release tells them in ``.v7/metadata.json``: ``{"classes": [{"name", "properties": [{"name", "type":
"single_select", "property_values": [{"value"}]}]}]}`` (``options`` in older ones). An annotation names what
was chosen: ``"properties": [{"name", "value", "frame_index"}]``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tintype_studio.annotations.options import option_of
from tintype_studio.errors import TintypeError
from tintype_studio.formats.reading.base import parse_json
from tintype_studio.formats.reading.class_attributes import listed_attributes

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import ClassAttribute
    from tintype_studio.formats.reading.source import Source

METADATA = ".v7/metadata.json"
MAX_METADATA_BYTES = 16 << 20
_ONE = "single_select"


def properties_in(source: Source) -> dict[str, tuple[ClassAttribute, ...]]:
    """By the name of the class, what may be chosen of its objects.

    Nothing without the file, and nothing of what is wrong in it: the annotations are whole without it.
    """
    found: dict[str, tuple[ClassAttribute, ...]] = {}
    for path in sorted(path for path in source.paths if f"/{path}".endswith(f"/{METADATA}")):
        try:
            document = parse_json(source.read(path, MAX_METADATA_BYTES), path)
        except TintypeError:
            continue
        for entry in _objects(document, "classes"):
            name = entry.get("name")
            attributes = listed_attributes(map(_attribute, _objects(entry, "properties")))
            if isinstance(name, str) and attributes:
                found.setdefault(name, attributes)
    return found


def _attribute(entry: Mapping[str, Any]) -> tuple[object, object]:
    values = _objects(entry, "property_values") or _objects(entry, "options")
    options = [value.get("value") for value in values] if entry.get("type") == _ONE else []
    return entry.get("name"), options


def chosen_of(properties: list[Any], attributes: Sequence[ClassAttribute]) -> tuple[list[Any], list[Any]]:
    """Options as entries of our ``attributes``, and those of an annotation's properties that are none."""
    options = {attribute.name: attribute.options for attribute in attributes}
    times = Counter(_name(entry) for entry in properties)
    entries: list[Any] = []
    rest: list[Any] = []
    for entry in properties:
        name = _name(entry)
        option = option_of(entry.get("value")) if name in options and times[name] == 1 else None
        if name is not None and option is not None and option in options.get(name, ()):
            entries.append({name: option})
        else:
            rest.append(entry)
    return entries, rest


def _name(entry: object) -> str | None:
    name = entry.get("name") if isinstance(entry, dict) else None
    return option_of(name) if isinstance(name, str) else None


def _objects(found: object, key: str) -> list[Mapping[str, Any]]:
    listed = found.get(key) if isinstance(found, Mapping) else None
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
