"""Auto-annotation and search, asked by the published SDK, on a server of their own: they spend credits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

pytest.importorskip("onnx")

from support.onnx_models import blob_detector
from support.ready_models import add_model, add_scene
from support.sdk import Sdk, SdkError, installed, open_sdk, open_server

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.vision.tasks import Signature, Task

DETECTOR = Signature(Task.DETECTION, "yolox", ("red", "blue"), 64)
SCENE = ((1, 1, "red"), (2, 2, "blue"))


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    """A dataset ``cells`` of painted cells, two of them labelled, with a model that finds them."""
    installed()
    with open_server(tmp_path_factory.mktemp("cells")) as server:
        studio = open_studio(Settings(home=server.home))
        studio.jobs.supervisor.enabled = False
        owner = studio.keys.authenticate(server.keys["owner"])
        dataset = studio.datasets.create(owner, name="cells")
        for number in range(8):
            size = (160 + 8 * number, 160)
            add_scene(
                studio, owner, dataset, f"{number}.png", *SCENE, size=size, labelled=number < 2, folder="/"
            )
        for folder in ("/x", "/y"):
            add_scene(studio, owner, dataset, "twin.png", *SCENE, labelled=False, folder=folder)
        other = studio.datasets.create(owner, name="other")
        add_scene(studio, owner, other, "far.png", *SCENE)
        add_model(studio, owner, dataset, DETECTOR, blob_detector(DETECTOR))
        studio.close()
        with open_sdk(server) as opened:
            yield opened


def images_of(sdk: Sdk) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sdk.run("return client.datasets.get('cells', include_images=True).images")
    return found


def balance(sdk: Sdk) -> int:
    return int(sdk.run("return client.credits.balance().credits_remaining"))


def test_a_point_gives_one_polygon_that_can_be_saved(cells: Sdk) -> None:
    before = balance(cells)
    found = cells.run(
        """
        result = client.auto_annotate.point("cells", "7.png", x=70, y=70, name="spot", score_threshold=0.2,
            positive_points=[(75, 72)], negative_points=[(5, 5)])
        return result
        """
    )
    assert found["status"] == "success"
    (annotation,) = found["annotations"]
    assert (annotation["name"], annotation["type"]) == ("spot", "polygon")
    assert 0 <= found["score"] <= 1
    assert found["inference_time"] >= 0
    assert balance(cells) == before - 1


def test_a_box_gives_a_polygon_or_a_tighter_box(cells: Sdk) -> None:
    ask = """
    return client.auto_annotate.box("cells", "7.png", box={"x": 45.5, "y": 45, "w": 65, "h": 66}, name="cell",
        return_polygon=outline, negative_boxes=[{"x": 0, "y": 0, "w": 10, "h": 10}], confidence_threshold=0.1)
    """
    kinds = [cells.run(ask, outline=outline)["annotations"][0]["type"] for outline in (True, False)]
    assert kinds == ["polygon", "bbox"]


def test_what_is_below_the_threshold_is_withheld_and_free(cells: Sdk) -> None:
    before = balance(cells)
    found = cells.run(
        "return client.auto_annotate.point('cells', '7.png', x=2, y=2, score_threshold=1.0, name='x')"
    )
    assert found["status"] in {"below_threshold", "no_detection"}
    assert found["annotations"] == []
    assert balance(cells) == before


def test_words_find_all_of_a_class(cells: Sdk) -> None:
    found = cells.run(
        "return client.auto_annotate.text('cells', '7.png', text_prompt='red or blue', output_type='bbox')"
    )
    assert (found["status"], sorted(a["name"] for a in found["annotations"])) == ("success", ["blue", "red"])
    one = cells.run(
        "return client.auto_annotate.text('cells', '7.png', text_prompt='red or blue', max_detections=1)"
    )
    assert len(one["annotations"]) == 1
    nothing = cells.run(
        "return client.auto_annotate.text('cells', '7.png', text_prompt='red', confidence_threshold=1.0)"
    )
    assert (nothing["status"], nothing["annotations"]) == ("below_threshold", [])


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("client.auto_annotate.point('nowhere', '7.png', x=1, y=1)", "NotFoundError"),
        ("client.auto_annotate.point('cells', 'x.png', x=1, y=1)", "NotFoundError"),
        ("client.auto_annotate.point('cells', '7.png', x=5000, y=1)", "ValidationError"),
        ("client.auto_annotate.box('cells', '7.png', box={'x': 1}, name='a')", "ValidationError"),
        ("client.auto_annotate.point('cells', 'twin.png', x=1, y=1)", "ConflictError"),
        ("client.auto_annotate.batch('cells', ['x.png'], [{'name': 'red'}], wait=False)", "NotFoundError"),
        ("client.auto_annotate.batch('cells', ['7.png'], [], wait=False)", "ValidationError"),
        (
            "client.auto_annotate.batch('cells', ['7.png'], [{'name': 'a', 'output_type': 'tag'}])",
            "ValidationError",
        ),
        ("client.auto_annotate.get_batch('nothing')", "NotFoundError"),
        ("client.auto_annotate.cancel_batch('nothing')", "NotFoundError"),
        ("client.search.by_similarity('nothing')", "NotFoundError"),
        ("client.search.by_tag(objects=['red'], dataset_name='nowhere')", "NotFoundError"),
    ],
)
def test_documented_errors(cells: Sdk, code: str, error: str) -> None:
    assert cells.fails(code)["type"] == error


def test_a_class_that_nobody_finds_is_told_at_once_and_how_to_come_to_it(cells: Sdk) -> None:
    """As a refusal that the client does not repeat, with the way out in its message."""
    for code in (
        "client.auto_annotate.text('cells', '7.png', text_prompt='unicorn')",
        "client.auto_annotate.batch('cells', ['7.png'], [pictograph.BatchClass(name='unicorn')])",
    ):
        shape = cells.with_options(max_retries=5).fails(code)
        assert (shape["type"], shape["status_code"]) == ("ValidationError", 422)
        assert "label it yourself" in shape["message"]
        assert shape["response"]["error"]["details"]["how_to_label"]


def test_viewers_ask_for_nothing_that_costs(cells: Sdk) -> None:
    for code in (
        "client.auto_annotate.point('cells', '7.png', x=60, y=60)",
        "client.auto_annotate.batch('cells', ['7.png'], [{'name': 'red'}])",
    ):
        assert cells.as_("viewer").fails(code)["type"] == "ForbiddenError"
    other = "client.auto_annotate.batch('cells', ['7.png'], [{'name': 'red'}])"
    stranger = cells.as_("elsewhere").fails(other)
    assert stranger["type"] == "NotFoundError"


BATCH = """
from pictograph import BatchClass
classes = [BatchClass(name="red", output_type="bbox"), {"name": "blue"}]
asked = {"confidence_threshold": 0.5, "poll_interval": 0.2, **more}
return client.auto_annotate.batch("cells", names, classes, **asked)
"""


def test_a_batch_labels_and_completes_its_images(cells: Sdk) -> None:
    before = balance(cells)
    job = cells.run(BATCH, names=["0.png", "2.png", "3.png", "gone.png"], more={"timeout": 60})
    assert (job["status"], job["progress"], job["error_message"]) == ("completed", 100, None)
    assert (job["total_images"], job["processed_images"], job["failed_images"]) == (4, 2, 1)
    assert (job["total_annotations_added"], job["estimated_credits"]) == (4, 2)
    assert job["completed_at"]
    assert balance(cells) == before - 2
    images = images_of(cells)
    statuses = {image["filename"]: image["status"] for image in images}
    assert [statuses[f"{n}.png"] for n in (0, 2, 3, 4)] == ["complete", "complete", "complete", "new"]
    (three,) = [image["id"] for image in images if image["filename"] == "3.png"]
    found = cells.run("return client.annotations.get(image)", image=three)
    assert sorted((a["name"], a["created_by"]) for a in found) == [
        ("blue", "cells@1.0.0"),
        ("red", "cells@1.0.0"),
    ]


def test_a_batch_is_followed_cancelled_and_waited_for(cells: Sdk) -> None:
    job = cells.run(BATCH, names=["4.png"], more={"wait": False})
    assert job["status"] in {"pending", "running", "completed"}
    assert (
        cells.run("return client.auto_annotate.get_batch(job)", job=job["job_id"])["job_id"] == job["job_id"]
    )
    wait = "return client.auto_annotate.wait_for_batch(job, poll_interval=0.2, timeout=60)"
    done = cells.run(wait, job=job["job_id"])
    assert (done["status"], done["processed_images"]) == ("completed", 1)
    assert cells.fails("client.auto_annotate.cancel_batch(job)", job=job["job_id"])["type"] == "ConflictError"
    names = [f"{n}.png" for n in range(5, 8)] + ["twin.png"]
    slow = cells.run(BATCH, names=names, more={"wait": False})
    with suppress(SdkError):  # it may be done already
        cells.run("return client.auto_annotate.cancel_batch(job)", job=slow["job_id"])
    ended = cells.run("return client.auto_annotate.get_batch(job)", job=slow["job_id"])
    assert ended["status"] in {"cancelled", "completed"}
    if ended["status"] == "cancelled":
        shape = cells.fails(wait, job=slow["job_id"])
        assert (shape["type"], "cancelled" in shape["message"]) == ("ApiError", True)
    late = cells.fails(
        "client.auto_annotate.wait_for_batch(job, poll_interval=0.1, timeout=0)", job=slow["job_id"]
    )
    assert late["type"] == "ValueError"


def test_images_that_look_alike_are_found(cells: Sdk) -> None:
    first = next(image for image in images_of(cells) if image["filename"] == "0.png")
    ask = "return client.search.by_similarity(image, **given)"
    wide = {"threshold": 0.3, "limit": 3, "folder_path": "/"}
    found = cells.as_("viewer").run(ask, image=first["id"], given=wide)
    assert len(found) == 3
    assert first["id"] not in [image["id"] for image in found]
    scores = [image["similarity"] for image in found]
    assert scores == sorted(scores, reverse=True)
    assert set(found[0]["image_auto_tags"]) >= {"objects", "scenes", "attributes"}
    inside = cells.run(ask, image=first["id"], given={"threshold": 0.0, "folder_path": "/x"})
    assert [image["filename"] for image in inside] == ["twin.png"]


def test_tags_are_any_within_a_list_and_all_across(cells: Sdk) -> None:
    search = "return client.search.by_tag(**given)"
    everywhere = cells.run(search, given={"objects": ["red"]})
    assert "far.png" in [image["filename"] for image in everywhere]
    here = cells.run(search, given={"objects": ["red", "nothing"], "dataset_name": "cells"})
    assert {"0.png", "1.png"} <= {image["filename"] for image in here}
    assert "far.png" not in [image["filename"] for image in here]
    dataset = cells.run("return client.datasets.get('cells').id")
    assert {image["project_id"] for image in here} == {dataset}
    assert cells.run(search, given={"objects": ["red"], "scenes": ["nowhere"]}) == []
    landscape = cells.run(search, given={"objects": ["red"], "attributes": ["landscape", "portrait"]})
    assert "0.png" not in [image["filename"] for image in landscape]
    assert "1.png" in [image["filename"] for image in landscape]
    pages = [cells.run(search, given={"objects": ["red"], "limit": 1, "offset": n})[0]["id"] for n in (0, 1)]
    assert pages == [image["id"] for image in everywhere[:2]]
    assert cells.as_("elsewhere").run(search, given={"objects": ["red"]}) == []
    assert cells.fails(search, given={"objects": ["red"], "limit": 501})["type"] == "ValidationError"
    assert cells.fails(search, given={})["type"] == "ValueError"
