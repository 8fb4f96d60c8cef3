"""Exports: built, filtered, named, read back, failed and forgiven."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from typing import Any

import pytest
from support.pictures import jpeg

from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Sample
from tintype_studio.errors import Cancelled, Conflict, InvalidInput, NotFound
from tintype_studio.exports.service import Export, ExportOptions
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio

FORMATS = ["pictograph", "coco", "yolo"]


@pytest.fixture
def images(studio: Studio, owner: Principal, dataset: Dataset, picture: Any, boxes: Any) -> list[Sample]:
    """Three images: two cars and a bus, one car, none."""
    added = [
        studio.ingest.add_image(owner, dataset, data=picture(n), filename=f"{n}.jpg", folder=folder)
        for n, folder in enumerate(("/", "/stop", "/"))
    ]
    studio.documents.save(owner, added[0].id, [*boxes(2, "car"), *boxes(1, "bus")])
    studio.documents.save(owner, added[1].id, boxes(1, "car"))
    return added


def create(
    studio: Studio, owner: Principal, name: str = "first", progress: Any = None, **options: Any
) -> Export:
    further = {"progress": progress} if progress else {}
    return studio.exports.create(
        owner, dataset_name="signs", name=name, options=ExportOptions(**options), **further
    )


def read(studio: Studio, owner: Principal, name: str = "first") -> zipfile.ZipFile:
    _, chunks = studio.exports.open(owner, "signs", name)
    return zipfile.ZipFile(io.BytesIO(b"".join(chunks)))


def statuses(studio: Studio, owner: Principal) -> dict[str, str]:
    return {export.name: export.status for export in studio.exports.list(owner)}


def stop(*_: object) -> None:
    raise Cancelled("The caller went away.")


@pytest.mark.parametrize("kind", FORMATS)
def test_an_export_is_completed_and_its_bytes_match_its_digest(
    studio: Studio, owner: Principal, images: list[Sample], kind: str
) -> None:
    export = create(studio, owner, format=kind)
    assert (export.status, export.format, export.error_message) == ("completed", kind, None)
    assert (export.image_count, export.annotation_count) == (2, 4)
    assert export.completed_at is not None
    opened, chunks = studio.exports.open(owner, "signs", "first")
    data = b"".join(chunks)
    assert opened == export
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (export.sha256, export.file_size)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None


@pytest.mark.parametrize("kind", FORMATS)
def test_the_images_inside_are_the_uploaded_bytes(
    studio: Studio, owner: Principal, images: list[Sample], picture: Any, kind: str
) -> None:
    create(studio, owner, format=kind)
    archive = read(studio, owner)
    pictures = {archive.read(n) for n in archive.namelist() if n.endswith(".jpg")}
    assert pictures == {picture(0), picture(1)}


@pytest.mark.parametrize("kind", FORMATS)
def test_images_can_be_left_out(studio: Studio, owner: Principal, images: list[Sample], kind: str) -> None:
    export = create(studio, owner, format=kind, include_images=False)
    assert export.image_count == 2
    assert not [n for n in read(studio, owner).namelist() if n.endswith(".jpg")]


@pytest.mark.parametrize(
    ("status_filter", "expected"),
    [
        ("complete", {"0.jpg", "1.jpg"}),
        ("all", {"0.jpg", "1.jpg", "2.jpg"}),
        ("new", {"2.jpg"}),
        ("in_progress", set()),
    ],
)
def test_the_status_filter_chooses_images(
    studio: Studio, owner: Principal, images: list[Sample], status_filter: str, expected: set[str]
) -> None:
    export = create(studio, owner, format="coco", status_filter=status_filter)
    names = {n.rpartition("/")[2] for n in read(studio, owner).namelist() if n.endswith(".jpg")}
    assert names == expected
    assert export.image_count == len(expected)


def test_the_class_filter_chooses_annotations_and_keeps_images(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    export = create(studio, owner, format="coco", class_filter=["bus"])
    assert (export.image_count, export.annotation_count, export.class_filter) == (2, 1, ["bus"])
    archive = read(studio, owner)
    [document] = [json.loads(archive.read(n)) for n in archive.namelist() if n.endswith(".json")]
    assert [c["name"] for c in document["categories"]] == ["bus"]
    assert len(document["annotations"]) == 1
    assert len(document["images"]) == 2


def test_both_spellings_of_a_class_filter_work(
    studio: Studio, owner: Principal, images: list[Sample], boxes: Any
) -> None:
    studio.documents.save(owner, images[2].id, boxes(5, "caf\u00e9"))
    assert create(studio, owner, class_filter=["cafe\u0301"]).annotation_count == 5


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"format": "pascal"}, "unsupported_format"),
        ({"format": "\ud800"}, "unsupported_format"),
        ({"status_filter": "done"}, "invalid_input"),
        ({"class_filter": ["car", "tank"]}, "unknown_class"),
    ],
    ids=ascii,
)
def test_a_wrong_option_is_refused_and_leaves_no_export(
    studio: Studio, owner: Principal, images: list[Sample], options: dict[str, Any], code: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        create(studio, owner, **options)
    assert caught.value.code == code
    assert statuses(studio, owner) == {}


@pytest.mark.parametrize("name", ["", "a/b", "a%b", "..", "\ud800", "x" * 101], ids=lambda n: ascii(n[:9]))
def test_a_bad_name_is_refused(studio: Studio, owner: Principal, images: list[Sample], name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        create(studio, owner, name)
    assert caught.value.code == "invalid_name"


def test_both_spellings_of_a_name_find_the_export(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    export = create(studio, owner, "cafe\u0301")
    assert export.name == "caf\u00e9"
    for name in ("cafe\u0301", "caf\u00e9"):
        assert studio.exports.get(owner, "signs", name) == export


def test_a_taken_name_is_a_conflict_and_the_first_export_stays(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    first = create(studio, owner)
    with pytest.raises(Conflict) as caught:
        create(studio, owner, format="yolo")
    assert caught.value.code == "export_exists"
    assert studio.exports.get(owner, "signs", "first") == first


def test_many_threads_that_want_one_name_make_one_export(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    outcomes: list[str] = []

    def want() -> None:
        try:
            outcomes.append(create(studio, owner).status)
        except Conflict as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["completed"] + ["export_exists"] * 7


def test_a_stopped_build_is_failed_and_its_name_can_be_used_again(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    with pytest.raises(Cancelled):
        create(studio, owner, progress=stop)
    failed = studio.exports.get(owner, "signs", "first")
    assert (failed.status, failed.error_message, failed.sha256) == ("failed", "The caller went away.", None)
    assert list((studio.home / "tmp").iterdir()) == []
    assert create(studio, owner).status == "completed"
    assert statuses(studio, owner) == {"first": "completed"}


def test_a_defect_during_the_build_is_recorded_without_its_text(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("/secret/path")

    with pytest.raises(RuntimeError):
        create(studio, owner, progress=fail)
    assert studio.exports.get(owner, "signs", "first").error_message == "The build was stopped."


def test_a_failed_export_cannot_be_opened(studio: Studio, owner: Principal, images: list[Sample]) -> None:
    with pytest.raises(Cancelled):
        create(studio, owner, progress=stop)
    with pytest.raises(Conflict) as caught:
        studio.exports.open(owner, "signs", "first")
    assert (caught.value.code, caught.value.retryable) == ("export_not_ready", False)


def test_an_export_can_be_seen_but_not_opened_while_it_is_built(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    seen: list[Any] = []

    def look(*_: object) -> None:
        seen.append(statuses(studio, owner)["first"])
        with pytest.raises(Conflict) as caught:
            studio.exports.open(owner, "signs", "first")
        seen.append(caught.value.retryable)

    create(studio, owner, progress=look)
    assert seen == ["processing", True] * 2


BUILDS_AND_WAITS = """
import sys, time
from pathlib import Path
from tintype_studio.exports.service import ExportOptions
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

