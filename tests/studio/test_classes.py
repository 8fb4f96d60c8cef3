"""Classes: learned by open datasets, enforced by declared ones."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tintype_studio.catalog.datasets import Dataset, DatasetClass
from tintype_studio.catalog.samples import Sample
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.fixture
def sample(studio: Studio, owner: Principal, dataset: Dataset, picture: Any) -> Sample:
    return studio.ingest.add_image(owner, dataset, data=picture(), filename="a.jpg")


def declare(studio: Studio, owner: Principal, *names: str) -> Dataset:
    return studio.classes.declare(owner, "signs", [DatasetClass(name) for name in names])


def class_names(studio: Studio, owner: Principal) -> list[str]:
    return [c.name for c in studio.datasets.get(owner, "signs").classes]


def test_an_open_dataset_learns_classes_in_the_order_they_come(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any
) -> None:
    assert studio.documents.save(owner, sample.id, [*boxes(2, "stop"), *boxes(1, "car")]).classes_added == [
        "stop",
        "car",
    ]
    assert studio.documents.save(owner, sample.id, [*boxes(1, "bus"), *boxes(1, "car")]).classes_added == [
        "bus"
    ]
    assert class_names(studio, owner) == ["stop", "car", "bus"]


def test_a_learned_class_must_have_a_clean_name(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        studio.documents.save(owner, sample.id, boxes(1, "stop/go"))
    assert caught.value.code == "invalid_name"
    assert class_names(studio, owner) == []
    assert studio.documents.get(owner, sample.id)[1] == []


def test_two_spellings_of_a_class_are_one_class(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any
) -> None:
    both = [*boxes(1, DECOMPOSED), *boxes(1, COMPOSED)]
    assert studio.documents.save(owner, sample.id, both).classes_added == [COMPOSED]
    assert studio.documents.save(owner, sample.id, boxes(1, DECOMPOSED)).classes_added == []
    assert [a.name for a in studio.documents.get(owner, sample.id)[1]] == [COMPOSED]


def test_declared_classes_keep_order_type_and_colour(
    studio: Studio, owner: Principal, dataset: Dataset
) -> None:
    classes = [DatasetClass("stop", "bbox", "#ff0000"), DatasetClass("lane", "polyline"), DatasetClass("car")]
    declared = studio.classes.declare(owner, dataset.name, classes)
    assert declared.classes == studio.datasets.get(owner, dataset.name).classes == classes
    assert declared.classes_declared
    assert studio.classes.colors(dataset.row_id) == {"stop": "#ff0000"}


def test_a_declared_dataset_refuses_an_unknown_class_and_offers_the_closest(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any
) -> None:
    declare(studio, owner, "pedestrian", "traffic light")
    with pytest.raises(InvalidInput) as caught:
        studio.documents.save(owner, sample.id, [*boxes(1, "pedestrain"), *boxes(1, "traffic light")])
    assert caught.value.code == "unknown_class"
    assert "'pedestrain'" in caught.value.message
    assert "Did you mean pedestrian?" in caught.value.fix
    assert studio.documents.get(owner, sample.id)[1] == []


def test_a_dataset_declared_without_classes_learns_them_again(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any
) -> None:
    declare(studio, owner, "car")
    with pytest.raises(InvalidInput):
        studio.documents.save(owner, sample.id, boxes(1, "bus"))
    declare(studio, owner)
    studio.documents.save(owner, sample.id, boxes(1, "bus"))
    assert [a.name for a in studio.documents.get(owner, sample.id)[1]] == ["bus"]


def test_a_class_in_use_cannot_be_dropped(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any
) -> None:
    studio.documents.save(owner, sample.id, [*boxes(1, "car"), *boxes(1, "bus")])
    with pytest.raises(Conflict) as caught:
        declare(studio, owner, "bus", "tram")
    assert caught.value.code == "class_in_use"
    assert "car" in caught.value.message
    assert class_names(studio, owner) == ["car", "bus"]
    assert not studio.datasets.get(owner, "signs").classes_declared


def test_a_class_that_only_earlier_revisions_or_deleted_images_use_can_be_dropped(
    studio: Studio, owner: Principal, dataset: Dataset, sample: Sample, boxes: Any, picture: Any
) -> None:
    studio.documents.save(owner, sample.id, boxes(1, "car"))
    studio.documents.save(owner, sample.id, boxes(1, "bus"))
    gone = studio.ingest.add_image(owner, dataset, data=picture(1), filename="b.jpg")
    studio.documents.save(owner, gone.id, boxes(1, "tram"))
    studio.samples.delete(owner, gone.id)
    declare(studio, owner, "bus")
    assert class_names(studio, owner) == ["bus"]


def test_a_name_that_occurs_twice_is_refused(studio: Studio, owner: Principal, dataset: Dataset) -> None:
    with pytest.raises(InvalidInput):
        declare(studio, owner, COMPOSED, DECOMPOSED)


@pytest.mark.parametrize("name", ["", "a/b", "..", "\ud800"], ids=ascii)
def test_a_bad_class_name_leaves_the_list_as_it_was(
    studio: Studio, owner: Principal, dataset: Dataset, name: str
) -> None:
    declare(studio, owner, "car")
    with pytest.raises(InvalidInput):
        declare(studio, owner, "bus", name)
    assert class_names(studio, owner) == ["car"]


def test_another_organization_cannot_declare_classes(
    studio: Studio, owner: Principal, stranger: Principal, dataset: Dataset
) -> None:
    with pytest.raises(NotFound):
        studio.classes.declare(stranger, dataset.name, [DatasetClass("car")])
    assert class_names(studio, owner) == []


def test_the_error_for_many_unknown_names_is_small_and_quick(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any
) -> None:
    stem = "".join(chr(97 + i * 7 % 26) for i in range(112))
    declare(studio, owner, *(f"{stem}{i:04}" for i in range(1000)))
    many = [box.model_copy(update={"name": f"{stem}x{i:05}"}) for i, box in enumerate(boxes(10_000))]
    started = time.thread_time()
    with pytest.raises(InvalidInput) as caught:
        studio.documents.save(owner, sample.id, many)
    assert time.thread_time() - started < 2  # comparing all pairs takes an hour
    assert caught.value.message.endswith(" and 9980 more.")
    assert f"'{stem[:79]}…'" in caught.value.message
    assert "and 980 more; or add the class" in caught.value.fix
    assert len(caught.value.message) + len(caught.value.fix) < 50 * 90
    assert studio.documents.get(owner, sample.id)[1] == []


def test_a_close_name_is_found_among_very_many(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any
) -> None:
    declare(studio, owner, *(f"shelf {i:03}" for i in range(500)), "pedestrian", *map(str, range(400)))
    with pytest.raises(InvalidInput) as caught:
        studio.documents.save(owner, sample.id, boxes(1, "pedestrain"))
    assert "Did you mean pedestrian? Use one of: shelf 000, " in caught.value.fix


def test_a_list_that_drops_many_classes_in_use_names_some_of_them(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any
) -> None:
    long = "z" * 120
    used = [annotation for name in [*(f"c{i:03}" for i in range(50)), long] for annotation in boxes(1, name)]
    studio.documents.save(owner, sample.id, used)
    with pytest.raises(Conflict) as caught:
        declare(studio, owner, "bus", long)
    listed = ", ".join(f"c{i:03}" for i in range(20))
    assert caught.value.message == f"Annotations still use: {listed} and 30 more."
    with pytest.raises(Conflict) as caught:
        declare(studio, owner, *(f"c{i:03}" for i in range(50)))
    assert caught.value.message == f"Annotations still use: {'z' * 79}…."


def test_names_that_occur_twice_are_told_briefly(studio: Studio, owner: Principal, dataset: Dataset) -> None:
    with pytest.raises(InvalidInput) as caught:
        declare(studio, owner, "once", *["y" * 100, "car"] * 2)
    assert caught.value.message == f"A class name occurs twice in the list: '{'y' * 79}…', 'car'."
    with pytest.raises(InvalidInput) as caught:
        declare(studio, owner, *(f"c{i}" for i in range(500)), *(f"c{i}" for i in range(500)))
    assert caught.value.message.endswith("'c19' and 480 more.")
