"""Tags that say the chosen options, in the colour of the class."""

from __future__ import annotations

from typing import Any

from PIL import Image

from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.catalog.datasets import ClassAttribute, DatasetClass
from tintype_studio.media.draw import draw_annotations
from tintype_studio.media.named import named_with_options
from tintype_studio.media.palette import class_color

SIGN = DatasetClass("sign", color="#ff0000", attributes=(ClassAttribute("colour", ("red", "blue")),))
LAMP = DatasetClass("lamp", attributes=(ClassAttribute("lit", ("true", "false")),))


def box(name: str, *attributes: Any) -> dict[str, Any]:
    place = {"x": 60, "y": 60, "w": 80, "h": 60}
    return {"id": "a", "type": "bbox", "name": name, "bounding_box": place, "attributes": [*attributes]}


def test_a_tag_says_class_and_options_in_the_colour_of_the_class() -> None:
    given = ANNOTATIONS.validate_python(
        [box("sign", {"colour": "red"}), box("lamp", {"lit": True}), box("sign", {"colour": "no"}), box("x")]
    )
    named, colors = named_with_options(given, [SIGN, LAMP])
    assert [a.name for a in named] == ["sign · red", "lamp · true", "sign", "x"]
    assert colors["sign · red"] == colors["sign"] == "#ff0000"
    assert colors["lamp · true"] == "#{:02x}{:02x}{:02x}".format(*class_color("lamp", {}))
    assert [a.name for a in given] == ["sign", "lamp", "sign", "x"]


def test_the_option_is_drawn() -> None:
    ground = Image.new("RGB", (300, 200), (120, 120, 120))
    given = ANNOTATIONS.validate_python([box("sign", {"colour": "red"})])
    named, colors = named_with_options(given, [SIGN])
    plain = draw_annotations(ground, given, colors={"sign": "#ff0000"}, scale=1.0)
    told = draw_annotations(ground, named, colors=colors, scale=1.0)
    assert plain.tobytes() != told.tobytes()
    assert told.getpixel((60, 100)) == plain.getpixel((60, 100))  # the frame of the box