studio = Studio(Workspace(Path(sys.argv[1])))
owner = studio.keys.authenticate(saved_api_key(studio.home))

def progress(*_):
    print("building", flush=True)
    time.sleep(60)

studio.exports.create(owner, dataset_name="signs", name="first", options=ExportOptions(), progress=progress)
"""


def test_a_dead_processs_export_is_failed_at_the_next_start_and_a_living_ones_is_not(
    studio: Studio, owner: Principal, images: list[Sample], spawn: Any, open_studio: Any
) -> None:
    child = spawn(BUILDS_AND_WAITS)
    assert child.stdout.readline() == "building\n"
    open_studio()
    assert statuses(studio, owner) == {"first": "processing"}
    child.kill()
    child.wait()
    open_studio()
    failed = studio.exports.get(owner, "signs", "first")
    assert failed.status == "failed"
    assert "create it again" in (failed.error_message or "")
    assert create(studio, owner).status == "completed"


def test_an_export_that_ends_while_a_starting_process_looks_at_it_stays_completed(
    studio: Studio, owner: Principal, images: list[Sample], open_studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    building, go_on = threading.Event(), threading.Event()

    def progress(*_: object) -> None:
        building.set()
        go_on.wait(10)

    builder = threading.Thread(target=lambda: create(studio, owner, progress=progress))
    builder.start()
    building.wait(10)
    starting = open_studio()

    def ends_now(_instance: str) -> bool:
        go_on.set()
        builder.join()
        return True

    monkeypatch.setattr(starting.liveness, "is_dead", ends_now)
    starting.exports.fail_dead()
    assert statuses(studio, owner) == {"first": "completed"}


def test_an_export_keeps_its_bytes_when_the_dataset_changes(
    studio: Studio, owner: Principal, images: list[Sample], boxes: Any
) -> None:
    export = create(studio, owner)
    studio.documents.save(owner, images[0].id, boxes(1, "tram"))
    studio.samples.delete(owner, images[1].id)
    _, chunks = studio.exports.open(owner, "signs", "first")
    assert hashlib.sha256(b"".join(chunks)).hexdigest() == export.sha256


def test_another_organizations_export_is_not_found(
    studio: Studio, owner: Principal, stranger: Principal, images: list[Sample]
) -> None:
    create(studio, owner)
    assert studio.exports.list(stranger) == []
    for ask in (studio.exports.get, studio.exports.open):
        with pytest.raises(NotFound) as caught:
            ask(stranger, "signs", "first")
        assert caught.value.code == "export_not_found"
    with pytest.raises(NotFound):
        create(studio, stranger, "mine")


def test_the_same_names_in_another_organization_are_another_export(
    studio: Studio, owner: Principal, stranger: Principal, images: list[Sample]
) -> None:
    first = create(studio, owner)
    studio.datasets.create(stranger, name="signs")
    theirs = create(studio, stranger)
    assert theirs.id != first.id
    assert theirs.image_count == 0
    assert studio.exports.get(owner, "signs", "first").id == first.id


def test_the_exports_of_a_deleted_dataset_are_gone(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    create(studio, owner)
    studio.datasets.delete(owner, "signs")
    assert studio.exports.list(owner) == []
    with pytest.raises(NotFound):
        studio.exports.get(owner, "signs", "first")


def test_the_list_is_newest_first_and_paged(studio: Studio, owner: Principal, images: list[Sample]) -> None:
    for n in range(5):
        create(studio, owner, f"e{n}", include_images=False)
    pages = [studio.exports.list(owner, limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [[e.name for e in page] for page in pages] == [["e4", "e3"], ["e2", "e1"], ["e0"]]


@pytest.mark.parametrize(("status_filter", "steps"), [("all", [(1, 2), (2, 2)]), ("complete", [(1, 1)])])
def test_progress_counts_to_the_number_of_images_that_are_exported(
    studio: Studio, owner: Principal, dataset: Dataset, status_filter: str, steps: list[tuple[int, int]]
) -> None:
    labelled = studio.ingest.add_image(owner, dataset, data=jpeg(seed=1), filename="one.jpg")
    studio.ingest.add_image(owner, dataset, data=jpeg(seed=2), filename="two.jpg")
    box = {"id": "a", "name": "sign", "bounding_box": {"x": 1, "y": 1, "w": 5, "h": 5}, "type": "bbox"}
    studio.documents.save(owner, labelled.id, ANNOTATIONS.validate_python([box]))
    seen: list[tuple[int, int | None]] = []
    studio.exports.create(
        owner,
        dataset_name=dataset.name,
        name="counted",
        options=ExportOptions(format="coco", status_filter=status_filter),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == steps
