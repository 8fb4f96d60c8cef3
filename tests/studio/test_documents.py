"""Annotation documents: replaced whole, every save a revision."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio.annotations.geometry import AnnotationList
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Sample, Status, add_to_counters
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.tables import annotation_revisions, samples
from tintype_studio.studio import Studio

MIXED = [
    {"id": "1", "name": "car", "bounding_box": {"x": 0.5, "y": 1, "w": 2.25, "h": 3}, "confidence": 0.75},
    {
        "id": "2",
        "name": "road",
        "polygon": {
            "paths": [
                [{"x": 0, "y": 0}, {"x": 9, "y": 0}, {"x": 9, "y": 9}, {"x": 0, "y": 9}],
                [{"x": 3, "y": 3}, {"x": 6, "y": 3}, {"x": 6, "y": 6}],
            ]
        },
        "attributes": [{"surface": "wet", "lanes": 2, "nested": [None, True, 0.1]}, "é"],
    },
    {
        "id": "3",
        "name": "lane",
        "polyline": {"path": [{"x": -1, "y": 2}, {"x": 4, "y": 5}]},
        "created_by": "me",
    },
    {"id": "4", "name": "nose", "keypoint": {"x": 7.125, "y": 8}},
]


@pytest.fixture
def sample(studio: Studio, owner: Principal, dataset: Dataset, picture: Any) -> Sample:
    return studio.ingest.add_image(owner, dataset, data=picture(), filename="a.jpg")


def revisions(studio: Studio) -> list[tuple[int, int]]:
    with studio.database.read() as connection:
        return [
            (row.revision, row.annotation_count)
            for row in connection.execute(sa.select(annotation_revisions).order_by(annotation_revisions.c.id))
        ]


def test_an_image_without_annotations_has_an_empty_document(
    studio: Studio, owner: Principal, sample: Sample
) -> None:
    assert studio.documents.get(owner, sample.id) == (sample, [])


def test_every_kind_of_annotation_comes_back_as_it_was_saved(
    studio: Studio, owner: Principal, sample: Sample
) -> None:
    annotations = AnnotationList.model_validate({"annotations": MIXED}).annotations
    studio.documents.save(owner, sample.id, annotations)
    _, read = studio.documents.get(owner, sample.id)
    for before, after in zip(MIXED, read, strict=True):
        plain = after.model_dump(exclude_none=True)
        assert {key: plain[key] for key in before} == before


def test_polygons_and_polylines_are_saved_with_their_enclosing_box(
    studio: Studio, owner: Principal, sample: Sample
) -> None:
    studio.documents.save(owner, sample.id, AnnotationList.model_validate({"annotations": MIXED}).annotations)
    _, read = studio.documents.get(owner, sample.id)
    assert [read[n].bounding_box.model_dump() for n in (1, 2)] == [
        {"x": 0, "y": 0, "w": 9, "h": 9},
        {"x": -1, "y": 2, "w": 5, "h": 3},
    ]


def test_a_save_replaces_the_whole_document(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any
) -> None:
    first = studio.documents.save(owner, sample.id, boxes(3, "car"))
    second = studio.documents.save(owner, sample.id, boxes(2, "bus"))
    assert (first.previous_count, first.new_count, first.revision) == (0, 3, 1)
    assert (second.previous_count, second.new_count, second.revision) == (3, 2, 2)
    assert [a.id for a in studio.documents.get(owner, sample.id)[1]] == ["bus-0", "bus-1"]


def test_every_save_stays_as_a_revision(studio: Studio, owner: Principal, sample: Sample, boxes: Any) -> None:
    for count in (3, 1, 0, 2):
        studio.documents.save(owner, sample.id, boxes(count))
    assert revisions(studio) == [(1, 3), (2, 1), (3, 0), (4, 2)]


def test_the_status_follows_the_count(studio: Studio, owner: Principal, sample: Sample, boxes: Any) -> None:
    statuses = []
    for count in (2, 0, 1):
        saved = studio.documents.save(owner, sample.id, boxes(count))
        assert saved.status == studio.samples.get(owner, sample.id).status
        statuses.append(saved.status.value)
    assert statuses == ["complete", "new", "complete"]


@pytest.mark.parametrize("status", list(Status))
def test_saving_nothing_where_nothing_was_leaves_the_status(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any, check_counters: Any, status: Status
) -> None:
    with studio.database.write() as connection:
        connection.execute(sa.update(samples).values(status=status.value))
        add_to_counters(connection, sample.dataset_row_id, completed=int(status is Status.COMPLETE))
    for _ in range(2):
        assert studio.documents.save(owner, sample.id, []).status is status
        assert studio.samples.get(owner, sample.id).status is status
        completed = studio.datasets.get(owner, "signs").completed_image_count
        assert completed == (status is Status.COMPLETE)
    assert studio.documents.save(owner, sample.id, boxes(1)).status is Status.COMPLETE
    assert studio.documents.save(owner, sample.id, []).status is Status.NEW
    check_counters(studio, owner, "signs")


def test_a_refused_save_changes_nothing(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any, check_counters: Any
) -> None:
    studio.documents.save(owner, sample.id, boxes(2))
    with pytest.raises(InvalidInput):
        studio.documents.save(owner, sample.id, boxes(1, "bad/name"))
    assert len(studio.documents.get(owner, sample.id)[1]) == 2
    assert revisions(studio) == [(1, 2)]
    check_counters(studio, owner, "signs")


def test_an_id_that_occurs_twice_is_refused_by_the_service_too(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any
) -> None:
    with pytest.raises(InvalidInput):
        studio.documents.save(owner, sample.id, [*boxes(1), *boxes(1)])
    assert revisions(studio) == []


def test_another_organizations_image_is_not_found(
    studio: Studio, owner: Principal, stranger: Principal, sample: Sample, boxes: Any
) -> None:
    with pytest.raises(NotFound):
        studio.documents.get(stranger, sample.id)
    with pytest.raises(NotFound):
        studio.documents.save(stranger, sample.id, boxes(1))
    assert revisions(studio) == []


@pytest.mark.parametrize(
    "sample_id", ["", "absent", "\ud800", "00000000-0000-0000-0000-000000000000"], ids=ascii
)
def test_an_unknown_image_is_a_clear_error(studio: Studio, owner: Principal, sample_id: str) -> None:
    with pytest.raises((NotFound, InvalidInput)) as caught:
        studio.documents.get(owner, sample_id)
    assert caught.value.code in {"image_not_found", "invalid_text"}


def test_a_deleted_image_takes_no_annotations(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any
) -> None:
    studio.samples.delete(owner, sample.id)
    with pytest.raises(NotFound):
        studio.documents.save(owner, sample.id, boxes(1))


def test_many_documents_are_read_in_the_order_of_their_images(
    studio: Studio, owner: Principal, dataset: Dataset, picture: Any, boxes: Any
) -> None:
    data = picture()
    for n in range(5):
        one = studio.ingest.add_image(owner, dataset, data=data, filename=f"{n}.jpg")
        studio.documents.save(owner, one.id, boxes(4))
        studio.documents.save(owner, one.id, boxes(n))
    page = studio.samples.page(dataset, limit=10)[::-1]
    read = list(studio.documents.of_samples(page))
    assert [s.filename for s, _ in read] == ["4.jpg", "3.jpg", "2.jpg", "1.jpg", "0.jpg"]
    assert [len(document) for _, document in read] == [4, 3, 2, 1, 0]


def test_saves_from_many_threads_leave_one_whole_document_and_every_revision(
    studio: Studio, owner: Principal, sample: Sample, boxes: Any, check_counters: Any
) -> None:
    failures: list[BaseException] = []

    def save(n: int) -> None:
        try:
            for _ in range(4):
                studio.documents.save(owner, sample.id, boxes(n, f"class{n}"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=save, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    _, document = studio.documents.get(owner, sample.id)
    assert {a.name for a in document} == {f"class{len(document)}"}
    assert sorted(revision for revision, _ in revisions(studio)) == list(range(1, 33))
    check_counters(studio, owner, "signs")


OUTSIDE = {
    "box": {"bounding_box": {"x": 24, "y": 0, "w": 5, "h": 5}},
    "polygon": {"polygon": {"paths": [[{"x": -9, "y": 0}, {"x": -1, "y": 0}, {"x": -1, "y": 9}]]}},
    "line": {"polyline": {"path": [{"x": 1, "y": -3}, {"x": 9, "y": -3}]}},
    "point": {"keypoint": {"x": 3, "y": 16.5}},
}
BORDER = [
    {"id": "1", "name": "a", "bounding_box": {"x": 23.5, "y": -100, "w": 500, "h": 500}},
    {"id": "2", "name": "a", "keypoint": {"x": 24, "y": 16}},
    {"id": "3", "name": "a", "polyline": {"path": [{"x": 1, "y": 0}, {"x": 9, "y": 0}]}},
]


@pytest.mark.parametrize("kind", OUTSIDE)
def test_what_lies_wholly_outside_the_picture_is_told(
    studio: Studio, owner: Principal, sample: Sample, kind: str
) -> None:
    assert (sample.width, sample.height) == (24, 16)
    given = [*BORDER, {"id": "far", "name": "b"} | OUTSIDE[kind]]
    annotations = AnnotationList.model_validate({"annotations": given}).annotations
    saved = studio.documents.save(owner, sample.id, annotations)
    assert saved.new_count == 4
    assert [(found.index, found.annotation.id) for found in saved.outside] == [(3, "far")]
