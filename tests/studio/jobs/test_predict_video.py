"""Predictions about a video: paid by the minute, whole or not at all, and once, whatever dies."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")

import sqlalchemy as sa
from support.jobs import books, turn
from support.predicting import add_cells, ask, begun, put, scenes

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import InvalidInput, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.kinds.predict_video import by_minute
from tintype_studio.jobs.pool import Pool
from tintype_studio.predictions.shapes import MediaPrediction
from tintype_studio.predictions.task import PredictionTask, Subject
from tintype_studio.storage.prediction_tables import prediction_parts, prediction_tasks
from tintype_studio.studio import Studio
from tintype_studio.video.choice import Wanted

SECOND = 1_000_000


@pytest.fixture
def owner(studio: Studio, owner: Principal, dataset: Dataset) -> Principal:
    """An owner with a model of cells."""
    add_cells(studio, owner, dataset)
    return owner


def worked(studio: Studio, owner: Principal, task: PredictionTask, pool: Pool) -> PredictionTask:
    assert task.job_id is not None
    turn(studio, studio.jobs.get(owner, task.job_id), pool)
    return studio.predictions.get(owner, task.id)


def of_video(studio: Studio, owner: Principal, video: Path, **values: object) -> PredictionTask:
    return ask(studio, owner, begun(studio, owner, video.read_bytes(), media="video", **values))


def parts(studio: Studio) -> int:
    with studio.database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(prediction_parts)).scalar_one()


def result(studio: Studio, owner: Principal, task: PredictionTask) -> MediaPrediction:
    assert task.word == "predicted", task.error_message
    return studio.predictions.result(owner, task)


def test_a_video_of_two_minutes(studio: Studio, owner: Principal, pool: Pool, tmp_path: Path) -> None:
    balance, _ = books(studio, owner)
    video = scenes(tmp_path / "a.mp4", [n / 2 for n in range(140)], until=30)
    task = of_video(studio, owner, video)
    assert books(studio, owner) == (balance, 20)
    task = worked(studio, owner, task, pool)
    found = result(studio, owner, task)
    assert found.frame_timestamps_us == [n * SECOND for n in range(70)]
    assert (found.media, found.model, found.frames_per_second) == ("video", "cells@1.0.0", 1)
    assert (found.width, found.height) == (64, 64)
    assert found.duration_us == pytest.approx(69.5 * SECOND, abs=SECOND / 10)
    red, blue = sorted(found.objects, key=lambda each: each.ranges[0].start_us)
    assert (red.categories[0].name, blue.categories[0].name) == ("red", "blue")
    assert [(r.start_us, r.end_us) for r in red.ranges] == [(0, 29 * SECOND)]
    assert blue.ranges[-1].end_us == 69 * SECOND
    assert books(studio, owner) == (balance - 20, 0)
    assert parts(studio) == 0
    assert task.job_id is not None
    job = studio.jobs.get(owner, task.job_id)
    assert (job.status, job.done, job.total) == (JobStatus.COMPLETED, 3, 3)


@pytest.mark.parametrize(("fps", "count"), [(1, 2), (60, 8)])
def test_rates(studio: Studio, owner: Principal, pool: Pool, tmp_path: Path, fps: int, count: int) -> None:
    """A rate above the video's own takes every frame once."""
    video = scenes(tmp_path / "a.mp4", [n / 4 for n in range(8)])
    task = worked(studio, owner, of_video(studio, owner, video, frames_per_second=fps), pool)
    assert len(result(studio, owner, task).frame_timestamps_us) == count


def test_a_turned_video_of_uneven_times(studio: Studio, owner: Principal, pool: Pool, tmp_path: Path) -> None:
    video = scenes(tmp_path / "a.mp4", [0, 0.1, 0.2, 1.5, 3.2], rotation=90)
    found = result(studio, owner, worked(studio, owner, of_video(studio, owner, video), pool))
    assert found.frame_timestamps_us == [0, 200_000, 1_500_000, 3_200_000][: len(found.frame_timestamps_us)]
    boxes = [o.box for each in found.objects for o in each.observations if o.box is not None]
    # Turned against the clock by 90 degrees, column 1 and row 2 become column 2 and row 2.
    assert boxes
    assert all(box == pytest.approx((0.5, 0.5, 0.75, 0.75), abs=0.01) for box in boxes)


