"""Drafts: told apart, accepted, rejected, undone; they survive exports and never teach."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import orjson
import pytest
from support.pictures import jpeg

from tintype_studio import clock
from tintype_studio.annotations import review as review_module
from tintype_studio.annotations.geometry import ANNOTATIONS, BBoxAnnotation, BoundingBox
from tintype_studio.annotations.review import DRAFT, Selection, as_accepted, as_draft, is_draft
from tintype_studio.errors import NotFound
from tintype_studio.exports.service import ExportOptions


def box(key: str, name: str = "car", confidence: float = 0.8, *, draft: bool = True):
    made = BBoxAnnotation(
        id=key,
        name=name,
        confidence=confidence,
        created_by="own-detector",
        attributes=["occluded"],
        bounding_box=BoundingBox(x=1, y=1, w=5, h=5),
    )
    return as_draft(made) if draft else made


@pytest.fixture
def image(studio, owner, dataset):
    """An image with a final car, two draft cars (0.9 and 0.4) and a draft bus (0.7)."""
    sample = studio.ingest.add_image(owner, dataset, data=jpeg(seed=1), filename="a.jpg")
    drafts = [box("b", confidence=0.9), box("c", confidence=0.4), box("d", "bus", 0.7)]
    studio.documents.save(owner, sample.id, [box("a", confidence=1.0, draft=False), *drafts])
    return sample


def state(studio, owner, sample) -> dict[str, bool]:
    """Ids, and whether each is a draft."""
    return {a.id: is_draft(a) for a in studio.documents.get(owner, sample.id)[1]}


def acting(owner):
    return replace(owner, call_id=clock.new_id(), session="s", tool="accept_annotations")


def test_the_mark_of_a_draft_comes_and_goes_and_leaves_the_rest():
    plain = box("a", draft=False)
    draft = as_draft(plain)
    assert is_draft(draft)
    assert not is_draft(plain)
    assert as_draft(draft) == draft
    assert as_accepted(draft) == plain
    assert draft.attributes == ["occluded", {"review": "draft"}]


def test_the_mark_is_what_any_client_may_send_and_keeps():
    raw = [box("a").model_dump(mode="json")]
    assert is_draft(ANNOTATIONS.validate_python(raw)[0])


def test_accepting_all_drafts_of_an_image(studio, owner, image):
    done = studio.review.image(owner, image.id, Selection(), accept=True)
    assert (done.images, done.annotations, done.left) == (1, 3, 0)
    assert done.by_class == {"car": 2, "bus": 1}
    assert state(studio, owner, image) == dict.fromkeys("abcd", False)
    kept = {a.id: a for a in studio.documents.get(owner, image.id)[1]}
    assert (kept["b"].confidence, kept["b"].created_by) == (0.9, "own-detector")
    assert studio.samples.get(owner, image.id).status == "complete"


def test_accepting_by_id_leaves_the_other_drafts(studio, owner, image):
    done = studio.review.image(owner, image.id, Selection(ids=frozenset("b")), accept=True)
    assert (done.annotations, done.left) == (1, 2)
    assert state(studio, owner, image) == {"a": False, "b": False, "c": True, "d": True}


def test_rejecting_takes_drafts_away_and_nothing_else(studio, owner, image, check_counters):
    done = studio.review.image(owner, image.id, Selection(), accept=False)
    assert done.annotations == 3
    assert state(studio, owner, image) == {"a": False}
    check_counters(studio, owner, "signs")


def test_an_image_of_rejected_drafts_is_new_again(studio, owner, dataset, check_counters):
    sample = studio.ingest.add_image(owner, dataset, data=jpeg(seed=2), filename="b.jpg")
    studio.documents.save(owner, sample.id, [box("x")])
    studio.review.image(owner, sample.id, Selection(), accept=False)
    assert studio.samples.get(owner, sample.id).status == "new"
    check_counters(studio, owner, "signs")


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(name="bus"), {"d"}),
        (Selection(min_confidence=0.7), {"b", "d"}),
        (Selection(max_confidence=0.5), {"c"}),
        (Selection(name="car", min_confidence=0.5), {"b"}),
        (Selection(name="nothing"), set()),
    ],
)
def test_a_dataset_is_reviewed_by_class_and_confidence(studio, owner, dataset, image, selection, taken):
    done = studio.review.dataset(owner, dataset, selection, accept=True)
    assert done.annotations == len(taken)
    assert done.left == 3 - len(taken)
    assert {key for key, draft in state(studio, owner, image).items() if not draft} == {"a"} | taken


def test_images_without_such_drafts_get_no_revision(studio, owner, dataset, image):
    other = studio.ingest.add_image(owner, dataset, data=jpeg(seed=2), filename="b.jpg")
    studio.documents.save(owner, other.id, [box("x", draft=False)])
    assert studio.review.dataset(owner, dataset, Selection(), accept=True).images == 1
    assert studio.documents.save(owner, other.id, []).revision == 2


@pytest.mark.parametrize(
    ("ids", "word"), [({"zz"}, "no drafts"), ({"a"}, "accepted already"), ({"a", "zz"}, "no dr")]
)
def test_ids_that_are_no_drafts_are_refused_and_nothing_changes(studio, owner, image, ids, word):
    before = state(studio, owner, image)
    with pytest.raises(NotFound, match=word) as refused:
        studio.review.image(owner, image.id, Selection(ids=frozenset(ids | {"b"})), accept=True)
    assert refused.value.code == "draft_not_found"
    assert state(studio, owner, image) == before


def test_other_organizations_see_nothing(studio, stranger, image):
    with pytest.raises(NotFound):
        studio.review.image(stranger, image.id, Selection(), accept=False)


@pytest.mark.parametrize("accept", [True, False])
def test_a_review_is_undone_byte_for_byte(studio, owner, dataset, image, accept, check_counters):
    second = studio.ingest.add_image(owner, dataset, data=jpeg(seed=2), filename="b.jpg")
    studio.documents.save(owner, second.id, [box("x"), box("y")])
    before = [studio.documents.get(owner, s.id)[1] for s in (image, second)]
    reviewer = acting(owner)
    studio.review.dataset(reviewer, dataset, Selection(), accept=accept)
    (change,) = studio.changes.of_call(owner, reviewer.call_id)
    assert (change.kind, change.count) == ("annotations.saved", 2)
    studio.undo.call(acting(owner), reviewer.call_id)
    assert [studio.documents.get(owner, s.id)[1] for s in (image, second)] == before
    check_counters(studio, owner, "signs")


def test_what_is_over_the_limit_of_one_call_is_left_for_the_next(studio, owner, dataset, image, monkeypatch):
    monkeypatch.setattr(review_module, "MAX_IMAGES", 1)
    second = studio.ingest.add_image(owner, dataset, data=jpeg(seed=2), filename="b.jpg")
    studio.documents.save(owner, second.id, [box("x")])
    first = studio.review.dataset(owner, dataset, Selection(), accept=True)
    assert (first.images, first.more, first.left) == (1, True, 1)
    rest = studio.review.dataset(owner, dataset, Selection(), accept=True)
    assert (rest.images, rest.more, rest.left) == (1, False, 0)


def test_drafts_survive_the_native_export(studio, owner, dataset, image):
    options = ExportOptions(include_images=False)
    export = studio.exports.create(owner, dataset_name="signs", name="x", options=options)
    with zipfile.ZipFile(io.BytesIO(studio.blobs.get(export.sha256))) as archive:
        texts = b"".join(archive.read(n) for n in archive.namelist() if n.endswith(".json"))
    assert texts.count(orjson.dumps(DRAFT)) == 3


def test_drafts_teach_nothing(studio, owner, dataset, image):
    assert studio.detectors.examples(dataset).counts == {"car": 1}
    studio.review.image(owner, image.id, Selection(name="car"), accept=True)
    assert studio.detectors.examples(dataset).counts == {"car": 3}
    (example,) = studio.detectors.examples(dataset).images
    assert len(example.drafts) == 1
