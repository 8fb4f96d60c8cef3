"""Versions, changelogs and the recycle bin in the dialect: good input, and bad."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from support.edgefirst_rpc import Spoken, open_spoken
from support.jobs import turn
from support.pictures import jpeg

from tintype_server.edgefirst import rpc_versions
from tintype_studio.annotations.geometry import AnnotationList
from tintype_studio.jobs.pool import Pool
from tintype_studio.versions import service

_names = itertools.count(1)
NOT_FOUND, BAD_REQUEST = 101, 3


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoken]:
    with open_spoken(tmp_path_factory.mktemp("versions") / "home") as opened:
        yield opened


@pytest.fixture
def made(spoken: Spoken) -> tuple[int, str]:
    """A dataset with two pictures, one of them labelled, that has a version; id and name."""
    name = f"signs {next(_names)}"
    project = spoken.ok("project.list")[0]["id"]
    row = int(spoken.ok("dataset.create", {"project_id": f"p-{project:x}", "name": name})["id"])
    add(spoken, name, "a.jpg")
    label(spoken, name, 2)
    add(spoken, name, "b.jpg")
    spoken.ok("version.tag.create", {"dataset_id": row, "name": "v1", "description": "first"})
    return row, name


def add(spoken: Spoken, dataset: str, name: str) -> None:
    studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
    found = studio.datasets.get(owner, dataset)
    studio.ingest.add_image(owner, found, data=jpeg(16, 12, seed=len(name)), filename=name)


def label(spoken: Spoken, dataset: str, count: int) -> None:
    studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
    sample = studio.samples.find(studio.datasets.get(owner, dataset), "a.jpg")
    raw = [
        {"id": f"{n}", "name": "car", "bounding_box": {"x": n, "y": 1, "w": 2, "h": 3}} for n in range(count)
    ]
    found = AnnotationList.model_validate({"annotations": raw}).annotations
    studio.documents.save(owner, sample.id, found)


def test_a_tag_tells_what_the_dataset_held(spoken: Spoken, made: tuple[int, str]) -> None:
    tag = spoken.ok("version.tag.get", {"dataset_id": made[0], "name": "v1"})
    assert tag["created_by"] == "owner"
    assert {k: tag[k] for k in ("image_count", "annotation_counts", "sensor_counts", "label_count")} == {
        "image_count": 2,
        "annotation_counts": {"box2d": 2},
        "sensor_counts": {},
        "label_count": 1,
    }
    assert (tag["description"], tag["is_current"], tag["annotation_set_count"]) == ("first", True, 1)
    assert spoken.ok("version.tag.list", {"dataset_id": made[0]}) == [tag]
    plain = spoken.ok("tags.list_dataset", {"dataset_id": made[0]})
    assert plain == [{"id": tag["id"], "name": "v1", "dataset_id": made[0]}]
    (dataset,) = [
        each
        for each in spoken.ok("dataset.list", {"project_id": spoken.ok("project.list")[0]["id"]})
        if each["id"] == made[0]
    ]
    assert (dataset["tag_id"], dataset["tag"], dataset["tag_description"]) == (tag["id"], "v1", "first")


def test_a_restore_tells_what_it_did(spoken: Spoken, made: tuple[int, str]) -> None:
    label(spoken, made[1], 0)
    add(spoken, made[1], "late.jpg")
    assert spoken.ok("samples.count", {"dataset_id": made[0]}) == {"total": 3}
    assert spoken.ok("samples.count", {"dataset_id": made[0], "tag": "v1"}) == {"total": 2}
    done = spoken.ok("version.tag.restore", {"dataset_id": made[0], "name": "v1"})
    assert (done["success"], done["restored_from"]["tag"]) == (True, "v1")
    assert done["restored_counts"] == {"images": 2, "labels": 1, "annotation_sets": 1}
    now = spoken.ok("version.current", {"dataset_id": made[0]})
    assert now["current_serial"] == done["new_serial"] > done["restored_from"]["serial"]
    assert now["summary"]["annotation_counts"] == {"box2d": 2}
    assert now["latest_tag"]["name"] == "v1"
    assert spoken.ok("version.summary.recalculate", {"dataset_id": made[0]})["image_count"] == 2


def test_a_large_restore_goes_on_as_a_task(
    spoken: Spoken, made: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = spoken.rest.runtime.studio
    monkeypatch.setattr(service, "SMALL", 1)
    monkeypatch.setattr(rpc_versions, "WAIT_SECONDS", 0)
    label(spoken, made[1], 0)
    done = spoken.ok("version.tag.restore", {"dataset_id": made[0], "name": "v1"})
    (job,) = studio.jobs.list(spoken.rest.owner, kind="restore_version")
    assert done["success"] is False
    assert job.id in done["message"]
    if not job.ended:
        pool = Pool(1)
        try:
            turn(studio, job, pool)
        finally:
            pool.close()
    assert studio.jobs.get(spoken.rest.owner, job.id).result == {"annotated": 1, "updated": 1}
    assert spoken.ok("version.summary", {"dataset_id": made[0]})["annotation_counts"] == {"box2d": 2}


def test_the_changelog_goes_on_where_its_token_says(spoken: Spoken, made: tuple[int, str]) -> None:
    for name in ("x", "y", "z"):
        spoken.ok("annset.add", {"dataset_id": made[0], "name": name, "operator": "owner"})
    ask: dict[str, Any] = {"dataset_id": made[0], "from_version": "v1", "limit": 2}
    page = spoken.ok("version.changelog", ask)
    assert page["count"] == 3 == spoken.ok("version.changelog.count", ask)["count"]
    entries = page["entries"]
    while page["continue_token"]:
        page = spoken.ok("version.changelog", ask | {"continue_token": page["continue_token"]})
        entries += page["entries"]
    assert [e["change_data"]["name"] for e in entries] == ["x", "y", "z"]
    assert {(e["entity_type"], e["operation"], e["username"]) for e in entries} == {
        ("annotation_set", "create", "owner")
    }
    assert page["from_serial"] < entries[0]["serial"] <= page["to_serial"]
    assert spoken.ok("version.changelog.count", ask | {"entity_types": ["image"]})["count"] == 0


def test_what_is_refused_and_in_what_words(spoken: Spoken, made: tuple[int, str]) -> None:
    one = {"dataset_id": made[0]}
    for method, params, code, word in (
        ("version.tag.create", one | {"name": "v1"}, BAD_REQUEST, "has a version named 'v1'"),
        ("version.tag.create", one | {"name": "a/b"}, BAD_REQUEST, "contains '/'"),
        ("version.tag.create", one, BAD_REQUEST, "name"),
        ("version.tag.get", one | {"name": "no"}, NOT_FOUND, "It has: 'v1'"),
        ("version.tag.restore", one | {"name": "no"}, NOT_FOUND, "no version named 'no'"),
        ("version.tag.delete", one | {"name": "no"}, NOT_FOUND, "no version named 'no'"),
        ("version.changelog", one | {"from_version": "no"}, NOT_FOUND, "no version named 'no'"),
        ("version.changelog", one | {"continue_token": "-1"}, BAD_REQUEST, "continue_token"),
        ("samples.list", one | {"tag": "no"}, NOT_FOUND, "no version named 'no'"),
        ("label.list", one | {"tag": "no"}, NOT_FOUND, "no version named 'no'"),
        ("annset.list", one | {"tag": "no"}, NOT_FOUND, "no version named 'no'"),
        ("version.current", {"dataset_id": 10**12}, NOT_FOUND, ""),
        ("version.current", {}, BAD_REQUEST, "dataset_id"),
    ):
        found, text = spoken.no(method, params)
        assert (found, word in text) == (code, True), (method, params, text)
    for method in (
        "version.tag.list",
        "version.current",
        "version.summary",
        "version.changelog",
        "tags.list_dataset",
    ):
        assert spoken.no(method, one, bearer="elsewhere")[0] == NOT_FOUND
    for method in ("version.tag.create", "version.tag.restore", "version.tag.delete"):
        assert spoken.no(method, one | {"name": "v1"}, bearer="viewer")[0] == 403


def test_the_recycle_bin(spoken: Spoken, made: tuple[int, str]) -> None:
    spoken.ok("dataset.delete", {"id": made[0]})
    ask = {"deleted_start": "1900-01-01T00:00:00Z", "deleted_end": "2100-01-01T00:00:00.123456789+00:00"}
    (entry,) = [e for e in spoken.ok("recycle.list", ask)["datasets"] if e["id"] == made[0]]
    assert entry["name"] == made[1]
    assert spoken.ok("recycle.list", ask | {"types": ["project"]})["datasets"] == []
    assert spoken.ok("recycle.list", bearer="elsewhere")["datasets"] == []
    item = {"item_ids": [f"ds-{made[0]:x}"]}
    assert spoken.no("recycle.purge", item, bearer="member")[0] == 403
    assert spoken.no("recycle.purge", item, bearer="elsewhere")[0] == NOT_FOUND
    assert spoken.no("recycle.purge", {"item_ids": [*item["item_ids"], "as-fffff"]})[0] == NOT_FOUND
    assert spoken.no("recycle.purge", {"item_ids": ["x"]})[0] == BAD_REQUEST
    assert spoken.no("recycle.purge")[0] == BAD_REQUEST
    assert spoken.no("recycle.list", {"deleted_start": "yesterday"})[0] == BAD_REQUEST
    assert spoken.ok("recycle.purge", {"item_ids": []}) == {"purged": 0}
    assert spoken.ok("recycle.purge", item) == {"purged": 1}
    assert spoken.no("recycle.purge", item)[0] == NOT_FOUND
