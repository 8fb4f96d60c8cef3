"""Predictions that become work: images with drafts, again, after a crash, undone; and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.jobs import start, turn
from support.pictures import jpeg
from support.predicted import MODEL, car, light, of_picture, of_video, recorded
from support.videos import clip, number, write

from tintype_studio.annotations.geometry import Annotation
from tintype_studio.annotations.review import is_draft
from tintype_studio.catalog.datasets import ClassAttribute, DatasetClass
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.job import Job
from tintype_studio.jobs.pool import Pool
from tintype_studio.predictions.shapes import (
    CategoryPrediction,
    MediaPrediction,
    Observation,
    PredictedObject,
    TimeRange,
)
from tintype_studio.predictions.task import PredictionTask
from tintype_studio.studio import Studio


@pytest.fixture(autouse=True)
def dataset(studio: Studio, owner: Principal) -> None:
    studio.datasets.create(owner, name="roads")


@pytest.fixture
def drive(studio: Studio, owner: Principal, tmp_path: Path) -> PredictionTask:
    """A predicted clip of five seconds."""
    return recorded(studio, owner, clip(tmp_path, seconds=5), of_video())


def arguments(task: PredictionTask, **more: Any) -> dict[str, Any]:
    given = {
        "task": task.id,
        "dataset": "roads",
        "folder": "/frames",
        "stem": "drive",
        "threshold": 0.0,
        "every": 1,
        "empty": False,
        "objects": None,
    }
    return given | more


def save(studio: Studio, owner: Principal, pool: Pool, task: PredictionTask, **more: Any) -> Job:
    job = start(studio, owner, arguments(task, **more), kind="save_predictions")
    turn(studio, job, pool)
    return studio.jobs.get(owner, job.id)


def saved(studio: Studio, owner: Principal) -> Iterator[tuple[str, np.ndarray, list[Annotation]]]:
    """Place, pixels and annotations of every image."""
    for sample in studio.samples.page(studio.datasets.get(owner, "roads"), limit=500):
        pixels = np.asarray(Image.open(BytesIO(studio.samples.image_bytes(sample))))
        yield f"{sample.folder}/{sample.filename}", pixels, studio.documents.get(owner, sample.id)[1]


def test_frames_come_in_with_drafts_of_their_tracks(
    studio: Studio, owner: Principal, pool: Pool, drive: PredictionTask, check_counters: Any
) -> None:
    job = save(studio, owner, pool, drive)
    assert (job.status, job.done, job.failed, job.total) == ("completed", 3, 0, 3)
    images = list(saved(studio, owner))
    assert [(place, number(pixels)) for place, pixels, _ in images] == [
        ("/frames/drive_000000.jpg", 0),
        ("/frames/drive_000002.jpg", 20),
        ("/frames/drive_000003.jpg", 30),
    ], "the gap at 1 s and the empty last frame are left out"
    first = {a.name: a for a in images[0][2]}
    assert set(first) == {"light", "car"}
    assert all(is_draft(a) and a.created_by == MODEL for a in first.values())
    assert {"track": f"{drive.id}/1"} in first["light"].attributes
    assert {"state": "green"} in first["light"].attributes
    assert [{"state": "red"} in a.attributes for a in images[1][2]] == [True]
    box = first["car"].bounding_box
    assert (box.x, box.y, box.w, box.h, first["car"].confidence) == (160, 48, 80, 48, 0.6)
    assert studio.datasets.get(owner, "roads").annotation_count == 5
    check_counters(studio, owner, "roads")


@pytest.mark.parametrize(
    ("more", "frames"),
    [
        ({"empty": True}, [0, 10, 20, 30, 40]),
        ({"every": 2}, [0, 20]),
        ({"every": 2, "empty": True}, [0, 20, 40]),
        ({"objects": [2]}, [0, 30]),
        ({"threshold": 0.65}, [0, 20]),
    ],
)
def test_only_what_is_asked_for(
    studio: Studio,
    owner: Principal,
    pool: Pool,
    drive: PredictionTask,
    more: dict[str, Any],
    frames: list[int],
) -> None:
    save(studio, owner, pool, drive, **more)
    assert [number(pixels) for _, pixels, _ in saved(studio, owner)] == frames


def test_frames_that_were_extracted_before_get_the_drafts(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path, drive: PredictionTask
) -> None:
    extracted = {
        "dataset": "roads",
        "upload": None,
        "local": str(tmp_path / "drive.mp4"),
        "stem": "drive",
        "folder": "/frames",
        "fps": 1.0,
        "start_seconds": None,
        "end_seconds": None,
        "max_frames": None,
    }
    turn(studio, start(studio, owner, extracted, kind="extract_frames"), pool)
    job = save(studio, owner, pool, drive)
    assert (job.status, job.done) == ("completed", 3)
    assert [len(a) for *_, a in saved(studio, owner)] == [2, 0, 1, 2, 0]
    again = save(studio, owner, pool, drive)
    assert studio.jobs.count(again, outcome="skipped") == 3, "what is annotated is left alone"


def test_a_declared_list_takes_what_it_knows(
    studio: Studio, owner: Principal, pool: Pool, drive: PredictionTask
) -> None:
    known = DatasetClass("light", attributes=(ClassAttribute("state", ("red", "amber")),))
    studio.classes.declare(owner, "roads", [known])
    job = save(studio, owner, pool, drive)
    assert (job.result or {})["left_out"] == ["car"]
    found = [a for *_, annotations in saved(studio, owner) for a in annotations]
    assert {a.name for a in found} == {"light"}
    states = [entry["state"] for a in found for entry in a.attributes if "state" in entry]
    assert states == ["red", "red"], "green is no option here"
    studio.classes.declare(owner, "roads", [known, DatasetClass("tree")])
    studio.datasets.create(owner, name="forest")
    studio.classes.declare(owner, "forest", [DatasetClass("tree")])
    with pytest.raises(InvalidInput) as refused:
        start(studio, owner, arguments(drive, dataset="forest"), kind="save_predictions")
    assert refused.value.code == "nothing_to_save"


def test_undo_takes_back_images_and_drafts(
    studio: Studio, owner: Principal, pool: Pool, drive: PredictionTask, check_counters: Any
) -> None:
    job = save(studio, owner, pool, drive)
    changes = studio.changes.page(owner, limit=10)
    assert {change.call_id for change in changes if change.call_id == job.call_id} == {job.call_id}
    assert job.call_id is not None
    studio.undo.call(owner, job.call_id)
    assert list(saved(studio, owner)) == []
    check_counters(studio, owner, "roads")


def test_a_picture_comes_in_with_boxes_and_outlines(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(200, 100))
    task = recorded(studio, owner, tmp_path / "a.jpg", of_picture())
    job = save(studio, owner, pool, task, folder="/", stem="a")
    assert (job.status, job.done) == ("completed", 1)
    ((place, _, found),) = saved(studio, owner)
    assert place == "//a.jpg"
    by_name = {a.name: a for a in found}
    assert (by_name["light"].type, by_name["sign"].type) == ("bbox", "polygon")
    assert by_name["light"].attributes == [{"state": "red"}, {"review": "draft"}], "a picture has no tracks"
    assert studio.jobs.count(save(studio, owner, pool, task, folder="/", stem="a"), outcome="skipped") == 1


def test_an_image_of_the_dataset_gets_the_drafts_where_it_is(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path
) -> None:
    roads = studio.datasets.get(owner, "roads")
    sample = studio.ingest.add_image(owner, roads, data=jpeg(200, 100), filename="x.jpg", folder="/deep")
    task = recorded(studio, owner, Path("x.jpg"), of_picture(), image=sample.id)
    save(studio, owner, pool, task)
    ((place, _, found),) = saved(studio, owner)
    assert (place, len(found)) == ("/deep/x.jpg", 2)


def test_another_picture_of_the_name_is_left_alone(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path, drive: PredictionTask
) -> None:
    roads = studio.datasets.get(owner, "roads")
    studio.ingest.add_image(owner, roads, data=jpeg(320, 96), filename="drive_000002.jpg", folder="/frames")
    job = save(studio, owner, pool, drive)
    (failed,) = studio.jobs.items(job, outcome="failed")
    assert (job.status, failed.key, failed.error_code) == ("completed", "000002", "image_exists")
    (tmp_path / "a.jpg").write_bytes(jpeg(200, 100))
    studio.ingest.add_image(owner, roads, data=jpeg(200, 100, seed=4), filename="a.jpg", folder="/")
    task = recorded(studio, owner, tmp_path / "a.jpg", of_picture())
    ended = save(studio, owner, pool, task, folder="/", stem="a")
    assert (ended.status, (ended.error or {})["code"]) == ("failed", "image_exists")


def test_another_video_in_its_place_is_noticed(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path, drive: PredictionTask
) -> None:
    write(tmp_path / "drive.mp4", [0, 400, 800])
    job = save(studio, owner, pool, drive)
    assert (job.status, (job.error or {})["code"]) == ("failed", "media_changed")
    (tmp_path / "a.jpg").write_bytes(jpeg(100, 100))
    picture = recorded(studio, owner, tmp_path / "a.jpg", of_picture())
    turned = save(studio, owner, pool, picture, folder="/", stem="a")
    assert (turned.status, (turned.error or {})["code"]) == ("failed", "media_changed")
    (tmp_path / "drive.mp4").unlink()
    gone = save(studio, owner, pool, drive)
    assert (gone.status, (gone.error or {})["code"]) == ("failed", "file_not_found")


def test_the_class_of_a_whole_picture_is_no_annotation(
    studio: Studio, owner: Principal, tmp_path: Path
) -> None:
    whole = PredictedObject(
        1,
        [TimeRange(0, 0)],
        [Observation(0, (0.0, 0.0, 1.0, 1.0), 0.9)],
        [CategoryPrediction("cat", 0.9), CategoryPrediction("dog", 0.1)],
    )
    (tmp_path / "a.jpg").write_bytes(jpeg())
    task = recorded(studio, owner, tmp_path / "a.jpg", MediaPrediction("image", "m", 64, 48, [whole]))
    with pytest.raises(InvalidInput) as refused:
        start(studio, owner, arguments(task), kind="save_predictions")
    assert refused.value.code == "nothing_to_save"


def test_another_organization_sees_no_task(
    studio: Studio, stranger: Principal, drive: PredictionTask
) -> None:
    studio.datasets.create(stranger, name="roads")
    with pytest.raises(NotFound) as refused:
        start(studio, stranger, arguments(drive), kind="save_predictions")
    assert refused.value.code == "prediction_task_not_found"


KILLED = """
import os, signal, sys
from pathlib import Path
from support.jobs import turn
import tintype_studio.jobs.frames as frames
from tintype_studio.jobs.pool import Pool
from tintype_studio.jobs.run import Run
from tintype_studio.studio import Studio, Workspace
from tintype_studio.identity.bootstrap import saved_api_key
frames.batch_size = lambda *_: 1
home = Path(sys.argv[1])
studio = Studio(Workspace(home))
studio.jobs.supervisor.enabled = False
owner = studio.keys.authenticate(str(saved_api_key(home)))
write, left = Run._write, [2]
def dying(run, batch):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    write(run, batch)
Run._write = dying
turn(studio, studio.jobs.get(owner, sys.argv[2]), Pool(1))
"""


def test_kill_minus_nine_in_the_middle(
    studio: Studio, owner: Principal, pool: Pool, drive: PredictionTask, check_counters: Any
) -> None:
    job = start(studio, owner, arguments(drive, empty=True), kind="save_predictions")
    dead = subprocess.run([sys.executable, "-c", KILLED, str(studio.home), job.id], timeout=60)
    assert dead.returncode == -9
    assert studio.datasets.get(owner, "roads").image_count == 2
    turn(studio, job, pool)
    assert studio.jobs.get(owner, job.id).status == "completed"
    assert [(number(p), len(a)) for _, p, a in saved(studio, owner)] == [
        (0, 2),
        (10, 0),
        (20, 1),
        (30, 2),
        (40, 0),
    ]
    check_counters(studio, owner, "roads")


def test_objects_without_boxes_or_categories_are_passed_over(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path
) -> None:
    nameless = PredictedObject(3, car().ranges, car().observations, [])
    task = recorded(studio, owner, clip(tmp_path, seconds=5), of_video(light(), nameless))
    save(studio, owner, pool, task)
    assert {a.name for *_, found in saved(studio, owner) for a in found} == {"light"}
