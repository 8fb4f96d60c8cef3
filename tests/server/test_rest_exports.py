"""The dialect's exports: at once or as a job, and every refusal."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from support.pictures import jpeg
from support.rest import Rest, open_rest

from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.exports import service

BOX = {"id": "a", "name": "sign", "type": "bbox", "bounding_box": {"x": 1, "y": 1, "w": 5, "h": 5}}


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    with open_rest(tmp_path_factory.mktemp("exports") / "home") as opened:
        studio = opened.runtime.studio
        studio.jobs.supervisor.enabled = False
        dataset = studio.datasets.create(opened.owner, name="signs")
        for number in range(2):
            sample = studio.ingest.add_image(
                opened.owner, dataset, data=jpeg(seed=number), filename=f"{number}.jpg"
            )
            if not number:
                studio.documents.save(opened.owner, sample.id, ANNOTATIONS.validate_python([BOX]))
        yield opened


def create(rest: Rest, name: str, **changes: Any) -> Any:
    return rest.ok("POST", "/exports/", json={"dataset_name": "signs", "name": name, **changes})["export"]


def test_a_small_export_is_completed_at_once_with_the_wires_own_defaults(rest: Rest) -> None:
    export = create(rest, "first")
    assert (export["status"], export["format"], export["include_images"]) == (
        "completed",
        "pictograph",
        False,
    )
    assert (export["status_filter"], export["image_count"], export["annotation_count"]) == ("complete", 1, 1)
    dataset = rest.runtime.studio.datasets.get(rest.owner, "signs")
    assert export["project_id"] == dataset.id
    assert export["organization_id"] == rest.owner.organization_uuid
    assert export["expires_at"] is export["error_message"] is export["job_id"] is None
    link = rest.ok("GET", "/exports/signs/first/download")["download_url"]
    assert link.startswith("http://testserver/_blob/")
    data = rest.client.get(link).content
    assert len(data) == export["file_size"]
    assert "dataset.json" in zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert rest.ok("GET", "/exports/signs/first")["export"]["id"] == export["id"]


def test_a_large_export_is_pending_and_its_download_waits(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SMALL_IMAGES", 0)
    export = create(rest, "large", format="coco", status_filter="all")
    assert export["status"] == "pending"
    assert export["job_id"]
    assert export["download_url"] is export["file_size"] is None
    assert rest.no("GET", "/exports/signs/large/download") == (409, "export_not_ready")
    body = {"dataset_name": "signs", "name": "large"}
    assert rest.no("POST", "/exports/", json=body) == (409, "export_exists")
    listed = rest.ok("GET", "/exports/", params={"status": "pending", "dataset_name": "signs"})["exports"]
    assert [e["name"] for e in listed] == ["large"]
    assert rest.ok("DELETE", "/exports/signs/large")["deleted"] is True
    assert rest.no("GET", "/exports/signs/large") == (404, "export_not_found")
    (job, *_) = rest.runtime.studio.jobs.list(rest.owner, kind="export")
    assert job.status == "cancelled"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"format": "tfrecord"}, 422, "invalid_arguments"),
        ({"status_filter": "done"}, 422, "invalid_arguments"),
        ({"class_filter": ["tank"]}, 422, "unknown_class"),
        ({"name": "a/b"}, 422, "invalid_name"),
        ({"name": "x" * 101}, 422, "invalid_name"),
        ({"dataset_name": "none"}, 404, "dataset_not_found"),
        ({"more": 1}, 422, "invalid_arguments"),
    ],
)
def test_what_is_wrong_is_refused(rest: Rest, changes: dict[str, Any], status: int, code: str) -> None:
    body = {"dataset_name": "signs", "name": "wrong", **changes}
    assert rest.no("POST", "/exports/", json=body) == (status, code)
    assert rest.no("GET", "/exports/signs/wrong")[0] == 404


def test_the_list_is_paged_and_its_limit_is_no_clamp(rest: Rest) -> None:
    for number in range(3):
        create(rest, f"page-{number}")
    names = []
    for offset in range(3):
        (export,) = rest.ok("GET", "/exports/", params={"limit": 1, "offset": offset})["exports"]
        names.append(export["name"])
    assert names == ["page-2", "page-1", "page-0"]
    for wrong in ({"limit": 501}, {"limit": 0}, {"offset": -1}, {"status": "queued"}):
        assert rest.no("GET", "/exports/", params=wrong)[0] == 422
    assert rest.no("GET", "/exports/", params={"dataset_name": "none"}) == (404, "dataset_not_found")


def test_roles(rest: Rest) -> None:
    create(rest, "kept")
    body = {"dataset_name": "signs", "name": "viewers"}
    assert rest.no("POST", "/exports/", role="viewer", json=body) == (403, "role_required")
    assert rest.no("DELETE", "/exports/signs/kept", role="member") == (403, "role_required")
    assert rest.ok("GET", "/exports/signs/kept", role="viewer")["export"]["name"] == "kept"
    assert rest.no("GET", "/exports/signs/kept", role="elsewhere") == (404, "export_not_found")
    assert rest.ok("GET", "/exports/", role="elsewhere") == {"exports": []}
    assert rest.ok("DELETE", "/exports/signs/kept", role="admin")["name"] == "kept"


def test_the_same_key_makes_one_export(rest: Rest) -> None:
    given = {"json": {"dataset_name": "signs", "name": "once"}, "headers": {"Idempotency-Key": "k" * 32}}
    first, second = (rest.send("POST", "/exports/", **given) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
