"""What the tags of drawn annotations say: class and chosen options, such as ``sign · red``."""

from __future__ import annotations

from collections.abc import Sequence

from tintype_studio.annotations.geometry import Annotation
from tintype_studio.annotations.options import chosen
from tintype_studio.catalog.datasets import DatasetClass
from tintype_studio.media.palette import class_color


def named_with_options(
    annotations: Sequence[Annotation], classes: Sequence[DatasetClass]
) -> tuple[list[Annotation], dict[str, str]]:
    """Annotations whose names say all that a tag shall, and the colours of these names (``#rrggbb``).

    An object has the colour of its class, whatever its options.
    """
    colors = {cls.name: cls.color for cls in classes if cls.color is not None}
    with_options = {cls.name: cls for cls in classes if cls.attributes}
    named = []
    tags: dict[str, str] = {}
    for annotation in annotations:
        cls = with_options.get(annotation.name)
        if cls is None or not (options := chosen(annotation, cls)):
            named.append(annotation)
            continue
        tag = " · ".join([cls.name, *options.values()])
        tags[tag] = "#{:02x}{:02x}{:02x}".format(*class_color(cls.name, colors))
        named.append(annotation.model_copy(update={"name": tag}))
    return named, {**tags, **colors}
