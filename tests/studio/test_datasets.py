"""Datasets: made, found, listed, deleted, each organization's own."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def test_a_new_dataset_is_empty(studio: Studio, owner: Principal) -> None:
    dataset = studio.datasets.create(owner, name="signs", description="Road signs")
    assert (dataset.name, dataset.description, dataset.organization_id) == (
        "signs",
        "Road signs",
        owner.organization_uuid,
    )
    assert (dataset.image_count, dataset.annotation_count, dataset.total_size) == (0, 0, 0)
    assert (dataset.classes, dataset.classes_declared) == ([], False)
    assert studio.datasets.get(owner, "signs") == dataset


def test_a_taken_name_is_a_conflict(studio: Studio, owner: Principal, dataset: Dataset) -> None:
    with pytest.raises(Conflict) as caught:
        studio.datasets.create(owner, name=dataset.name)
    assert caught.value.code == "dataset_exists"
    assert len(studio.datasets.list(owner)) == 1


def test_names_are_case_sensitive(studio: Studio, owner: Principal, dataset: Dataset) -> None:
    studio.datasets.create(owner, name="Signs")
    assert {d.name for d in studio.datasets.list(owner)} == {"Signs", "signs"}


@pytest.mark.parametrize("name", ["", " ", "a/b", "a?b", "a#b", "a%b", "..", "a\nb", "a\ud800"], ids=ascii)
def test_a_bad_name_makes_no_dataset(studio: Studio, owner: Principal, name: str) -> None:
    for make in (
        lambda: studio.datasets.create(owner, name=name),
        lambda: studio.datasets.get_or_create(owner, name),
    ):
        with pytest.raises(InvalidInput) as caught:
            make()
        assert caught.value.code == "invalid_name"
    assert studio.datasets.list(owner) == []


def test_both_spellings_of_a_name_find_the_one_dataset(studio: Studio, owner: Principal) -> None:
    made = studio.datasets.create(owner, name=DECOMPOSED)
    assert made.name == COMPOSED
    assert studio.datasets.get(owner, COMPOSED).id == made.id
    assert studio.datasets.get(owner, DECOMPOSED).id == made.id
    assert studio.datasets.get_or_create(owner, DECOMPOSED).id == made.id
    with pytest.raises(Conflict):
        studio.datasets.create(owner, name=COMPOSED)
    studio.datasets.delete(owner, DECOMPOSED)
    assert studio.datasets.list(owner) == []


@pytest.mark.parametrize("name", ["absent", "SIGNS", "signs%", "", "\ud800", "sign_"], ids=ascii)
def test_an_unknown_name_is_not_found(studio: Studio, owner: Principal, dataset: Dataset, name: str) -> None:
    for ask in (studio.datasets.get, studio.datasets.delete):
        with pytest.raises(NotFound) as caught:
            ask(owner, name)
        assert caught.value.code == "dataset_not_found"


def test_another_organizations_dataset_is_not_found(
    studio: Studio, owner: Principal, stranger: Principal, dataset: Dataset
) -> None:
    assert studio.datasets.list(stranger) == []
    for ask in (studio.datasets.get, studio.datasets.delete):
        with pytest.raises(NotFound) as foreign:
            ask(stranger, dataset.name)
        with pytest.raises(NotFound) as absent:
            ask(stranger, "absent")
        assert foreign.value.message.replace(dataset.name, "absent") == absent.value.message
    assert studio.datasets.get(owner, dataset.name).id == dataset.id


def test_two_organizations_may_use_one_name(
    studio: Studio, owner: Principal, stranger: Principal, dataset: Dataset
) -> None:
    theirs = studio.datasets.create(stranger, name=dataset.name)
    assert theirs.id != dataset.id
    studio.datasets.delete(stranger, dataset.name)
    assert studio.datasets.get(owner, dataset.name).id == dataset.id


def test_the_list_is_newest_first_and_paged(studio: Studio, owner: Principal) -> None:
    for n in range(7):
        studio.datasets.create(owner, name=f"d{n}")
    pages = [studio.datasets.list(owner, limit=3, offset=offset) for offset in (0, 3, 6, 9)]
    assert [[d.name for d in page] for page in pages] == [["d6", "d5", "d4"], ["d3", "d2", "d1"], ["d0"], []]


def test_a_deleted_dataset_takes_its_images_and_frees_its_name(
    studio: Studio, owner: Principal, dataset: Dataset, picture: Any, boxes: Any
) -> None:
    sample = studio.ingest.add_image(owner, dataset, data=picture(), filename="a.jpg")
    studio.documents.save(owner, sample.id, boxes(3))
    counts = studio.datasets.delete(owner, dataset.name)
    assert (counts.images_deleted, counts.annotations_deleted) == (1, 3)
    with pytest.raises(NotFound):
        studio.samples.get(owner, sample.id)
    with pytest.raises(NotFound):
        studio.documents.save(owner, sample.id, boxes(1))
    again = studio.datasets.create(owner, name=dataset.name)
    assert again.id != dataset.id
    assert (again.image_count, studio.samples.page(again, limit=10)) == (0, [])


def test_many_threads_that_want_one_dataset_get_the_same(studio: Studio, owner: Principal) -> None:
    barrier, ids = threading.Barrier(12), []

    def want() -> None:
        barrier.wait()
        ids.append(studio.datasets.get_or_create(owner, "signs").id)

    threads = [threading.Thread(target=want) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 12
    assert len(set(ids)) == 1
