"""What an agent is told when no engine can find a class: what is missing, and how its own eyes can do it."""

from __future__ import annotations

from typing import Any

from tintype_studio.errors import Unavailable
from tintype_studio.vision.detect.examples import MIN_EXAMPLES
from tintype_studio.vision.detect.protocol import Readiness

NAMED = 10
"""Classes that the error describes."""


def needs_engine(dataset_name: str, readiness: dict[str, tuple[Readiness, ...]]) -> Unavailable:
    """The error for names that no engine here can find."""
    names = list(readiness)
    shown = ", ".join(repr(name[:60]) for name in names[:3]) + (" …" if len(names) > 3 else "")
    return Unavailable(
        f"No engine here can find {shown} in {dataset_name[:80]!r} yet; nothing was changed or charged.",
        code="needs_engine",
        fix=(
            f"Cheapest: label it yourself. preview_image, then save_annotations with boxes; from "
            f"{MIN_EXAMPLES} accepted objects of a class on, call this tool again and the dataset's own "
            "detector finds the rest. details.how_to_label has the steps, details.classes the other ways."
        ),
        retryable=False,
        details={
            "how_to_label": how_to_label(names),
            "classes": [{"name": name[:120], "engines": told(readiness[name])} for name in names[:NAMED]],
        },
    )


def told(readiness: tuple[Readiness, ...]) -> list[dict[str, Any]]:
    """What each engine says of a class, as JSON."""
    return [
        {"engine": r.engine, "ready": r.ready, "why": r.why}
        | ({"fix": r.fix} if r.fix else {})
        | ({"examples": r.examples} if r.examples is not None else {})
        for r in readiness
    ]


def how_to_label(names: list[str]) -> str:
    """Instructions for a model that sees: find the objects and save them as boxes."""
    listed = ", ".join(f'"{name[:60]}"' for name in names[:NAMED])
    return (
        "1. get_dataset with include_images=true: choose about five varied images. "
        "2. preview_image of one (max_side 1024, show_annotations=false). "
        f"3. Look for every {listed}. For each object note the tightest upright box around what can be seen "
        "of it: x and y of its top left corner, w and h, in pixels of the preview. Leave out what you are "
        "not sure of. "
        "4. Multiply all four numbers by the answer's scale. "
        "5. save_annotations with the complete list of that image: {id, name, type: bbox, "
        "bounding_box: {x, y, w, h}}. "
        "6. preview_image again, and correct boxes that are off. auto_annotate_box turns a box into an "
        "exact outline."
    )
