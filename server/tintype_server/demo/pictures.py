"""Which pictures the demo works on, and the boxes that its agent points at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tintype_studio.errors import InvalidInput

PHOTOS = Path(__file__).resolve().parent.parent / "demo_photos"
"""Real photographs that the package carries; their sources stand in SOURCES.md beside them."""

CENTRAL_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rough box around an object, in pixels, and its class."""

    name: str
    box: dict[str, float]


class Labels:
    """The boxes of ``labels.json`` in the folder; without one, a box in the middle of each picture."""

    def __init__(self, folder: Path) -> None:
        self._prompts: dict[str, list[Prompt]] | None = None
        file = folder / "labels.json"
        if file.is_file():
            self._prompts = _read(file)

    @property
    def are_given(self) -> bool:
        """Whether somebody pointed the objects out."""
        return self._prompts is not None

    def of(self, image: dict[str, Any]) -> list[Prompt]:
        """Prompts for an image as ``get_dataset`` lists it."""
        if self._prompts is not None:
            place = f"{image['folder']}/{image['filename']}".lstrip("/")
            return self._prompts.get(place, [])
        return [central(image)]


def central(image: dict[str, Any]) -> Prompt:
    """A box in the middle of an image, called "object"."""
    width, height = image["width"], image["height"]
    share = CENTRAL_SHARE
    box = {
        "x": round(width * (1 - share) / 2, 1),
        "y": round(height * (1 - share) / 2, 1),
        "w": round(width * share, 1),
        "h": round(height * share, 1),
    }
    return Prompt("object", box)


def _read(file: Path) -> dict[str, list[Prompt]]:
    try:
        return {
            str(entry["file"]): [Prompt(b["name"], b["box"]) for b in entry["boxes"]]
            for entry in json.loads(file.read_text(encoding="utf-8"))
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidInput(
            "The folder's labels.json cannot be read as boxes.",
            code="invalid_labels",
            fix='Take it away, or write [{"file": "a.jpg", "boxes": [{"name": "car", "box": '
            '{"x": 1, "y": 2, "w": 3, "h": 4}}]}].',
        ) from error
