"""Predictions at one moment, as drafts, and drawn: pictures, sheets and clips."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from support.predicted import SECOND, car, light, of_picture, of_video
from support.videos import clip as film
from support.videos import overwritten

from tintype_studio.annotations.review import is_draft
from tintype_studio.errors import InvalidInput
from tintype_studio.media.palette import PALETTE
from tintype_studio.predictions.clip import Moving, clip
from tintype_studio.predictions.drafts import draft_of, pixel_box
from tintype_studio.predictions.moments import evenly, options_at, sightings
from tintype_studio.predictions.pictures import frames_at, labelled, picture, sheet, wanted_at
from tintype_studio.predictions.shapes import CategoryPrediction, Choice, MediaPrediction, ScoredRange


def test_a_moment_tells_what_was_seen_and_which_options_held() -> None:
    seen = sightings(of_video())
    assert sorted(seen) == [0, 2 * SECOND, 3 * SECOND], "the light is missed at 1 s, and 4 s is empty"
    assert [(each.object_id, each.name, each.options) for each in seen[0]] == [
        (1, "light", {"state": "green"}),
        (2, "car", {}),
    ]
    assert seen[2 * SECOND][0].options == {"state": "red"}
    both = [
        Choice("state", "green", [ScoredRange(0, 9, 0.6)]),
        Choice("state", "red", [ScoredRange(5, 9, 0.7)]),
    ]
    category = CategoryPrediction("light", 1.0, both)
    assert [options_at(category, time) for time in (4, 5, 10)] == [{"state": "green"}, {"state": "red"}, {}]


def test_a_draft_is_in_pixels_and_knows_its_track() -> None:
    first = sightings(of_video())[0][0]
    draft = draft_of(first, (320, 96), created_by="lights@1.0.0", task="t")
    assert draft.type == "bbox"
    assert (draft.name, draft.confidence, draft.created_by) == ("light", 0.9, "lights@1.0.0")
    assert draft.attributes == [{"track": "t/1"}, {"state": "green"}, {"review": "draft"}]
    assert is_draft(draft)
    assert draft.bounding_box.model_dump() == {"x": 32, "y": 19.2, "w": 64, "h": 38.4}
    outlined = draft_of(sightings(of_picture())[0][1], (200, 100), created_by="m")
    assert outlined.type == "polygon"
    assert [[(p.x, p.y) for p in ring] for ring in outlined.polygon.paths] == [
        [(100, 10), (180, 10), (180, 90), (100, 90)],
        [(120, 30), (140, 30), (140, 50)],
    ]
    assert outlined.attributes == [{"review": "draft"}]


@pytest.mark.parametrize(
    "corners", [(0.5, 0.5, 0.5, 0.5), (0.99999, 0.99999, 1.0, 1.0), (-0.5, 0.2, 1.5, 0.4)]
)
def test_a_box_stays_inside_and_is_never_empty(corners: tuple[float, ...]) -> None:
    box = pixel_box(corners, 100, 50)
    assert box.w > 0
    assert box.h > 0
    assert box.x >= 0
    assert box.x + box.w <= 100
    assert box.y >= 0
    assert box.y + box.h <= 50


def test_times_are_spread_evenly() -> None:
    assert evenly(range(10), 4) == [0, 3, 6, 9]
    assert evenly([1, 2], 4) == [1, 2]
    assert evenly([1, 2, 3], 1) == [2]


def test_a_picture_shows_boxes_and_options() -> None:
    out = io.BytesIO()
    Image.new("RGB", (200, 100), (90, 90, 90)).save(out, "PNG")
    data, _, width, height = picture(out.getvalue(), of_picture(), max_side=800)
    assert (width, height) == (400, 200), "enlarged, for the letters"
    drawn = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    changed = np.abs(drawn - 90).sum(axis=2) > 60
    assert changed[40:120, 38:44].any(), "the left edge of the light's box"
    assert not changed[180:, :150].any()
    named, _ = labelled(sightings(of_picture())[0], (200, 100), numbered=False)
    assert [each.name for each in named] == ["light · red", "sign"]


def test_an_object_has_one_colour_and_its_number_in_all_frames(tmp_path: Path) -> None:
    path, prediction = film(tmp_path, seconds=5), of_video()
    colours = []
    for time in (0, 3 * SECOND):
        named, colors = labelled(sightings(prediction)[time], (320, 96), numbered=True)
        colours.append({each.name.split()[0]: colors[each.name] for each in named})
    assert colours == [{"1": PALETTE[0], "2": PALETTE[1]}] * 2
    data, width, height = sheet(str(path), prediction.as_json(), [0, SECOND, 3 * SECOND], 200)
    made = Image.open(io.BytesIO(data))
    assert made.size == (width, height)
    assert width == 3 * 200 + 4 * 8
    assert height < 110, "frames are flat, and so is the sheet"
    # The car in its green, in the first frame and the third; in the second it is gone.
    pixels = np.asarray(made.convert("RGB")).astype(int)
    green = (pixels[..., 1] > 180) & (pixels[..., 0] < 110) & (pixels[..., 2] < 110)
    assert [bool(green[:, 8 + 208 * n : 208 + 208 * n].any()) for n in range(3)] == [True, False, True]


def test_the_frames_are_those_of_the_timeline(tmp_path: Path) -> None:
    from support.videos import number

    path, prediction = film(tmp_path, seconds=5), of_video()
    wanted = wanted_at(str(path), 1, [0, 2 * SECOND, 9 * SECOND])
    assert {time: each.index for time, each in wanted.items()} == {0: 0, 2 * SECOND: 2}
    frames = frames_at(str(path), prediction, [0, 2 * SECOND, 9 * SECOND])
    assert [None if pixels is None else number(pixels) for _, pixels in frames] == [0, 20, None]
    overwritten(path, 20, 29)
    assert [pixels is None for _, pixels in frames_at(str(path), prediction, [0, 2 * SECOND])] == [
        False,
        True,
    ]


def test_between_two_looks_an_object_is_on_its_way() -> None:
    moving = Moving(of_video(light(), car()))
    (halfway,) = moving.at(2 * SECOND + SECOND // 2)
    assert halfway.box == pytest.approx((0.35, 0.2, 0.55, 0.6))
    assert [each.object_id for each in moving.at(3 * SECOND)] == [1, 2]
    assert moving.at(SECOND // 2) == [], "neither was seen at 1 s"
    assert moving.at(10 * SECOND) == []


def test_a_clip_plays_the_span_with_its_objects(tmp_path: Path) -> None:
    path, prediction = film(tmp_path, seconds=5), of_video()
    made = clip(str(path), prediction.as_json(), 2 * SECOND, 3 * SECOND, 160)
    assert (made.width, made.height, made.frames, made.codec) == (160, 48, 10, "h264")
    assert made.seconds == pytest.approx(1.0, abs=0.11)
    with av.open(io.BytesIO(made.data)) as container:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    assert len(frames) == 10
    reds = [int(((f[..., 0] > 150) & (f[..., 1] < 90) & (f[..., 2] < 90)).sum()) for f in frames]
    assert min(reds) > 20, "the light's red frame is in every one"


def test_a_clip_of_nothing_says_so(tmp_path: Path) -> None:
    path = film(tmp_path)
    with pytest.raises(InvalidInput):
        clip(str(path), of_video().as_json(), 9 * SECOND, 9 * SECOND, 160)


def test_what_is_drawn_survives_storage() -> None:
    for prediction in (of_video(), of_picture()):
        assert sightings(MediaPrediction.from_json(prediction.as_json())) == sightings(prediction)