def test_files_that_are_no_videos(studio: Studio, owner: Principal, pool: Pool, tmp_path: Path) -> None:
    balance, _ = books(studio, owner)
    whole = scenes(tmp_path / "a.mp4", [n / 4 for n in range(40)]).read_bytes()
    for data, code in ((b"no video", "unsupported_format"), (whole[: len(whole) // 2], "damaged_video")):
        task = ask(studio, owner, begun(studio, owner, data, media="video"))
        task = worked(studio, owner, task, pool)
        assert task.word == f"failed_{code}"
        with pytest.raises(TintypeError) as refused:
            studio.predictions.result(owner, task)
        assert refused.value.code == code
        local = tmp_path / "x.mp4"
        local.write_bytes(data)
        with pytest.raises(TintypeError) as refused:  # without a task, it is refused before
            ask(studio, owner, media="video", subject=Subject(local=str(local)))
        assert refused.value.code == code
    assert (parts(studio), books(studio, owner)) == (0, (balance, 0))


def short_told(data: bytes, seconds: int) -> bytes:
    """An MP4 file whose header says that it ends after ``seconds``; its frames are all there."""
    told = bytearray(data.replace(b"edts", b"free"))
    for box in (b"mvhd", b"mdhd"):
        at = data.index(box) + 16
        (scale,) = struct.unpack_from(">I", data, at)
        struct.pack_into(">I", told, at + 4, scale * seconds)
    return bytes(told)


def test_a_header_that_tells_a_short_length(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path
) -> None:
    """Nothing is looked at that was not quoted, however the file came to be longer."""
    balance, _ = books(studio, owner)
    long = scenes(tmp_path / "a.mp4", range(150)).read_bytes()
    lying = ask(studio, owner, begun(studio, owner, short_told(long, 1), media="video"))
    assert books(studio, owner) == (balance, 10)
    waiting, ticket = studio.predictions.begin(owner, media="video")
    put(studio, ticket, scenes(tmp_path / "b.mp4", range(3)).read_bytes())
    replaced = ask(studio, owner, waiting)
    put(studio, ticket, long)
    assert worked(studio, owner, lying, pool).word == "failed_wrong_length"
    assert worked(studio, owner, replaced, pool).word == "failed_media_changed"
    assert (parts(studio), books(studio, owner)) == (0, (balance, 0))


def test_frames_just_behind_the_last_quoted_minute_belong_to_it() -> None:
    frames = [Wanted(n, n, None, float(n)) for n in range(61)]
    assert {minute: len(each) for minute, each in by_minute(frames, 1).items()} == {0: 61}
    assert {minute: len(each) for minute, each in by_minute(frames, 2).items()} == {0: 60, 1: 1}
    with pytest.raises(InvalidInput):
        by_minute([*frames, Wanted(61, 61, None, 61.0)], 1)


def test_a_failure_in_the_second_minute_gives_the_first_back(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tintype_studio.jobs.kinds import predict_video

    balance, _ = books(studio, owner)
    video = scenes(tmp_path / "a.mp4", range(100))
    task = of_video(studio, owner, video)
    real = predict_video._Prediction._detect

    def broken(self, frames):
        if frames[0].seconds >= 60:
            raise InvalidInput("The engine broke.", code="engine_failed", fix="Train again.")
        return real(self, frames)

    monkeypatch.setattr(predict_video._Prediction, "_detect", broken)
    task = worked(studio, owner, task, pool)
    assert (task.word, task.error_message) == ("failed_engine_failed", "The engine broke. Train again.")
    assert parts(studio) == 0
    assert books(studio, owner) == (balance, 0)


def test_an_answer_that_cannot_be_written(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tintype_studio.predictions import rows

    balance, _ = books(studio, owner)
    task = of_video(studio, owner, scenes(tmp_path / "a.mp4", range(3)))
    monkeypatch.setattr(rows, "keep_blobs", lambda *_arguments: False)
    task = worked(studio, owner, task, pool)
    assert (task.word, task.result_sha256) == ("failed_prediction_raced", None)
    assert books(studio, owner) == (balance, 0)


def test_too_many_frames_and_wrong_rates(studio: Studio, owner: Principal, tmp_path: Path) -> None:
    video = scenes(tmp_path / "a.mp4", [0, 5000])
    for fps, code in ((60, "too_many_frames"), (0, "invalid_fps"), (61, "invalid_fps")):
        with pytest.raises(TintypeError) as refused:
            ask(studio, owner, media="video", subject=Subject(local=str(video)), frames_per_second=fps)
        assert refused.value.code == code
    assert studio.predictions.list(owner) == []


DIES = """
import os, signal, sys
from pathlib import Path
from support.jobs import turn
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.jobs import commits
from tintype_studio.jobs.pool import Pool
from tintype_studio.studio import Studio, Workspace

home, job_id, when = sys.argv[1:]
real = commits.Commits.items

def items(self, *arguments):
    if when == "after":
        real(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)

commits.Commits.items = items
studio = Studio(Workspace(Path(home)))
studio.jobs.supervisor.enabled = False
owner = studio.keys.authenticate(saved_api_key(studio.home))
turn(studio, studio.jobs.get(owner, job_id), Pool(1))
os._exit(0)
"""


def test_what_dies_is_gone_on_with(studio: Studio, owner: Principal, pool: Pool, tmp_path: Path) -> None:
    """kill -9 around both transactions: one result, the minute paid once, nothing left over."""
    balance, _ = books(studio, owner)
    task = of_video(studio, owner, scenes(tmp_path / "a.mp4", range(30), until=15))
    assert task.job_id is not None
    for when in ("before", "after", "before"):
        command = [sys.executable, "-c", DIES, str(studio.home), task.job_id, when]
        assert subprocess.run(command, env=dict(os.environ)).returncode == -9
        assert studio.predictions.get(owner, task.id).word == "processing"
    assert parts(studio) == 1
    found = result(studio, owner, worked(studio, owner, task, pool))
    assert found.frame_timestamps_us == [n * SECOND for n in range(30)]
    assert {each.categories[0].name for each in found.objects} == {"red", "blue"}
    assert books(studio, owner) == (balance - 10, 0)
    assert parts(studio) == 0
    with studio.database.read() as connection:
        assert len(connection.execute(sa.select(prediction_tasks.c.id)).all()) == 1
