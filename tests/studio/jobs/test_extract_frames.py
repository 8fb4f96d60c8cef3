"""Frames of a video as images: which, where to, again, after a crash, and of videos that are damaged."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image
from support.jobs import start, turn
from support.videos import HEIGHT, UNEVEN, WIDTH, clip, number, overwritten, write

from tintype_studio.errors import NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs import frames
from tintype_studio.jobs.job import Job
from tintype_studio.jobs.pool import Pool
from tintype_studio.jobs.run import Cancelled, Run
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.uploads import UploadKind
from tintype_studio.studio import Studio


@pytest.fixture(autouse=True)
def dataset(studio: Studio, owner: Principal) -> None:
    studio.datasets.create(owner, name="roads")


def arguments(path: Path | str, **more: Any) -> dict[str, Any]:
    given = {
        "dataset": "roads",
        "upload": None,
        "local": str(path),
        "stem": "drive",
        "folder": "/frames",
        "fps": 2.0,
        "start_seconds": None,
        "end_seconds": None,
        "max_frames": None,
    }
    return given | more


def extract(studio: Studio, owner: Principal, pool: Pool, path: Path | str, **more: Any) -> Job:
    job = start(studio, owner, arguments(path, **more), kind="extract_frames")
    turn(studio, job, pool)
    return studio.jobs.get(owner, job.id)


def images(studio: Studio, owner: Principal) -> dict[str, np.ndarray]:
    """Pixels by folder and name."""
    page = studio.samples.page(studio.datasets.get(owner, "roads"), limit=500)
    return {
        f"{s.folder}/{s.filename}": np.asarray(Image.open(BytesIO(studio.samples.image_bytes(s))))
        for s in page
    }


def test_frames_become_images(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path, check_counters: Any
) -> None:
    job = extract(studio, owner, pool, clip(tmp_path))
    assert (job.status, job.done, job.failed, job.total) == ("completed", 8, 0, 8)
    assert job.result == {"folder": "/frames", "notes": []}
    found = images(studio, owner)
    assert list(found) == [f"/frames/drive_{n:06d}.jpg" for n in range(8)]
    assert [number(pixels) for pixels in found.values()] == [5 * n for n in range(8)]
    check_counters(studio, owner, "roads")
    items = studio.jobs.items(job)
    assert [item.detail["seconds"] for item in items] == [n / 2 for n in range(8)]


def test_a_span_a_cap_and_a_turned_video(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path
) -> None:
    path = write(tmp_path / "t.mp4", [100 * n for n in range(40)], rotation=90)
    job = extract(studio, owner, pool, path, fps=5.0, start_seconds=1.0, end_seconds=3.0, max_frames=4)
    found = images(studio, owner)
    assert (job.done, len(found)) == (4, 4)
    assert {pixels.shape for pixels in found.values()} == {(WIDTH, HEIGHT, 3)}
    assert [number(np.rot90(pixels, -1)) for pixels in found.values()] == [10, 12, 14, 16]


def test_uneven_times_are_sampled_by_time(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path
) -> None:
    extract(studio, owner, pool, write(tmp_path / "u.mkv", UNEVEN), fps=1.0)
    moments = range(UNEVEN[-1] // 1000 + 1)
    shown = [max(n for n, time in enumerate(UNEVEN) if time <= 1000 * at + 1) for at in moments]
    found = [number(pixels) for pixels in images(studio, owner).values()]
    assert found in (list(dict.fromkeys(shown)), [*dict.fromkeys(shown), len(UNEVEN) - 1])


def test_again_skips_what_is_there_and_leaves_other_images_alone(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path, picture: Any
) -> None:
    path = clip(tmp_path)
    roads = studio.datasets.get(owner, "roads")
    name = "drive_000002.jpg"
    studio.ingest.add_image(owner, roads, data=picture(), filename=name, folder="/frames")
    job = extract(studio, owner, pool, path)
    assert (job.status, job.done, job.failed) == ("completed", 8, 1)
    (failed,) = studio.jobs.items(job, outcome="failed")
    assert (failed.key, failed.error_code) == ("000002", "image_exists")
    before = studio.datasets.get(owner, "roads").image_count
    again = extract(studio, owner, pool, path)
    assert (again.status, studio.jobs.count(again, outcome="skipped"), again.failed) == ("completed", 7, 1)
    assert studio.datasets.get(owner, "roads").image_count == before == 8


def test_one_undo_takes_all_frames_back(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path, check_counters: Any
) -> None:
    job = extract(studio, owner, pool, clip(tmp_path))
    studio.undo.call(owner, job.call_id or "")
    assert studio.datasets.get(owner, "roads").image_count == 0
    check_counters(studio, owner, "roads")


def test_a_cut_off_video_gives_what_is_whole_and_says_so(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.mkv", [100 * n for n in range(60)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    job = extract(studio, owner, pool, path)
    assert job.status == "completed"
    assert 0 < studio.datasets.get(owner, "roads").image_count == job.done - job.failed < 12
    assert "cut off" in (job.result or {})["notes"][0]


@pytest.mark.parametrize("data", [b"", b"no video at all", b"\0\0\0\x20ftypisom" + 400 * b"\0"])
def test_what_is_no_video_fails_the_job(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    job = extract(studio, owner, pool, tmp_path / "a.mp4")
    assert (job.status, job.done) == ("failed", 0)
    assert (job.error or {})["code"] in {"unsupported_format", "damaged_video"}


def test_an_upload_is_taken_by_its_organization_alone(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path
) -> None:
    ticket = studio.uploads.issue(owner, "drive.mp4", UploadKind.VIDEO)
    with pytest.raises(NotFound):
        start(studio, owner, arguments("", upload=ticket.path, local=None), kind="extract_frames")
    key = ticket.path.rpartition("/")[0]
    target = studio.home / "blobs" / key
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(clip(tmp_path).read_bytes())
    job = extract(studio, owner, pool, "", upload=ticket.path, local=None)
    assert (job.status, job.done) == ("completed", 8)
    other = ticket.path.replace(owner.organization_uuid, "0" * 8 + owner.organization_uuid[8:])
    with pytest.raises(NotFound):
        start(studio, owner, arguments("", upload=other, local=None), kind="extract_frames")


def test_a_frame_that_kills_its_reader_is_given_up_alone(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "TAKE", "support.videos:take_or_die")
    job = extract(studio, owner, pool, clip(tmp_path))
    (failed,) = studio.jobs.items(job, outcome="failed")
    assert (job.status, job.done, failed.key, failed.error_code) == ("completed", 8, "000003", "item_crashed")
    assert len(images(studio, owner)) == 7


KILLED = """
import os, signal, sys
from pathlib import Path
from support.jobs import turn
from tintype_studio.jobs.kinds.extract_frames import KIND
from tintype_studio.jobs.pool import Pool
from tintype_studio.jobs.run import Run
from tintype_studio.studio import Studio, Workspace
from tintype_studio.identity.bootstrap import saved_api_key
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
    studio: Studio,
    owner: Principal,
    pool: Pool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    check_counters: Any,
) -> None:
    monkeypatch.setattr(frames, "batch_size", lambda *_: 3)
    job = start(studio, owner, arguments(clip(tmp_path), fps=10.0), kind="extract_frames")
    script = KILLED.replace(
        "write, left",
        "import tintype_studio.jobs.frames as e\ne.batch_size = lambda *_: 3\nwrite, left",
    )
    dead = subprocess.run([sys.executable, "-c", script, str(studio.home), job.id], timeout=60)
    assert dead.returncode == -9
    assert studio.datasets.get(owner, "roads").image_count == 6
    with studio.database.read() as connection:
        running = connection.execute(sa.select(jobs.c.status).where(jobs.c.uuid == job.id)).scalar_one()
    assert running == "running"
    turn(studio, job, pool)
    ended = studio.jobs.get(owner, job.id)
    assert (ended.status, ended.done, ended.failed) == ("completed", 40, 0)
    assert [number(pixels) for pixels in images(studio, owner).values()] == list(range(40))
    check_counters(studio, owner, "roads")


