"""Exports: built, filtered, named, read back, failed and forgiven."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import re
import threading
import zipfile
from typing import Any

import pytest
import sqlalchemy as sa
from support.pictures import jpeg
from support.sensors import drive

from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Sample
from tintype_studio.errors import Cancelled, Conflict, InvalidInput, NotFound, Unavailable
from tintype_studio.exports import service
from tintype_studio.exports.service import Export, ExportOptions
from tintype_studio.formats import WRITERS
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.tables import exports
from tintype_studio.studio import Studio

FORMATS = list(WRITERS)


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


def test_an_export_of_each_format_is_completed_and_its_bytes_match_its_digest(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    for kind in FORMATS:
        export = create(studio, owner, kind, format=kind)
        assert (export.status, export.format, export.error_message) == ("completed", kind, None)
        assert (export.image_count, export.annotation_count) == (2, 4)
        assert export.completed_at is not None
        opened, chunks = studio.exports.open(owner, "signs", kind)
        data = b"".join(chunks)
        assert opened == export
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (export.sha256, export.file_size)
        assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None


def test_the_images_inside_are_the_uploaded_bytes(
    studio: Studio, owner: Principal, images: list[Sample], picture: Any
) -> None:
    for kind in FORMATS:
        create(studio, owner, kind, format=kind)
        archive = read(studio, owner, kind)
        pictures = {archive.read(n) for n in archive.namelist() if n.endswith(".jpg")}
        assert pictures == {picture(0), picture(1)}


def test_images_can_be_left_out(studio: Studio, owner: Principal, images: list[Sample]) -> None:
    for kind in FORMATS:
        export = create(studio, owner, kind, format=kind, include_images=False)
        assert export.image_count == 2
        assert not [n for n in read(studio, owner, kind).namelist() if n.endswith(".jpg")]


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


def test_of_a_stopped_build_nothing_is_left(studio: Studio, owner: Principal, images: list[Sample]) -> None:
    before = set(studio.blobs.digests())
    with pytest.raises(Cancelled):
        create(studio, owner, progress=stop)
    assert statuses(studio, owner) == {}
    assert list((studio.home / "tmp").iterdir()) == []
    assert set(studio.blobs.digests()) == before
    assert create(studio, owner).status == "completed"


def test_a_full_disk_is_told_and_leaves_nothing(
    studio: Studio, owner: Principal, images: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "/secret/path")

    with pytest.raises(Unavailable) as caught:
        create(studio, owner, progress=full)
    assert caught.value.code == "storage_failed"
    assert "secret" not in caught.value.message
    assert statuses(studio, owner) == {}


def test_the_build_ends_before_the_transaction_begins(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    """Others write while an export is built inside a call's unit of work."""
    written: list[str] = []

    def progress(*_: object) -> None:
        writer = threading.Thread(
            target=lambda: written.append(studio.datasets.create(owner, name=f"d{len(written)}").name)
        )
        writer.start()
        writer.join(5)

    with studio.database.unit_of_work():
        create(studio, owner, progress=progress)
        assert written == ["d0", "d1"]
    assert statuses(studio, owner) == {"first": "completed"}


SAYS_WHO_IT_IS = """
import sys, time
from pathlib import Path
from tintype_studio.studio import Studio, Workspace

print(Studio(Workspace(Path(sys.argv[1]))).liveness.instance, flush=True)
time.sleep(60)
"""


def of_an_older_version(studio: Studio, owner: Principal, instance: str | None) -> None:
    """The row of an export that a process builds in its call, as versions before this one wrote it."""
    create(studio, owner)
    with studio.database.write() as connection:
        connection.execute(
            sa.update(exports).values(status="processing", instance=instance, sha256=None, completed_at=None)
        )


