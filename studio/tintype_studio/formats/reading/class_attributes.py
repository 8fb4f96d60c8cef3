"""Attributes that a file lists for its classes."""

from __future__ import annotations

from collections.abc import Iterable

from tintype_studio.annotations.options import MAX_ATTRIBUTES, MAX_OPTIONS, cleaned_attributes
from tintype_studio.catalog.datasets import ClassAttribute
from tintype_studio.errors import InvalidInput

CHECKBOX = ("true", "false")
"""What can be said where a file asks yes or no."""


def listed_attributes(found: Iterable[tuple[object, object]]) -> tuple[ClassAttribute, ...]:
    """Attributes from pairs of a name and a list of options.

    One that no class here can have (fewer than two options, a reserved name) is left out; its values stay
    metadata of the annotations. Of a name that occurs twice the first counts.
    """
    taken: dict[str, ClassAttribute] = {}
    for name, options in found:
        if not isinstance(name, str) or not isinstance(options, list | tuple) or len(options) > MAX_OPTIONS:
            continue
        texts = dict.fromkeys(option.strip() for option in options if isinstance(option, str))
        try:
            (attribute,) = cleaned_attributes("", [ClassAttribute(name, tuple(filter(None, texts)))])
        except InvalidInput:
            continue
        taken.setdefault(attribute.name, attribute)
    return tuple(taken.values())[:MAX_ATTRIBUTES]


def attributes_of_json(listed: object) -> tuple[ClassAttribute, ...]:
    """Attributes as our own exports list them: ``[{"name", "options"}]``."""
    entries = listed if isinstance(listed, list) else []
    return listed_attributes((e.get("name"), e.get("options")) for e in entries if isinstance(e, dict))
