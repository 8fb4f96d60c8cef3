"""Pictures of objects with attributes: squares that are red or blue, plain or with a cross."""

from __future__ import annotations

from typing import Any

import numpy as np
from support.trainable import Picture, box, png

COLOURS = {"red": (200, 40, 40), "blue": (40, 60, 200), "green": (40, 180, 60)}
ATTRIBUTES = {
    "plate": {"colour": ["red", "blue", "green"], "mark": ["plain", "cross"]},
    "disc": {"colour": ["red", "blue"]},
}
CLASSES = ("plate", "disc", "lamp")


def plates(seed: int, *, side: int = 128, options: bool = True, **values: Any) -> Picture:
    """One to three squares and discs of the classes; a plate has colour and mark, a disc its colour."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(120, 12, (side, side, 3))
    annotations = []
    for slot in range(int(rng.integers(1, 4))):
        name = CLASSES[int(rng.integers(2))]
        colours = ATTRIBUTES[name]["colour"]
        colour = colours[int(rng.integers(len(colours)))]
        edge = int(rng.integers(side // 5, side // 2 - 8))
        x = slot % 2 * side // 2 + int(rng.integers(0, side // 2 - edge))
        y = slot // 2 * side // 2 + int(rng.integers(0, side // 2 - edge))
        area = pixels[y : y + edge, x : x + edge]
        entries: list[Any] = [{"colour": colour}]
        if name == "plate":
            area[:] = COLOURS[colour]
            cross = bool(rng.integers(2))
            if cross:
                width = max(2, edge // 7)
                middle = edge // 2
                area[middle - width // 2 : middle + width // 2 + 1] = 250
                area[:, middle - width // 2 : middle + width // 2 + 1] = 250
            entries.append({"mark": "cross" if cross else "plain"})
        else:
            rows, columns = np.mgrid[:edge, :edge] - (edge - 1) / 2
            area[rows**2 + columns**2 <= (edge / 2) ** 2] = COLOURS[colour]
        annotations.append({**box(name, x, y, edge, edge), "attributes": entries if options else []})
    return Picture(
        data=png(pixels), size=(side, side), annotations=annotations, **{"name": f"{seed}.png", **values}
    )
