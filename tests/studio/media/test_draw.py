"""What is painted, where, and in which colour."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tintype_studio.annotations.geometry import (
    BBoxAnnotation,
    BoundingBox,
    KeypointAnnotation,
    Point,
    PolygonAnnotation,
    PolygonGeometry,
    PolylineAnnotation,
    PolylineGeometry,
)
from tintype_studio.errors import InvalidImage
from tintype_studio.media.draw import draw_annotations, preview
from tintype_studio.media.palette import PALETTE, class_color, text_color

GROUND = (100, 120, 140)
RED = {"cat": "#ff0000"}


def box(x, y, w, h, name="cat", confidence=1.0):
    rect = BoundingBox(x=x, y=y, w=w, h=h)
    return BBoxAnnotation(id="b", name=name, confidence=confidence, bounding_box=rect)


def points(*pairs):
    return [Point(x=x, y=y) for x, y in pairs]


def square(low, high):
    return points((low, low), (high, low), (high, high), (low, high))


def polygon(*rings, name="cat"):
    return PolygonAnnotation(id="p", name=name, polygon=PolygonGeometry(paths=list(rings)))


def polyline(*pairs, name="cat"):
    return PolylineAnnotation(id="l", name=name, polyline=PolylineGeometry(path=points(*pairs)))


def keypoint(x, y, name="cat"):
    return KeypointAnnotation(id="k", name=name, keypoint=Point(x=x, y=y))


def paint(*annotations, size=(400, 400), **options):
    given_options = {"colors": RED, "scale": 1.0, "labels": False} | options
    return draw_annotations(Image.new("RGB", size, GROUND), annotations, **given_options)


def changed(image):
    """Mask of the pixels that differ from the ground."""
    return (np.asarray(image) != GROUND).any(axis=2)


def is_red(image, *places):
    """Antialiased lines keep a little of the ground."""
    return all(np.abs(np.subtract(image.getpixel(at), (255, 0, 0))).max() < 25 for at in places)


def test_the_picture_given_is_left_alone():
    image = Image.new("RGB", (100, 80), GROUND)
    drawn = draw_annotations(image, [box(10, 10, 50, 50)], colors=RED, scale=1.0)
    assert image.getcolors() == [(8000, GROUND)]
    assert (drawn.size, drawn.mode) == ((100, 80), "RGB")
    assert changed(drawn).any()


def test_nothing_to_draw_changes_nothing():
    assert not changed(paint()).any()


def test_other_modes_are_drawn_in_colour():
    drawn = draw_annotations(Image.new("L", (50, 50), 90), [box(5, 5, 30, 30)], colors=RED, scale=1.0)
    assert (255, 0, 0) in {color for _, color in drawn.getcolors()}


def test_a_box_is_an_outline_on_its_edges():
    drawn = paint(box(100, 120, 200, 150))
    assert drawn.getpixel((100, 200)) == drawn.getpixel((299, 200)) == (255, 0, 0)
    assert drawn.getpixel((200, 120)) == drawn.getpixel((200, 269)) == (255, 0, 0)
    mask = changed(drawn)
    mask[116:125, 96:305] = mask[266:275, 96:305] = mask[116:275, 96:105] = mask[116:275, 296:305] = False
    assert not mask.any()


@pytest.mark.parametrize(
    ("annotation", "edge"),
    [
        (box(0, 0, 400, 400), [(0, 200), (399, 200), (200, 0), (200, 399)]),
        (box(350, 350, 50, 50), [(399, 375), (375, 399)]),
        (box(-50, 100, 100, 100), [(49, 150), (20, 100)]),
    ],
)
def test_boxes_at_the_border_are_visible(annotation, edge):
    drawn = paint(annotation)
    assert {drawn.getpixel(at) for at in edge} == {(255, 0, 0)}


def test_a_box_smaller_than_a_pixel_is_visible():
    assert changed(paint(box(200.2, 200.2, 0.1, 0.1)))[198:203, 198:203].any()


def test_polygons_are_filled_translucently_and_holes_are_not():
    drawn = paint(polygon(square(50, 350), square(120, 280), square(180, 220)), fill_opacity=0.5)
    tinted = tuple(int(channel * 0.5 + red * 0.5) for channel, red in zip(GROUND, (255, 0, 0), strict=True))
    assert drawn.getpixel((85, 200)) == tinted
    assert drawn.getpixel((150, 200)) == GROUND
    assert drawn.getpixel((200, 200)) == tinted
    hole = np.asarray(drawn)[126:174, 126:274]
    assert (hole == GROUND).all()


def test_a_figure_of_eight_is_filled_by_the_even_odd_rule():
    star = points((200, 50), (290, 330), (55, 155), (345, 155), (110, 330))
    drawn = paint(polygon(star))
    assert drawn.getpixel((200, 210)) == GROUND
    assert drawn.getpixel((200, 110)) != GROUND


def test_without_opacity_only_the_outline_is_drawn():
    drawn = paint(polygon(square(50, 350)), fill_opacity=0)
    assert drawn.getpixel((200, 200)) == GROUND
    assert is_red(drawn, (200, 50))


def test_polylines_are_open():
    drawn = paint(polyline((50, 50), (350, 50), (350, 350)))
    assert is_red(drawn, (200, 50), (350, 200))
    assert drawn.getpixel((200, 200)) == GROUND


def test_keypoints_are_discs_with_a_white_rim():
    drawn = paint(keypoint(200.5, 100.5))
    assert drawn.getpixel((200, 100)) == (255, 0, 0)
    around = np.asarray(drawn)[92:109, 192:209].reshape(-1, 3)
    assert (around.min(axis=1) > 240).any()


def test_small_objects_stay_visible_inside_large_ones():
    drawn = paint(box(180, 180, 40, 40, "small"), polygon(square(10, 390)), colors=RED | {"small": "#00ff00"})
    assert drawn.getpixel((180, 200)) == (0, 255, 0)


def test_scale_maps_coordinates():
    drawn = paint(box(1000, 1200, 2000, 1500), scale=0.1)
    same = paint(box(100, 120, 200, 150))
    assert drawn.tobytes() == same.tobytes()


@pytest.mark.parametrize(
    "annotation",
    [
        box(5000, 5000, 10, 10),
        box(-900, -900, 10, 10),
        polygon(square(-900_000, -800_000)),
        polyline((500, 500), (900, 900)),
        keypoint(-40, 200),
    ],
)
def test_what_lies_outside_leaves_the_picture_as_it_is(annotation):
    assert not changed(paint(annotation, labels=True)).any()


def test_coordinates_far_outside_still_cross_the_picture_where_they_should():
    drawn = paint(polyline((-1e6, -1e6), (1e6, 1e6)), size=(300, 300))
    assert is_red(drawn, (150, 150))
    around = paint(polygon(square(-1e6, 1e6)))
    assert changed(around).all()


def test_lines_and_letters_grow_with_the_picture():
    widths, tags = [], []
    for side in (64, 512, 2048):
        lines = np.asarray(paint(box(side / 4, side / 2, side / 2, side / 4), size=(side, side)))
        widths.append(int((lines[side * 5 // 8, : side // 2] == (255, 0, 0)).all(axis=1).sum()))
        labelled = paint(box(side / 4, side / 2, side / 2, side / 4), size=(side, side), labels=True)
        tags.append(int((np.asarray(labelled) != lines).any(axis=2).sum()))
    assert widths == sorted(set(widths))
    assert tags == sorted(set(tags))


def test_the_tag_has_the_class_colour_and_sits_on_the_box():
    plain, labelled = (np.asarray(paint(box(100, 200, 200, 100), labels=on)) for on in (False, True))
    rows, columns = np.nonzero((plain != labelled).any(axis=2))
    assert 170 < rows.min() < rows.max() < 205
    assert 95 < columns.min() < columns.max() < 150
    tag = labelled[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].reshape(-1, 3)
    assert (tag == (255, 0, 0)).all(axis=1).mean() > 0.4
    assert (tag.max(axis=1) < 60).any()


def tag_width(name, confidence):
    annotation = box(20, 200, 370, 150, name, confidence)
    differ = np.asarray(paint(annotation)) != np.asarray(paint(annotation, labels=True))
    columns = np.nonzero(differ.any(axis=(0, 2)))[0]
    return int(columns.max() - columns.min())


def test_confidence_is_shown_only_below_one():
    assert tag_width("cat", 0.87) > tag_width("cat", 1.0) + 15


@pytest.mark.parametrize("corner", [(0, 0), (390, 0), (0, 390), (390, 390)])
def test_tags_at_the_corners_stay_whole(corner):
    annotation = box(*corner, 10, 10, "locomotive")
    differ = (np.asarray(paint(annotation)) != np.asarray(paint(annotation, labels=True))).any(axis=2)
    middle = box(195, 195, 10, 10, "locomotive")
    whole = (np.asarray(paint(middle)) != np.asarray(paint(middle, labels=True))).any(axis=2)
    assert abs(int(differ.sum()) - int(whole.sum())) < 0.1 * whole.sum()


def test_crowded_pictures_are_not_buried_under_tags():
    rng = np.random.default_rng(0)
    crowd = [
        box(float(x), float(y), 12, 12, "excavator", 0.5) for x, y in rng.uniform(0, 385, (600, 2)).round(2)
    ]
    covered = np.asarray(paint(*crowd)) != np.asarray(paint(*crowd, labels=True))
    assert 0.05 < covered.any(axis=2).mean() < 0.45


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=120))
@settings(deadline=None, max_examples=120)
def test_any_text_can_be_a_label(name):
    image = Image.new("RGB", (200, 120), GROUND)
    annotation = BBoxAnnotation.model_construct(
        id="b", name=name, confidence=0.5, bounding_box=BoundingBox(x=20, y=50, w=100, h=50)
    )
    assert draw_annotations(image, [annotation], colors={}, scale=1.0).size == (200, 120)


SOMEWHERE = st.floats(-300, 700, allow_nan=False)
PAIRS = st.tuples(SOMEWHERE, SOMEWHERE)
LENGTHS = st.floats(0.01, 900)
ANYTHING = st.one_of(
    st.builds(box, SOMEWHERE, SOMEWHERE, LENGTHS, LENGTHS),
    st.builds(keypoint, SOMEWHERE, SOMEWHERE),
    st.builds(lambda pairs: polyline(*pairs), st.lists(PAIRS, min_size=2, max_size=8)),
    st.builds(lambda pairs: polygon(points(*pairs)), st.lists(PAIRS, min_size=3, max_size=8)),
)


@given(st.lists(ANYTHING, max_size=12), st.integers(1, 500), st.integers(1, 300), st.floats(0.01, 20))
@settings(deadline=None, max_examples=150)
def test_any_geometry_on_any_size(annotations, width, height, scale):
    image = Image.new("RGB", (width, height), GROUND)
    drawn = draw_annotations(image, annotations, colors={}, scale=scale)
    assert (drawn.mode, drawn.size) == ("RGB", (width, height))


class TestColors:
    def test_the_dataset_decides(self):
        assert class_color("cat", {"cat": "#12abEF"}) == (0x12, 0xAB, 0xEF)
        assert class_color("cat", {"cat": "tomato"}) == (255, 99, 71)

    @pytest.mark.parametrize("value", ["", "#12", "no colour", "url(x)"])
    def test_a_colour_that_cannot_be_read_falls_back(self, value):
        assert class_color("cat", {"cat": value}) == class_color("cat", {})

    def test_the_fallback_is_the_same_in_every_process(self):
        code = "from tintype_studio.media.palette import class_color; print(class_color('Fußgänger', {}))"
        seen = {
            subprocess.run(
                [sys.executable, "-c", code],
                env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for seed in ("1", "2")
        }
        assert seen == {str(class_color("Fußgänger", {}))}

    def test_the_palette_is_well_used_and_its_colours_differ(self):
        used = {class_color(f"class {index}", {}) for index in range(300)}
        assert len(used) == len(PALETTE) == len(set(PALETTE))
        colors = np.array(sorted(used), float)
        distances = np.linalg.norm(colors[:, None] - colors[None], axis=2) + np.eye(len(colors)) * 999
        assert distances.min() > 35

    @given(st.tuples(*[st.integers(0, 255)] * 3))
    def test_text_is_legible_on_any_ground(self, background):
        def luminance(color):
            parts = [
                c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(color) / 255
            ]
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

        light, dark = sorted((luminance(background), luminance(text_color(background))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


class TestPreview:
    def show(self, data, annotations=(), max_side=1024, colors=RED):
        encoded, mime, width, height = preview(data, list(annotations), max_side=max_side, colors=colors)
        image = Image.open(io.BytesIO(encoded))
        assert image.size == (width, height)
        assert Image.MIME[image.format] == mime
        return image, mime

    def test_a_photo_is_a_jpeg_with_its_annotations_in_place(self, photo, encode):
        image, mime = self.show(encode(photo(1600, 1200), "JPEG"), [box(400, 300, 800, 600)], max_side=800)
        assert (mime, image.size) == ("image/jpeg", (800, 600))
        red, green, blue = image.getpixel((200, 300))
        assert red > 180
        assert green < 90
        assert blue < 90

    def test_annotations_follow_the_upright_picture(self, encode):
        exif = Image.Exif()
        exif[0x0112] = 6
        stored = Image.new("RGB", (1200, 600), GROUND)
        data = encode(stored, "JPEG", exif=exif.tobytes())
        image, _ = self.show(data, [box(10, 1000, 500, 190)], max_side=600)
        assert image.size == (300, 600)
        assert np.asarray(image)[:450].std(axis=(0, 1)).max() < 3
        assert np.asarray(image)[500:].std(axis=(0, 1)).max() > 10

    def test_masks_become_png_when_that_is_smaller(self, encode):
        image, mime = self.show(encode(Image.new("P", (800, 600), 0), "PNG"), [box(100, 100, 300, 300)])
        assert mime == "image/png"
        assert image.getpixel((0, 0)) == (0, 0, 0)

    def test_small_pictures_are_enlarged_by_a_whole_factor(self, photo, encode):
        image, _ = self.show(encode(photo(64, 48), "PNG"), [box(8, 8, 16, 16)])
        assert image.size == (512, 384)
        red, green, _ = image.getpixel((64, 128))
        assert red - green > 100
        assert self.show(encode(photo(64, 48), "PNG"), max_side=64)[0].size == (64, 48)
        assert self.show(encode(photo(300, 200), "PNG"))[0].size == (300, 200)

    @pytest.mark.parametrize("size", [(40, 4000), (4000, 40), (1, 3000), (1, 1)])
    def test_extreme_shapes(self, photo, encode, size):
        everywhere = [
            box(0, 0, *size),
            keypoint(0, 0),
            polyline((0, 0), size),
            polygon(points((0, 0), size, (0, 1))),
        ]
        image, _ = self.show(encode(photo(*size), "PNG"), everywhere, max_side=500)
        assert max(image.size) <= 512

    def test_every_variant_can_be_shown(self, variants, variant):
        image, _ = self.show(variants[variant][1], [box(10, 10, 20, 20, "x", 0.5)])
        assert max(image.size) == 512

    def test_a_damaged_file_is_refused(self, variants):
        with pytest.raises(InvalidImage):
            preview(variants["png-rgb"][1][:-20], [], max_side=100, colors={})
