"""Samples: found by id and by name, paged, deleted."""

from __future__ import annotations

from typing import Any

import pytest

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Sample, Status
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio


@pytest.fixture
def add(studio: Studio, owner: Principal, dataset: Dataset, picture: Any) -> Any:
    def add_one(filename: str, folder: str = "/") -> Sample:
        return studio.ingest.add_image(owner, dataset, data=picture(), filename=filename, folder=folder)

    return add_one


def test_an_image_is_found_by_its_id_with_its_bytes(
    studio: Studio, owner: Principal, add: Any, picture: Any
) -> None:
    sample = add("a.jpg", "stop")
    assert studio.samples.get(owner, sample.id) == sample
    assert (sample.folder, sample.filename, sample.status) == ("/stop", "a.jpg", Status.NEW)
    assert studio.samples.image_bytes(sample) == picture()


def test_another_organizations_image_is_not_found(
    studio: Studio, owner: Principal, stranger: Principal, add: Any
) -> None:
    sample = add("a.jpg")
    for ask in (studio.samples.get, studio.samples.delete):
        with pytest.raises(NotFound) as caught:
            ask(stranger, sample.id)
        assert caught.value.code == "image_not_found"
    assert studio.samples.get(owner, sample.id) == sample


@pytest.mark.parametrize(
    ("asked", "folder"),
    [("a.jpg", "/stop"), ("stop/a.jpg", "/stop"), ("/stop/a.jpg", "/stop"), ("deep/er/b.jpg", "/deep/er")],
)
def test_an_image_is_found_by_its_name_with_or_without_its_folder(
    studio: Studio, dataset: Dataset, add: Any, asked: str, folder: str
) -> None:
    sample = add(asked.rpartition("/")[2], folder)
    assert studio.samples.find(dataset, asked) == sample


def test_a_name_in_two_folders_must_be_told_apart(studio: Studio, dataset: Dataset, add: Any) -> None:
    top, stop = add("a.jpg"), add("a.jpg", "stop")
    with pytest.raises(Conflict) as caught:
        studio.samples.find(dataset, "a.jpg")
    assert caught.value.code == "ambiguous_filename"
    assert studio.samples.find(dataset, "stop/a.jpg") == stop
    assert studio.samples.find(dataset, "/a.jpg") == top


def test_both_spellings_find_an_image(studio: Studio, dataset: Dataset, add: Any) -> None:
    sample = add("cafe\u0301.jpg", "e\u0301")
    assert studio.samples.find(dataset, "\u00e9/caf\u00e9.jpg") == sample
    assert studio.samples.find(dataset, "e\u0301/cafe\u0301.jpg") == sample


@pytest.mark.parametrize(
    "name", ["", "b.jpg", "A.JPG", "go/a.jpg", "%", "\ud800", "stop/", "../a.jpg"], ids=ascii
)
def test_an_unknown_name_is_not_found(studio: Studio, dataset: Dataset, add: Any, name: str) -> None:
    add("a.jpg", "stop")
    with pytest.raises(NotFound) as caught:
        studio.samples.find(dataset, name)
    assert caught.value.code == "image_not_found"


def test_pages_cover_every_image_once_in_upload_order(studio: Studio, dataset: Dataset, add: Any) -> None:
    added = [add(f"{n}.jpg").id for n in range(7)]
    paged: list[str] = []
    after = 0
    while page := studio.samples.page(dataset, limit=3, after=after):
        assert len(page) <= 3
        paged += [s.id for s in page]
        after = page[-1].row_id
    assert paged == added


def test_a_page_can_be_limited_to_statuses(
    studio: Studio, owner: Principal, dataset: Dataset, add: Any, boxes: Any
) -> None:
    new, done = add("a.jpg"), add("b.jpg")
    studio.documents.save(owner, done.id, boxes(1))
    by_status = {s: [one.id for one in studio.samples.page(dataset, limit=9, statuses=(s,))] for s in Status}
    assert by_status == {
        Status.NEW: [new.id],
        Status.COMPLETE: [done.id],
        Status.ANNOTATE: [],
        Status.REVIEW: [],
    }


def test_a_deleted_image_is_gone_and_its_name_is_free(
    studio: Studio, owner: Principal, dataset: Dataset, add: Any, check_counters: Any
) -> None:
    first = add("a.jpg")
    studio.samples.delete(owner, first.id)
    with pytest.raises(NotFound):
        studio.samples.delete(owner, first.id)
    with pytest.raises(NotFound):
        studio.samples.find(dataset, "a.jpg")
    second = add("a.jpg")
    assert second.id != first.id
    assert [s.id for s in studio.samples.page(dataset, limit=9)] == [second.id]
    check_counters(studio, owner, dataset.name)


@pytest.mark.parametrize("sample_id", ["", "absent", "\ud800"], ids=ascii)
def test_an_unknown_id_is_a_clear_error(studio: Studio, owner: Principal, sample_id: str) -> None:
    for ask in (studio.samples.get, studio.samples.delete):
        with pytest.raises((NotFound, InvalidInput)):
            ask(owner, sample_id)
