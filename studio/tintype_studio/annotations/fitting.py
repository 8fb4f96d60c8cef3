"""Options that a model has chosen, made to fit the class list that they are saved under."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tintype_studio.annotations.geometry import Annotation
from tintype_studio.annotations.options import Declared, option_of


def fitting(annotations: Iterable[Annotation], declared: Declared) -> list[Annotation]:
    """The annotations without what their class does not take as an option of an attribute that it declares.

    What a class does not declare stays, as the free metadata that it then is.
    """
    return [_fitting(each, declared) for each in annotations]


def _fitting(annotation: Annotation, declared: Declared) -> Annotation:
    own = declared.get(annotation.name)
    if not own or not annotation.attributes:
        return annotation
    kept: list[Any] = []
    for entry in annotation.attributes:
        if not isinstance(entry, dict):
            kept.append(entry)
            continue
        rest = {k: v for k, v in entry.items() if k not in own or v is None or option_of(v) in own[k]}
        kept += [rest] if rest or not entry else []
    return annotation if kept == annotation.attributes else annotation.model_copy(update={"attributes": kept})