def test_a_cancelled_extraction_keeps_what_it_has(
    studio: Studio,
    owner: Principal,
    pool: Pool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    check_counters: Any,
) -> None:
    finish = Run.finish

    def stopping(run: Run, batch: Any) -> None:
        finish(run, batch)
        run.stop(Cancelled())

    monkeypatch.setattr(frames, "batch_size", lambda *_: 3)
    monkeypatch.setattr(Run, "finish", stopping)
    job = extract(studio, owner, pool, clip(tmp_path))
    assert (job.status, job.done, job.failed) == ("cancelled", 3, 0)
    assert list(images(studio, owner)) == [f"/frames/drive_{n:06d}.jpg" for n in range(3)]
    check_counters(studio, owner, "roads")


def test_a_file_that_is_gone_says_so(studio: Studio, owner: Principal, pool: Pool, tmp_path: Path) -> None:
    path = clip(tmp_path)
    job = start(studio, owner, arguments(path), kind="extract_frames")
    path.unlink()
    turn(studio, job, pool)
    ended = studio.jobs.get(owner, job.id)
    assert (ended.status, (ended.error or {})["code"]) == ("failed", "file_not_found")


def test_a_damaged_part_fails_alone(studio: Studio, owner: Principal, pool: Pool, tmp_path: Path) -> None:
    path = overwritten(clip(tmp_path), 20, 29)
    job = extract(studio, owner, pool, path, fps=10.0)
    failed = studio.jobs.items(job, outcome="failed")
    assert job.status == "completed"
    assert {item.error_code for item in failed} == {"damaged_video"}
    assert {int(item.key) for item in failed} >= set(range(20, 30))
    for name, pixels in images(studio, owner).items():
        if int(name[-10:-4]) < 18:  # the last ones before the damage are decoded with its help
            assert number(pixels) == int(name[-10:-4])
