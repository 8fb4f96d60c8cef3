"""``/video`` on the wire: names of the documentation, refusals, and the end of an extraction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.jobs import turn
from support.rest import Rest, open_rest
from support.videos import clip

from tintype_server.pictograph.video import VideoExtractionJob, VideoMetadata
from tintype_studio.jobs.pool import Pool
from tintype_studio.names import clean_name
from tintype_tools.local_files import LocalFiles
from tintype_tools.video_shapes import Source, VideoArgs, clean_stem


@pytest.fixture
def rest(tmp_path: Path) -> Iterator[Rest]:
    """A dataset ``roads``; no worker runs its jobs."""
    with open_rest(tmp_path / "home") as opened:
        opened.runtime.studio.jobs.supervisor.enabled = False
        opened.runtime.studio.datasets.create(opened.owner, name="roads")
        yield opened


@pytest.fixture
def video(rest: Rest, tmp_path: Path) -> str:
    link = rest.ok("POST", "/video/upload-url", json={"filename": "drive.mp4"})
    assert link["gcs_uri"] == f"gs://{link['gcs_bucket']}/{link['gcs_path']}"
    put = rest.client.put(urlsplit(link["upload_url"]).path, content=clip(tmp_path).read_bytes())
    assert put.status_code == 200
    return str(link["gcs_path"])


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(1)
    yield pool
    pool.close()


def extract(rest: Rest, video: str, **given: Any) -> dict[str, Any]:
    body = {"gcs_path": video, "dataset_name": "roads"} | given
    return rest.ok("POST", "/video/extract-frames", json={k: v for k, v in body.items() if v is not None})


def ended(rest: Rest, pool: Pool, job: dict[str, Any]) -> dict[str, Any]:
    jobs = rest.runtime.studio.jobs
    turn(rest.runtime.studio, jobs.get(rest.owner, job["job_id"]), pool)
    return rest.ok("GET", f"/video/extract-frames/{job['job_id']}")


def test_probe(rest: Rest, video: str) -> None:
    found = rest.ok("POST", "/video/probe", json={"gcs_path": video})
    assert VideoMetadata.model_validate(found).model_dump() == found
    assert found["fps"] == found["native_fps"] == pytest.approx(10, rel=0.02)
    assert (found["codec"], found["frame_count"]) == ("h264", 40)


def test_the_names_of_the_documentation(rest: Rest, video: str, pool: Pool) -> None:
    dataset = rest.runtime.studio.datasets.get(rest.owner, "roads")
    job = extract(
        rest,
        video,
        dataset_name=None,
        dataset_id=dataset.id,
        folder_path="/raw/frames",
        fps=5.0,
        start_seconds=1.0,
        end_seconds=3.0,
        max_frames=6,
    )
    assert VideoExtractionJob.model_validate(job).model_dump() == job
    assert (job["status"], job["progress"], job["folder_path"]) == ("processing", 0, None)
    job = ended(rest, pool, job)
    assert (job["status"], job["progress"], job["frames_extracted"]) == ("complete", 100, 6)
    assert job["folder_path"] == "/raw/frames"


def test_a_cancelled_extraction_has_failed(rest: Rest, video: str) -> None:
    job = extract(rest, video, folder_name="x")
    rest.ok("POST", "/_dispatch/cancel_job", json={"job_id": job["job_id"]})
    job = rest.ok("GET", f"/video/extract-frames/{job['job_id']}")
    assert (job["status"], job["error"]) == ("failed", "The extraction was cancelled.")


def test_an_extraction_whose_video_is_gone_says_so(rest: Rest, video: str, pool: Pool) -> None:
    job = extract(rest, video, folder_name="x")
    rest.runtime.studio.uploads.discard(rest.owner, video)
    job = ended(rest, pool, job)
    assert (job["status"], job["frames_extracted"]) == ("failed", 0)
    assert job["error"].startswith("There is no upload at this path.")


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ({"fps": 0}, 422, "invalid_arguments"),
        ({"fps": 1000}, 422, "invalid_arguments"),
        ({"start_seconds": -1}, 422, "invalid_arguments"),
        ({"max_frames": 0}, 422, "invalid_arguments"),
        ({"start_seconds": 2, "end_seconds": 2}, 422, "invalid_span"),
        ({"start_seconds": 60}, 422, "nothing_to_extract"),
        ({"dataset_name": "nowhere"}, 404, "dataset_not_found"),
        ({"gcs_path": "uploads/x/y/z.mp4"}, 404, "upload_not_found"),
        ({"folder_path": "/a/../b"}, 422, "invalid_name"),
    ],
)
def test_refusals(rest: Rest, video: str, given: dict[str, Any], status: int, code: str) -> None:
    body = {"gcs_path": video, "dataset_name": "roads"} | given
    assert rest.no("POST", "/video/extract-frames", json=body) == (status, code)
    assert rest.runtime.studio.jobs.list(rest.owner) == []


def test_another_kind_of_job_is_no_extraction(rest: Rest) -> None:
    job = rest.runtime.studio.jobs.start(rest.owner, "verify_images", {"dataset": "roads"})
    assert rest.no("GET", f"/video/extract-frames/{job.id}") == (404, "job_not_found")


@pytest.mark.parametrize(
    "given", [{"fps": 1e-300}, {"fps": 1e-7}, {"end_seconds": 1e308}, {"start_seconds": 2e7}]
)
def test_absurd_numbers_are_refused(rest: Rest, video: str, given: dict[str, float]) -> None:
    wire = {"gcs_path": video, "dataset_name": "roads"} | given
    assert rest.no("POST", "/video/extract-frames", json=wire) == (422, "invalid_arguments")
    if "fps" in given:
        wire = {"gcs_path": video, "dataset_name": "roads", "sample_fps": given["fps"]}
        assert rest.no("POST", "/video/extract-frames", json=wire) == (422, "invalid_arguments")
    named = {"upload_path": video, "dataset_name": "roads"} | given
    refused = rest.no("POST", "/_dispatch/extract_video_frames", json=named)
    assert refused == (422, "invalid_arguments")


@pytest.mark.parametrize(
    ("stem", "clean"),
    [
        ("a#b?c%d\\e", "a_b_c_d_e"),
        ("  lead", "lead"),
        ("tab\tline\nend\x7f", "tab_line_end_"),
        ("   ", "video"),
        ("\udcff", "_"),
        ("cafe\u0301", "caf\u00e9"),
        ("x" * 250, "x" * 200),
        ("ordinary name-1.2", "ordinary name-1.2"),
    ],
)
def test_stems_that_images_may_carry(stem: str, clean: str) -> None:
    assert clean_stem(stem) == clean
    assert clean_name(f"{clean}_000000.jpg", "File name", max_length=255) == f"{clean}_000000.jpg"


def test_a_file_of_any_name_gives_frames_a_name(tmp_path: Path) -> None:
    (tmp_path / "50% #1.mp4").touch()
    call: Any = SimpleNamespace(files=LocalFiles.under(tmp_path, base=tmp_path))
    source = VideoArgs(local_path="50% #1.mp4").source(call)
    assert source == Source(None, str(tmp_path / "50% #1.mp4"), "50_ _1")
