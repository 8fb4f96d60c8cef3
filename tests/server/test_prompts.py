"""auto_annotate_point and auto_annotate_box as an agent meets them: answers, prices, broken engines."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from support.pictures import scene

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.errors import TintypeError, Unavailable
from tintype_studio.vision.prompts import Prompts
from tintype_studio.vision.protocols import Segment
from tintype_tools.call import Outcome, Request

SQUARE = {"x": 45, "y": 35, "w": 60, "h": 60}
POINT = {"dataset_name": "signs", "image_filename": "scene.png", "x": 75, "y": 65}
BOX = {"dataset_name": "signs", "image_filename": "scene.png", "box": SQUARE, "name": "square"}


@dataclass
class World:
    """A workspace with a red square on noise, and rings that can be read at three scales."""

    runtime: Runtime

    def call(self, tool: str, arguments: dict[str, Any], **changes: Any) -> Outcome:
        files = everything(self.runtime.settings)
        key = self.runtime.local_api_key()
        return self.runtime.dispatch(Request(tool, arguments, key, "toolkit", files, **changes))

    def code(self, tool: str, arguments: dict[str, Any], **changes: Any) -> str:
        before = self.credits
        with pytest.raises(TintypeError) as refused:
            self.call(tool, arguments, **changes)
        assert self.credits == before
        assert refused.value.fix
        return refused.value.code

    @property
    def credits(self) -> int:
        return int(self.call("get_credit_balance", {}).value["credits_remaining"])


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("prompts")
    runtime = Runtime.open(Settings(home=folder / "home"))
    world = World(runtime)
    world.call("create_dataset", {"name": "signs"})
    for name, data in (("scene.png", scene()), ("rings.png", rings())):
        (folder / name).write_bytes(data)
        world.call("upload_image", {"dataset_name": "signs", "file_path": str(folder / name)})
    yield world
    runtime.close()


@pytest.fixture
def world(opened: World) -> Iterator[World]:
    prompts = opened.runtime.studio.prompts
    engine = prompts._engine
    yield opened
    prompts._engine = engine


def rings() -> bytes:
    pixels = np.full((200, 200, 3), (80, 130, 70), np.uint8)
    for radius, colour in ((80, (40, 60, 190)), (45, (200, 50, 40)), (18, (220, 200, 40))):
        cv2.circle(pixels, (100, 100), radius, colour, -1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_point_gives_an_outline_that_can_be_saved(world: World) -> None:
    before = world.credits
    value = world.call("auto_annotate_point", POINT | {"score_threshold": 0.2, "name": "sign"}).value
    assert value["status"] == "success"
    (annotation,) = value["annotations"]
    assert (annotation["name"], annotation["type"], annotation["created_by"]) == (
        "sign",
        "polygon",
        "grabcut",
    )
    assert annotation["confidence"] == value["score"]
    box = annotation["bounding_box"]
    assert [box["x"], box["y"], box["w"], box["h"]] == pytest.approx([50, 40, 50, 50], abs=3)
    assert value["tolerance"] == 1.5
    assert world.credits == before - 1
    page = world.call("get_dataset", {"name": "signs", "include_images": True}).value["images"]
    image = next(i["id"] for i in page if i["filename"] == "scene.png")
    saved = world.call("save_annotations", {"image_uuid": image, "annotations": value["annotations"]}).value
    assert saved["status"] == "complete"


def test_an_ambiguous_point_is_withheld_with_a_way_on(world: World) -> None:
    before = world.credits
    where = {"dataset_name": "signs", "image_filename": "rings.png", "x": 100, "y": 100}
    value = world.call("auto_annotate_point", where | {"score_threshold": 0.9, "name": "ring"}).value
    assert (value["status"], value["annotations"]) == ("below_threshold", [])
    assert 0 < value["score"] < 0.9
    assert "positive_points" in value["advice"]
    assert world.credits == before
    sizes = sorted(alternative["box"]["w"] for alternative in value["alternatives"])
    assert len(sizes) >= 2
    assert value["alternatives"][0]["score"] == value["score"]
    chosen = next(a["box"] for a in value["alternatives"] if a["box"]["w"] == sizes[-1])
    box = {"dataset_name": "signs", "image_filename": "rings.png", "box": chosen, "name": "ring"}
    answer = world.call("auto_annotate_box", box).value
    assert answer["status"] == "success"
    assert answer["annotations"][0]["bounding_box"]["w"] == pytest.approx(sizes[-1], abs=4)
    settled = where | {"positive_points": [[100, 65]], "negative_points": [[100, 35]], "score_threshold": 0.1}
    (annotation,) = world.call("auto_annotate_point", settled).value["annotations"]
    assert annotation["bounding_box"]["w"] == pytest.approx(91, abs=5)


def test_a_close_up_shows_what_was_found_and_where(world: World) -> None:
    outcome = world.call("auto_annotate_point", POINT | {"score_threshold": 0.1, "preview": True})
    (picture,) = outcome.pictures
    shown = Image.open(io.BytesIO(picture.data))
    window = outcome.value["preview"]
    assert shown.size == (picture.width, picture.height)
    square = [(50 - window["x"]) / window["scale"], (40 - window["y"]) / window["scale"]]
    red = np.asarray(shown)[..., 0]
    assert red[round(square[1]) + 20, round(square[0]) + 20] > 120
    assert red[max(round(square[1]) - 20, 0), max(round(square[0]) - 20, 0)] < 120
    withheld = world.call("auto_annotate_box", BOX | {"confidence_threshold": 1, "preview": True})
    assert withheld.value["status"] == "below_threshold"
    assert len(withheld.pictures) == 1
    assert withheld.credits == 0


def test_a_box_can_answer_with_a_box(world: World) -> None:
    value = world.call("auto_annotate_box", BOX | {"return_polygon": False}).value
    (annotation,) = value["annotations"]
    assert (annotation["type"], annotation["bounding_box"]["w"]) == ("bbox", pytest.approx(50, abs=3))
    assert "tolerance" not in value


def test_negative_boxes_over_everything_leave_nothing_and_cost_nothing(world: World) -> None:
    before = world.credits
    value = world.call(
        "auto_annotate_box", BOX | {"negative_boxes": [{"x": 0, "y": 0, "w": 160, "h": 120}]}
    ).value
    assert (value["status"], value["annotations"]) == ("no_detection", [])
    assert "save_annotations" in value["advice"]
    assert world.credits == before


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("auto_annotate_point", {"x": 160}, "point_outside"),
        ("auto_annotate_point", {"y": -1}, "point_outside"),
        ("auto_annotate_point", {"x": 10**400}, "point_outside"),
        ("auto_annotate_point", {"positive_points": [[5, 500]]}, "point_outside"),
        ("auto_annotate_point", {"negative_points": [[75, 65]]}, "invalid_input"),
        ("auto_annotate_point", {"positive_points": [[5]]}, "invalid_arguments"),
        ("auto_annotate_point", {"positive_points": [[1, 1]] * 51}, "invalid_arguments"),
        ("auto_annotate_point", {"name": "n" * 121}, "invalid_arguments"),
        ("auto_annotate_point", {"score_threshold": 1.1}, "invalid_arguments"),
        ("auto_annotate_point", {"image_filename": "no.png"}, "image_not_found"),
        ("auto_annotate_box", {"box": SQUARE | {"x": 160}}, "invalid_input"),
        ("auto_annotate_box", {"box": SQUARE | {"w": 0}}, "invalid_arguments"),
        ("auto_annotate_box", {"box": SQUARE | {"h": -60}}, "invalid_arguments"),
        ("auto_annotate_box", {"negative_boxes": [SQUARE | {"w": -1}]}, "invalid_arguments"),
    ],
)
def test_bad_prompts_have_one_clear_error(
    world: World, tool: str, arguments: dict[str, Any], code: str, dry_run: bool
) -> None:
    ready = POINT if tool == "auto_annotate_point" else BOX
    assert world.code(tool, ready | arguments, dry_run=dry_run) == code


@pytest.mark.parametrize(("tool", "ready"), [("auto_annotate_point", POINT), ("auto_annotate_box", BOX)])
def test_a_dry_run_tells_the_price(world: World, tool: str, ready: dict[str, Any]) -> None:
    before = world.credits
    value = world.call(tool, ready, dry_run=True).value
    assert value["affected"] == [
        {"kind": "prompt.answered", "count": 1, "dataset": "signs", "name": "scene.png"}
    ]
    assert value["price"]["credits"] == 1
    assert world.credits == before


class Broken:
    """An engine that fails in one of several ways."""

    name = "broken"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def segment_box(self, *_args: Any) -> Any:
        return self._act()

    def segment_points(self, *_args: Any) -> Any:
        found = self._act()
        return [found]

    def _act(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [
        RuntimeError("CUDA error at /srv/secret"),
        Segment(np.ones((5, 5), np.bool_), (0, 0), float("nan")),
        Segment(np.ones((5, 5), np.float64), (0, 0), 0.5),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize(("tool", "ready"), [("auto_annotate_point", POINT), ("auto_annotate_box", BOX)])
def test_an_engine_that_breaks_is_one_error_without_a_charge(
    world: World, tool: str, ready: dict[str, Any], answer: Any
) -> None:
    world.runtime.studio.prompts._engine = Broken(answer)
    before = world.credits
    with pytest.raises(TintypeError) as refused:
        world.call(tool, ready)
    assert (refused.value.code, refused.value.status) == ("engine_failed", 503)
    assert "secret" not in str(refused.value.as_dict())
    assert world.credits == before


def test_an_engine_that_finds_nothing(world: World) -> None:
    world.runtime.studio.prompts._engine = Broken(Segment(np.zeros((5, 5), np.bool_), (0, 0), 0.9))
    assert world.call("auto_annotate_point", POINT).value["status"] == "no_detection"


def test_a_model_that_is_set_and_missing_is_told_and_nothing_is_charged(tmp_path: Path) -> None:
    runtime = Runtime.open(Settings(home=tmp_path / "home", sam_model=str(tmp_path / "none")))
    world = World(runtime)
    world.call("create_dataset", {"name": "signs"})
    (tmp_path / "scene.png").write_bytes(scene())
    world.call("upload_image", {"dataset_name": "signs", "file_path": str(tmp_path / "scene.png")})
    # The same setting on a machine without the extra says so instead.
    assert world.code("auto_annotate_point", POINT) in {"weights_missing", "extra_missing"}
    runtime.close()


def test_a_hub_that_cannot_be_reached_is_not_asked_by_every_prompt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def unreachable(model: str) -> None:
        asked.append(model)
        raise Unavailable("Cannot be fetched.", code="weights_unreachable", fix="Check the network.")

    monkeypatch.setattr("tintype_studio.vision.sam.SamSegmenter", unreachable)
    monkeypatch.setattr(world.runtime.studio, "prompts", Prompts("some/model"))
    for _ in range(3):
        assert world.code("auto_annotate_point", POINT) == "weights_unreachable"
    assert asked == ["some/model"]


def test_prompts_side_by_side(world: World) -> None:
    answers: list[Any] = []

    def ask() -> None:
        answers.append(world.call("auto_annotate_point", POINT | {"score_threshold": 0}).value)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outlines = {str(answer["annotations"][0]["polygon"]) for answer in answers}
    assert (len(answers), len(outlines)) == (4, 1)