def test_a_dead_processs_export_is_failed_at_the_next_start_and_a_living_ones_is_not(
    studio: Studio, owner: Principal, images: list[Sample], spawn: Any, open_studio: Any
) -> None:
    child = spawn(SAYS_WHO_IT_IS)
    of_an_older_version(studio, owner, child.stdout.readline().strip())
    open_studio()
    assert statuses(studio, owner) == {"first": "processing"}
    child.kill()
    child.wait()
    open_studio()
    failed = studio.exports.get(owner, "signs", "first")
    assert failed.status == "failed"
    assert "create it again" in (failed.error_message or "")
    with pytest.raises(Conflict) as caught:
        studio.exports.open(owner, "signs", "first")
    assert (caught.value.code, caught.value.retryable) == ("export_not_ready", False)
    assert create(studio, owner).status == "completed"
    assert statuses(studio, owner) == {"first": "completed"}


def test_an_export_that_ends_while_a_starting_process_looks_at_it_stays_completed(
    studio: Studio, owner: Principal, images: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_an_older_version(studio, owner, "somebody")

    def ends_now(_instance: str) -> bool:
        with studio.database.write() as connection:
            connection.execute(sa.update(exports).values(status="completed"))
        return True

    monkeypatch.setattr(studio.liveness, "is_dead", ends_now)
    studio.exports.fail_dead()
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


def test_the_list_can_be_of_one_dataset_and_of_one_status(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    create(studio, owner)
    studio.datasets.create(owner, name="other")
    studio.exports.create(owner, dataset_name="other", name="second", options=ExportOptions())
    of = studio.exports.list
    assert [e.name for e in of(owner, dataset_name="signs")] == ["first"]
    assert [e.name for e in of(owner, status="completed")] == ["second", "first"]
    assert of(owner, status="failed") == []
    with pytest.raises(NotFound) as caught:
        of(owner, dataset_name="none")
    assert caught.value.code == "dataset_not_found"


def test_a_deleted_export_is_gone_with_its_bytes_and_its_name_is_free(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    export = create(studio, owner)
    assert export.sha256 is not None
    twin = create(studio, owner, "other", format="coco")
    assert studio.exports.delete(owner, "signs", "first").id == export.id
    studio.recycle_bin.sweep()
    assert not studio.blobs.exists(export.sha256)
    assert twin.sha256 is not None
    assert studio.blobs.exists(twin.sha256)
    assert statuses(studio, owner) == {"other": "completed"}
    for gone in (studio.exports.delete, studio.exports.get):
        with pytest.raises(NotFound) as caught:
            gone(owner, "signs", "first")
        assert caught.value.code == "export_not_found"
    create(studio, owner)
    assert b"".join(studio.exports.open(owner, "signs", "first")[1])


def test_nobody_elses_export_can_be_deleted(
    studio: Studio, owner: Principal, stranger: Principal, images: list[Sample]
) -> None:
    create(studio, owner)
    with pytest.raises(NotFound):
        studio.exports.delete(stranger, "signs", "first")
    assert statuses(studio, owner) == {"first": "completed"}


def test_what_is_small(
    studio: Studio, owner: Principal, images: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(**options: Any) -> bool:
        return studio.exports.is_small(owner, "signs", ExportOptions(**options))

    assert small()
    monkeypatch.setattr(service, "SMALL_BYTES", 10)
    assert not small()
    assert small(include_images=False)
    monkeypatch.setattr(service, "SMALL_IMAGES", 2)
    assert small(include_images=False)  # of three images, two are complete
    assert not small(include_images=False, status_filter="all")
    with pytest.raises(InvalidInput):
        small(class_filter=["tank"])


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


def test_what_formats_of_pictures_do_not_hold_is_told(studio: Studio, owner: Principal) -> None:
    dataset = drive(studio, owner)
    told = {}
    for format in ("coco", "pictograph", "edgefirst"):
        options = ExportOptions(format=format, include_images=False, status_filter="all")
        told[format] = studio.exports.create(
            owner, dataset_name=dataset.name, name=format, options=options
        ).notes
    for format in ("coco", "pictograph"):
        text = " ".join(told[format])
        assert re.search(r"\d+ files? of (another|other) sensors?", text)
        assert "without" in text
        assert "only edgefirst holds" in text
    assert not any("left out" in note for note in told["edgefirst"])
