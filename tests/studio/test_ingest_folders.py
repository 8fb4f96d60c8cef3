"""Folders of pictures: where files land, what a second run does, how an upload is stopped."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.uploads import codes, numbers, places

from tintype_studio.catalog import ingest
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.folder_walk import require_pictures
from tintype_studio.catalog.ingest import UploadReport
from tintype_studio.errors import Cancelled, Conflict, InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio


@pytest.fixture
def good(picture: Any) -> dict[str, bytes]:
    return {"a.jpg": picture(1), "stop/b.jpg": picture(2), "z.jpg": picture(3)}


def test_a_folder_is_taken_whole(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any, check_counters: Any
) -> None:
    report = studio.ingest.add_folder(owner, dataset, folder(good))
    assert numbers(report) == (3, 3, 0, 0)
    assert set(places(studio, dataset)) == {"/a.jpg", "/stop/b.jpg", "/z.jpg"}
    assert check_counters(studio, owner, dataset.name).image_count == 3


def test_deeper_levels_collapse_into_the_first(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, picture: Any
) -> None:
    files = {
        "top.jpg": picture(0),
        "stop/1.jpg": picture(1),
        "stop/night/2.jpg": picture(2),
        "go/x/y/3.jpg": picture(3),
    }
    studio.ingest.add_folder(owner, dataset, folder(files))
    assert set(places(studio, dataset)) == {"/top.jpg", "/stop/1.jpg", "/stop/2.jpg", "/go/3.jpg"}


def test_without_classes_everything_lands_at_the_top(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, picture: Any
) -> None:
    files = {"top.jpg": picture(0), "stop/1.jpg": picture(1), "stop/night/2.jpg": picture(2)}
    studio.ingest.add_folder(owner, dataset, folder(files), organize_by_class=False)
    assert set(places(studio, dataset)) == {"/top.jpg", "/1.jpg", "/2.jpg"}


@pytest.mark.parametrize("batch", [1, 256])
@pytest.mark.parametrize("skip_existing", [True, False])
def test_two_files_that_collapse_onto_one_place_are_never_silently_one(
    studio: Studio,
    owner: Principal,
    dataset: Dataset,
    folder: Any,
    picture: Any,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    skip_existing: bool,
) -> None:
    monkeypatch.setattr(ingest, "BATCH", batch)
    root = folder({"stop/1.jpg": picture(1), "stop/night/1.jpg": picture(2)})
    first = studio.ingest.add_folder(owner, dataset, root, skip_existing=skip_existing)
    assert numbers(first) == (2, 1, 0, 1)
    assert codes(first) == {"stop/night/1.jpg": "conflict"}
    assert "/stop/1.jpg" in first.failures[0].reason
    assert studio.samples.image_bytes(places(studio, dataset)["/stop/1.jpg"]) == picture(1)


@pytest.mark.parametrize("batch", [1, 256])
def test_a_second_run_still_reports_the_file_that_has_no_place(
    studio: Studio,
    owner: Principal,
    dataset: Dataset,
    folder: Any,
    picture: Any,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
) -> None:
    """Else a first run that was killed between the two files would lose one without a word."""
    monkeypatch.setattr(ingest, "BATCH", batch)
    root = folder({"stop/1.jpg": picture(1), "stop/night/1.jpg": picture(2)})
    studio.ingest.add_folder(owner, dataset, root)
    second = studio.ingest.add_folder(owner, dataset, root)
    assert numbers(second) == (2, 0, 1, 1)
    assert codes(second) == {"stop/night/1.jpg": "conflict"}


def test_a_second_run_reads_no_file_again_whatever_its_name(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, picture: Any
) -> None:
    files = {
        "cafe\u0301/e\u0301.jpg": picture(1),
        "знак/стоп 1.jpg": picture(2),
        "a.heic": picture(3, kind="HEIF"),
    }
    root = folder(files)
    assert numbers(studio.ingest.add_folder(owner, dataset, root)) == (3, 3, 0, 0)
    assert set(places(studio, dataset)) == {"/caf\u00e9/\u00e9.jpg", "/знак/стоп 1.jpg", "/a.png"}
    read: list[Path] = []
    report = studio.ingest.add_folder(owner, dataset, root, allowed=lambda path: not read.append(path))
    assert numbers(report) == (3, 0, 3, 0)
    assert read == []


def test_hidden_and_other_files_are_left_alone(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, picture: Any
) -> None:
    files = {
        "a.jpg": picture(),
        ".b.jpg": picture(),
        ".git/c.jpg": picture(),
        "notes.txt": b"x",
        "jpg": picture(),
    }
    report = studio.ingest.add_folder(owner, dataset, folder(files))
    assert numbers(report) == (1, 1, 0, 0)
    assert (report.files_ignored, report.ignored_examples) == (2, ["jpg", "notes.txt"])


def test_only_some_of_many_other_files_are_named(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any
) -> None:
    report = studio.ingest.add_folder(owner, dataset, folder({f"{n}.txt": b"" for n in range(9)}))
    assert (report.files_ignored, report.ignored_examples) == (9, [f"{n}.txt" for n in range(5)])


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "'pictures'."),
        ({"a.pdf": b""}, "'pictures', only 1 other file ('a.pdf')."),
        (
            {f"{n}.txt": b"" for n in range(6)},
            "'pictures', only 6 other files ('0.txt', '1.txt', '2.txt', '3.txt', '4.txt', …).",
        ),
    ],
)
def test_a_folder_without_pictures_is_told_from_one_with(
    folder: Any, picture: Any, files: dict[str, bytes], told: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        require_pictures(folder(files))
    assert refused.value.code == "no_pictures"
    assert refused.value.message.endswith(told)
    require_pictures(folder({"deep/er/a.jpg": picture()}))


def test_an_empty_folder_is_an_empty_report(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any
) -> None:
    assert numbers(studio.ingest.add_folder(owner, dataset, folder({}))) == (0, 0, 0, 0)


@pytest.mark.parametrize("name", ["absent", "a.jpg"])
def test_a_folder_that_is_none_is_a_clear_error(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any, name: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput) as caught:
        studio.ingest.add_folder(owner, dataset, folder(good) / name)
    assert caught.value.code == "folder_not_found"
    assert str(tmp_path) not in caught.value.message


def test_a_second_run_skips_all(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any, check_counters: Any
) -> None:
    root = folder(good)
    studio.ingest.add_folder(owner, dataset, root)
    before = places(studio, dataset)
    assert numbers(studio.ingest.add_folder(owner, dataset, root)) == (3, 0, 3, 0)
    assert places(studio, dataset) == before
    check_counters(studio, owner, dataset.name)


def test_without_skipping_a_second_run_reports_conflicts(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any
) -> None:
    root = folder(good)
    studio.ingest.add_folder(owner, dataset, root)
    report = studio.ingest.add_folder(owner, dataset, root, skip_existing=False)
    assert numbers(report) == (3, 0, 0, 3)
    assert codes(report) == dict.fromkeys(good, "conflict")


def test_a_second_run_takes_only_what_is_new(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any, picture: Any
) -> None:
    studio.ingest.add_folder(owner, dataset, folder(good))
    report = studio.ingest.add_folder(owner, dataset, folder({"stop/new.jpg": picture(9)}))
    assert numbers(report) == (4, 1, 3, 0)


@pytest.mark.parametrize(
    ("name", "kind", "stored"),
    [
        ("a.heic", "HEIF", "/a.png"),
        ("a.HEIC", "HEIF", "/a.png"),
        ("a.jpg", "HEIF", "/a.png"),
        ("a.heic", "JPEG", "/a.heic"),
        ("a.png", "JPEG", "/a.png"),
    ],
)
def test_what_a_name_promised_and_the_content_broke_is_skipped_on_the_second_run(
    studio: Studio,
    owner: Principal,
    dataset: Dataset,
    folder: Any,
    picture: Any,
    name: str,
    kind: str,
    stored: str,
) -> None:
    root = folder({name: picture(kind=kind)})
    assert numbers(studio.ingest.add_folder(owner, dataset, root)) == (1, 1, 0, 0)
    assert set(places(studio, dataset)) == {stored}
    assert numbers(studio.ingest.add_folder(owner, dataset, root)) == (1, 0, 1, 0)


def test_a_heic_beside_a_png_of_its_name_is_a_reported_collision(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, picture: Any
) -> None:
    root = folder({"a.heic": picture(1, kind="HEIF"), "a.png": picture(2, kind="PNG")})
    assert codes(studio.ingest.add_folder(owner, dataset, root)) == {"a.png": "conflict"}
    assert set(places(studio, dataset)) == {"/a.png"}


def test_two_uploads_of_one_folder_at_once_take_each_file_once(
    studio: Studio,
    owner: Principal,
    open_studio: Any,
    dataset: Dataset,
    folder: Any,
    picture: Any,
    check_counters: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ingest, "BATCH", 8)
    root = folder({f"stop/{n}.jpg": picture(n) for n in range(40)})
    reports: list[UploadReport] = []
    threads = [
        threading.Thread(target=lambda one=one: reports.append(one.ingest.add_folder(owner, dataset, root)))
        for one in (studio, open_studio(), studio)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.failures for report in reports] == [[], [], []]
    assert sum(report.images_uploaded for report in reports) == 40
    assert sum(report.images_skipped for report in reports) == 80
    assert check_counters(studio, owner, dataset.name).image_count == 40


def test_progress_counts_every_file_once(
    studio: Studio,
    owner: Principal,
    dataset: Dataset,
    folder: Any,
    picture: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ingest, "BATCH", 4)
    root = folder({f"{n:02}.jpg": picture(n) for n in range(10)} | {"bad.jpg": b"x"})
    seen: list[tuple[int, int]] = []
    studio.ingest.add_folder(
        owner, dataset, root, progress=lambda done, total, _name: seen.append((done, total))
    )
    assert seen == [(n, 11) for n in range(1, 12)]


@pytest.mark.parametrize("stop_at", [1, 4, 5, 9, 20])
def test_a_cancelled_upload_leaves_whole_images_only_and_can_be_continued(
    studio: Studio,
    owner: Principal,
    dataset: Dataset,
    folder: Any,
    picture: Any,
    check_counters: Any,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: int,
) -> None:
    monkeypatch.setattr(ingest, "BATCH", 4)
    files = {f"{n:02}.jpg": picture(n) for n in range(20)}

    def progress(done: int, _total: int, _name: str) -> None:
        if done == stop_at:
            raise Cancelled("The caller went away.")

    root = folder(files)
    with pytest.raises(Cancelled):
        studio.ingest.add_folder(owner, dataset, root, progress=progress)
    kept = places(studio, dataset)
    assert len(kept) == (stop_at - 1) // 4 * 4
    check_counters(studio, owner, dataset.name)
    assert numbers(studio.ingest.add_folder(owner, dataset, root)) == (20, 20 - len(kept), len(kept), 0)
    assert {path[1:]: studio.samples.image_bytes(s) for path, s in places(studio, dataset).items()} == files


def test_a_cancelled_upload_does_not_finish_the_batch_first(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, picture: Any
) -> None:
    root = folder({f"{n:03}.jpg": picture(n) for n in range(100)})

    def slow(_path: Path) -> bool:
        time.sleep(0.05)
        return True

    def progress(*_: object) -> None:
        raise Cancelled("The caller went away.")

    started = time.monotonic()
    with pytest.raises(Cancelled):
        studio.ingest.add_folder(owner, dataset, root, max_workers=2, allowed=slow, progress=progress)
    assert time.monotonic() - started < 1.0  # all of them would take 2.5 s


def test_a_dataset_deleted_during_the_upload_gains_nothing_more(
    studio: Studio,
    owner: Principal,
    dataset: Dataset,
    folder: Any,
    picture: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ingest, "BATCH", 4)
    root = folder({f"{n:02}.jpg": picture(n) for n in range(12)})

    def progress(done: int, _total: int, _name: str) -> None:
        if done == 6:
            studio.datasets.delete(owner, dataset.name)

    with pytest.raises(Conflict) as caught:
        studio.ingest.add_folder(owner, dataset, root, progress=progress)
    assert caught.value.code == "dataset_deleted"
    again = studio.datasets.create(owner, name=dataset.name)
    assert places(studio, again) == {}
    assert studio.samples.page(dataset, limit=99) == []
    assert numbers(studio.ingest.add_folder(owner, again, root)) == (12, 12, 0, 0)


@pytest.mark.parametrize("name", ["linked", "linked.jpg"])
def test_a_class_folder_that_is_a_link_is_reported(
    studio: Studio,
    owner: Principal,
    dataset: Dataset,
    folder: Any,
    good: Any,
    picture: Any,
    tmp_path: Path,
    name: str,
) -> None:
    root = folder(good)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.jpg").write_bytes(picture(7))
    (root / name).symlink_to(tmp_path / "elsewhere")
    report = studio.ingest.add_folder(owner, dataset, root)
    assert numbers(report) == (3, 3, 0, 1)
    assert codes(report) == {name: "link_not_followed"}
    assert "folder is a link" in report.failures[0].reason


def test_links_to_other_files_are_left_alone(
    studio: Studio, owner: Principal, dataset: Dataset, folder: Any, good: Any, tmp_path: Path
) -> None:
    root = folder(good)
    (tmp_path / "notes.txt").write_text("x")
    (root / "notes").symlink_to(tmp_path / "notes.txt")
    (root / "loop").symlink_to("loop")
    (root / "nowhere").symlink_to("absent")
    assert numbers(studio.ingest.add_folder(owner, dataset, root)) == (3, 3, 0, 0)
