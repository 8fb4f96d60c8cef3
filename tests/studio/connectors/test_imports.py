"""Imports from V7 and Roboflow: what comes in, what is told of it, and going on with what was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.pictures import jpeg
from support.providers import KEY, TEAM, Provider, answer, box, polygon

from tintype_studio.connectors.progress import progress_of
from tintype_studio.connectors.roboflow import Roboflow
from tintype_studio.connectors.web import Web
from tintype_studio.errors import TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.job import Job, JobStatus
from tintype_studio.jobs.pool import Pool
from tintype_studio.studio import Studio

Import = Callable[..., Job]
ROADS = {"id": "100", "name": "Road signs", "slug": "road-signs"}
CHESS = {"id": "traffic/chess", "name": "Chess", "slug": "chess"}


def documents(studio: Studio, owner: Principal, dataset: str) -> dict[str, list[dict[str, Any]]]:
    """The annotations of every image, by folder and name."""
    found = {}
    for sample in studio.samples.page(studio.datasets.get(owner, dataset), limit=1000):
        _, annotations = studio.documents.get(owner, sample.id)
        kept = [a.model_dump(mode="json", exclude_none=True) for a in annotations]
        found[f"{sample.folder.rstrip('/')}/{sample.filename}"] = kept
    return found


def counts(studio: Studio, owner: Principal, job: Job) -> list[tuple[str, str, int, int, int, int]]:
    told = progress_of(studio, owner, job)
    return [(d.name, d.status, d.total, d.imported, d.skipped, d.failed) for d in told.datasets]


def test_v7_tells_what_a_key_can_read(studio: Studio, provider: Provider) -> None:
    provider.add_v7("road-signs", 3)
    provider.add_v7("planes", 1)
    account = studio.connectors.validate("v7", f"  {KEY}\n")
    assert account.workspace == TEAM
    told = [(d.id, d.name, d.slug, d.image_count, d.version) for d in account.datasets]
    assert told == [("100", "Road-Signs", "road-signs", 3, None), ("101", "Planes", "planes", 1, None)]


def test_roboflow_tells_what_a_key_can_read(studio: Studio, provider: Provider) -> None:
    provider.add_roboflow("chess", 2)
    account = studio.connectors.validate("roboflow", KEY)
    assert account.workspace == "traffic"
    (told,) = account.datasets
    assert (told.id, told.name, told.slug, told.image_count) == ("traffic/chess", "Chess", "chess", 3)


def test_a_dataset_of_v7_comes_in(studio: Studio, owner: Principal, provider: Provider, done: Import) -> None:
    provider.add_v7("road-signs", 3)
    line = {"id": "l", "name": "lane", "line": {"path": [{"x": 1, "y": 1}, {"x": 9, "y": 9}]}}
    point = {"id": "k", "name": "hub", "keypoint": {"x": 7, "y": 8}}
    tag = {"id": "t", "name": "night", "tag": {}}
    ellipse = {
        "id": "e",
        "name": "o",
        "ellipse": {"center": {"x": 9, "y": 9}, "radius": {"x": 1, "y": 1}, "angle": 0},
    }
    provider.add_item(
        "road-signs", "all.jpg", jpeg(seed=9), [polygon(), box(), line, point, tag, ellipse], "/night"
    )
    job = done("v7", ROADS)
    assert (job.status, job.error) == (JobStatus.COMPLETED, None)
    assert counts(studio, owner, job) == [("Road signs", "completed", 4, 4, 0, 0)]
    dataset = studio.datasets.get(owner, "Road signs")
    assert (dataset.image_count, dataset.completed_image_count) == (4, 4)
    found = documents(studio, owner, "Road signs")
    assert sorted(found) == ["/night/all.jpg", *(f"/road-signs-{n}.jpg" for n in range(3))]
    kinds = {entry["name"]: entry["type"] for entry in found["/night/all.jpg"]}
    assert kinds == {"road": "polygon", "car": "bbox", "lane": "polyline", "hub": "keypoint"}
    ring = polygon()["polygon"]["paths"]
    assert found["/night/all.jpg"][0]["polygon"]["paths"] == ring
    assert job.result is not None
    assert len(job.result["notes"]["Road signs"]) == 2
    sample = studio.samples.find(dataset, "road-signs-0.jpg")
    assert studio.blobs.get(sample.sha256) == provider.pictures["road-signs-road-signs-0.jpg"]


def test_a_version_of_roboflow_comes_in(
    studio: Studio, owner: Principal, provider: Provider, done: Import
) -> None:
    provider.add_roboflow("chess", 1, count=2)
    provider.add_roboflow("chess", 3, count=4)
    job = done("roboflow", CHESS)
    assert counts(studio, owner, job) == [("Chess", "completed", 4, 4, 0, 0)]
    dataset = studio.datasets.get(owner, "Chess")
    assert [cls.name for cls in dataset.classes] == ["rook"]  # and not the name of the whole
    found = documents(studio, owner, "Chess")
    assert {entry["type"] for entries in found.values() for entry in entries} == {"bbox"}
    splits = [sample.split for sample in studio.samples.page(dataset, limit=10)]
    assert sorted(map(str, splits)) == ["train", "train", "train", "val"]
    older = done("roboflow", {**CHESS, "name": "Chess 1", "version": 1})
    assert counts(studio, owner, older) == [("Chess 1", "completed", 2, 2, 0, 0)]


def test_an_import_again_fetches_nothing_again(
    studio: Studio, owner: Principal, provider: Provider, done: Import
) -> None:
    provider.add_v7("road-signs", 3)
    done("v7", ROADS)
    before = provider.count("uploads")
    provider.add_item("road-signs", "more.jpg", jpeg(seed=77), [box()])
    again = done("v7", ROADS)
    assert counts(studio, owner, again) == [("Road signs", "completed", 4, 1, 3, 0)]
    assert provider.count("uploads") == before + 1
    assert len(provider.releases["road-signs"]) == 1  # the release of an hour ago will do
    assert studio.datasets.get(owner, "Road signs").image_count == 4


def test_an_image_here_gets_its_annotations_if_it_is_the_same(
    studio: Studio, owner: Principal, provider: Provider, done: Import
) -> None:
    provider.add_v7("road-signs", 2)
    here = studio.datasets.create(owner, name="Road signs")
    studio.ingest.add_image(owner, here, data=jpeg(seed=1), filename="road-signs-0.jpg")
    studio.ingest.add_image(owner, here, data=jpeg(30, 20, seed=1), filename="road-signs-1.jpg")
    job = done("v7", ROADS)
    assert counts(studio, owner, job) == [("Road signs", "completed", 2, 1, 0, 1)]
    found = documents(studio, owner, "Road signs")
    assert [len(found[f"/road-signs-{n}.jpg"]) for n in range(2)] == [2, 0]
    (failed,) = studio.jobs.items(job, outcome="failed")
    assert failed.error_code == "image_exists"


def test_one_dataset_that_cannot_be_read_leaves_the_others(
    studio: Studio, owner: Principal, provider: Provider, done: Import
) -> None:
    provider.add_v7("road-signs", 2)
    provider.add_v7("planes", 1)
    (document,) = provider.items["planes"].values()
    document["version"] = "3.0"
    planes = {"id": "101", "name": "Planes", "slug": "planes"}
    job = done("v7", planes, ROADS)
    assert job.status is JobStatus.COMPLETED
    told = counts(studio, owner, job)
    assert [row[:2] for row in told] == [("Planes", "error"), ("Road signs", "completed")]
    assert studio.datasets.find(owner, "Planes") is None
    alone = done("v7", planes)
    assert (alone.status, alone.error and alone.error["code"]) == (JobStatus.FAILED, "darwin_version")


def test_what_is_wrong_with_an_image_fails_it_alone(
    studio: Studio, owner: Principal, provider: Provider, done: Import
) -> None:
    provider.add_v7("road-signs", 1)
    provider.add_item("road-signs", "page.jpg", b"<html>not a picture</html>", [])
    provider.add_item("road-signs", "gone.jpg", jpeg(seed=3), [])
    provider.pictures.pop("road-signs-gone.jpg")
    provider.add_item("road-signs", "inside.jpg", jpeg(seed=4), [])
    slots = provider.items["road-signs"]["inside.jpg"]["item"]["slots"]
    slots[0]["source_files"][0]["url"] = "http://169.254.169.254/latest/meta-data"
    provider.add_item(
        "road-signs", "bad.jpg", jpeg(seed=5), [{"id": "x", "name": "a", "keypoint": {"x": "?"}}]
    )
    provider.add_item("road-signs", "none.jpg", jpeg(seed=6), [])
    provider.items["road-signs"]["none.jpg"]["item"]["slots"][0]["source_files"] = []
    job = done("v7", ROADS)
    assert counts(studio, owner, job) == [("Road signs", "completed", 6, 1, 0, 5)]
    codes = {i.key: i.error_code for i in studio.jobs.items(job, outcome="failed")}
    assert codes == {
        "0/page.jpg": "invalid_image",
        "0/gone.jpg": "connector_not_found",
        "0/inside.jpg": "address_refused",
        "0/bad.jpg": "invalid_annotation",
        "0/none.jpg": "image_missing",
    }
    assert sorted(documents(studio, owner, "Road signs")) == ["/road-signs-0.jpg"]


def test_a_provider_that_fails_for_a_while_is_asked_again(
    studio: Studio, owner: Principal, provider: Provider, done: Import
) -> None:
    provider.add_v7("road-signs", 2)
    busy = answer({}, 429, retry_after="0.01")
    provider.rule("GET /api/datasets", None, answer({}, 503), busy)
    provider.rule("uploads/.*-1.jpg", busy, answer({}, 500))
    provider.rule("GET /files/", answer({}, 502))
    job = done("v7", ROADS)
    assert counts(studio, owner, job) == [("Road signs", "completed", 2, 2, 0, 0)]
    assert provider.count("uploads/.*-1.jpg") == 3


def test_an_interrupted_import_ends_and_the_next_one_goes_on(
    studio: Studio,
    owner: Principal,
    provider: Provider,
    start: Import,
    done: Import,
    turn: Callable[..., Job],
) -> None:
    provider.add_v7("road-signs", 2)
    job = turn(studio, owner, start("v7", ROADS), None)
    assert job.error is not None
    assert (job.status, job.error["code"]) == (JobStatus.FAILED, "import_interrupted")
    assert "import_from_connector again" in job.error["fix"]
    assert counts(studio, owner, job)[0][:2] == ("Road signs", "error")
    assert counts(studio, owner, done("v7", ROADS)) == [("Road signs", "completed", 2, 2, 0, 0)]


def test_what_came_in_is_undone_as_one(
    studio: Studio, owner: Principal, provider: Provider, done: Import
) -> None:
    provider.add_v7("road-signs", 2)
    job = done("v7", ROADS)
    assert job.call_id is not None
    studio.undo.call(owner, job.call_id)
    assert studio.datasets.find(owner, "Road signs") is None


def refused(deed: Callable[..., object], *arguments: Any, **named: Any) -> str:
    with pytest.raises(TintypeError) as raised:
        deed(*arguments, **named)
    assert KEY not in raised.value.message + raised.value.fix + repr(raised.value.details)
    return raised.value.code


@pytest.mark.parametrize("name", ["v7", "roboflow"])
def test_refusals_of_a_start(studio: Studio, provider: Provider, start: Import, name: str) -> None:
    provider.add_v7("road-signs", 2)
    provider.add_roboflow("road-signs")
    roads = {"id": "x", "name": "Road signs", "slug": "road-signs"}
    assert refused(start, name, roads, key="wrong") == "connector_key_refused"
    assert refused(start, name, roads, key="two words") == "invalid_connector_key"
    assert refused(start, name, roads, key="schlüssel") == "invalid_connector_key"
    assert refused(start, name, {**roads, "slug": "no"}) == "connector_dataset_not_found"
    assert refused(start, name, roads, roads) == "dataset_twice"
    assert refused(start, name, {**roads, "name": " "}) == "invalid_name"
    assert refused(start, name) == "invalid_arguments"
    assert refused(start, "other", roads) == "unknown_provider"
    assert not studio.jobs.any_unfinished()
    for body in (b"<html>", b'{"unexpected": 1}', b"[1]", b"null"):
        provider.rules.clear()
        provider.rule("GET /", *[(200, {}, body)] * 2)
        assert refused(start, name, roads) == "connector_answer"
    provider.rules.clear()
    provider.rule("GET /", *[answer({}, 500)] * 9)
    assert refused(start, name, roads) == "connector_unavailable"
    provider.rules.clear()
    provider.rule("GET /", *[answer({}, 429, retry_after="600")] * 9)
    assert refused(start, name, roads) == "connector_busy"


def test_two_imports_at_a_time(provider: Provider, start: Import) -> None:
    provider.add_v7("road-signs", 1)
    for number in range(2):
        start("v7", {**ROADS, "name": f"Signs {number}"})
    assert refused(start, "v7", ROADS) == "too_many_imports"


def test_limits_of_the_tier(
    studio: Studio,
    owner: Principal,
    provider: Provider,
    start: Import,
    done: Import,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tintype_studio.identity import tiers

    provider.add_v7("road-signs", 3)
    small = tiers.Tier(1000, 8, 3, max_images=2, max_storage_bytes=1000)
    monkeypatch.setattr("tintype_studio.connectors.service.tier_of", lambda _name: small)
    limits = studio.connectors.limits(owner, 2, 1000)
    assert (limits.exceeded, limits.images_after_import, limits.storage_after_import_bytes) == (None, 2, 1000)
    assert studio.connectors.limits(owner, 3, 0).exceeded == "images"
    assert studio.connectors.limits(owner, 0, 1001).exceeded == "storage"
    assert studio.connectors.limits(owner, 3, 1001).exceeded == "both"
    assert refused(start, "v7", ROADS) == "import_over_limit"
    provider.rule(
        "GET /api/datasets", answer([{"id": 100, "name": "x", "slug": "road-signs", "num_items": 1}])
    )
    job = done("v7", ROADS)  # the provider told too few: found out before the first image is fetched
    assert (job.error and job.error["code"], provider.count("uploads")) == ("import_over_limit", 0)


def test_the_key_goes_to_the_provider_alone(provider: Provider, done: Import) -> None:
    provider.add_v7("road-signs", 1)
    provider.add_roboflow("chess")
    done("v7", ROADS)
    done("roboflow", CHESS)
    assert not [path for _, path, _ in provider.asked if KEY in path]
    asked = [(path.split("?")[0], "authorization" in headers) for _, path, headers in provider.asked]
    assert all(has for path, has in asked if path.startswith("/api/"))
    assert ("/files/store/chess/1", True) in asked  # the provider's own origin, here


def test_the_archive_is_removed(studio: Studio, provider: Provider, start: Import, done: Import) -> None:
    provider.add_v7("road-signs", 1)
    ended, goes_on = done("v7", ROADS), start("v7", ROADS)
    assert not list((studio.home / "tmp").glob("import-*"))
    for job in (ended, goes_on):
        studio.connectors.archive(job.id).write_bytes(b"left by a crash")
    studio.settle()
    assert [path.name for path in (studio.home / "tmp").glob("import-*")] == [f"import-{goes_on.id}.zip"]


def test_an_archive_that_is_none(studio: Studio, owner: Principal, provider: Provider, done: Import) -> None:
    provider.add_v7("road-signs", 1)
    provider.rule("GET /files/", (200, {}, b"<html>"))
    job = done("v7", ROADS)
    assert (job.status, job.error and job.error["code"]) == (JobStatus.FAILED, "broken_archive")


def test_roboflow_without_a_version_and_with_dangling_ids(
    studio: Studio, owner: Principal, provider: Provider, done: Import
) -> None:
    provider.projects["chess"] = {}
    job = done("roboflow", CHESS)
    assert job.error is not None
    assert job.error["code"] == "connector_no_version"
    provider.add_roboflow("chess", 1)
    members = provider.projects["chess"][1]
    name = "train/_annotations.coco.json"
    members[name] = members[name].replace(b'"category_id": 1', b'"category_id": 7', 1)
    job = done("roboflow", CHESS)
    assert counts(studio, owner, job) == [("Chess", "completed", 3, 2, 0, 1)]


def test_a_v7_that_does_not_know_the_filter_is_asked_without(
    studio: Studio, owner: Principal, provider: Provider, done: Import
) -> None:
    provider.add_v7("road-signs", 1)
    provider.rule("POST .*/exports", answer({"errors": "filters"}, 422))
    assert counts(studio, owner, done("v7", ROADS)) == [("Road signs", "completed", 1, 1, 0, 0)]


def test_a_release_that_fails(studio: Studio, provider: Provider, done: Import) -> None:
    provider.add_v7("road-signs", 1)
    failed = {"name": "?", "format": "darwin_json_2", "status": "failed", "download_url": None}

    def told(_path: str) -> Any:
        return answer([{**failed, "name": r["name"]} for r in provider.releases.get("road-signs", [])])

    provider.rules.append(("GET .*/exports", told))
    job = done("v7", ROADS)
    assert (job.status, job.error and job.error["code"]) == (JobStatus.FAILED, "connector_export_failed")


def test_a_count_that_nobody_has(studio: Studio, provider: Provider, start: Import) -> None:
    provider.add_v7("road-signs", 1)
    told = {"id": 100, "name": "x", "slug": "road-signs", "num_items": 2**62}
    provider.rule("GET /api/datasets", answer([told]), answer([told]))
    assert studio.connectors.validate("v7", KEY).datasets[0].image_count == 10**12
    assert refused(start, "v7", ROADS) == "import_over_limit"


def test_a_process_that_cannot_be_started_ends_the_job(
    studio: Studio, owner: Principal, provider: Provider, start: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> None:
        raise OSError("no memory")

    provider.add_v7("road-signs", 1)
    monkeypatch.setattr(studio.jobs.alone, "enabled", True)
    monkeypatch.setattr(studio.jobs.alone, "_start", fail)
    job = start("v7", ROADS)
    assert job.status is JobStatus.QUEUED  # for any worker, which has no key
    Executor(studio, Pool(1)).execute(job.id, 1)
    job = studio.jobs.get(owner, job.id)
    assert job.error is not None
    assert job.error["code"] == "import_interrupted"


def test_a_process_that_is_not_meant_does_not_begin(
    studio: Studio, owner: Principal, provider: Provider, start: Import
) -> None:
    provider.add_v7("road-signs", 1)
    job = start("v7", ROADS)
    for owned_by in ("another", None):
        Executor(studio, Pool(1)).execute(job.id, 0, owner=owned_by)
        assert studio.jobs.get(owner, job.id).done == 0
        assert studio.jobs.get(owner, job.id).status is JobStatus.RUNNING


def test_a_version_of_thousands_of_digits_is_none(provider: Provider) -> None:
    told = [{"id": f"traffic/chess/{'9' * 5000}"}, {"id": "traffic/chess/2"}]
    provider.rule("GET /traffic/chess$", answer({"versions": told}))
    opened = Web("Roboflow", provider.url, {"Authorization": f"Bearer {KEY}"}, tries=1)
    assert Roboflow(opened)._newest("traffic/chess") == 2
    opened.close()


def test_a_version_that_is_being_generated_is_waited_for(
    studio: Studio, owner: Principal, provider: Provider, done: Import
) -> None:
    provider.add_roboflow("chess", 1)
    provider.rule(r"GET /traffic/chess/1\?", answer({"version": {"generating": True, "progress": 0.4}}))
    job = done("roboflow", CHESS)
    assert counts(studio, owner, job) == [("Chess", "completed", 3, 3, 0, 0)]
    assert provider.count(r"GET /traffic/chess/1\?") == 2
    missing = done("roboflow", {**CHESS, "version": 9})
    assert missing.error is not None
    assert missing.error["code"] == "connector_no_version"
