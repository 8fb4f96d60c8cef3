"""Which engine is chosen, what each says when it cannot, and that the own detector is taught once."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
from support.drawings import CLASSES, boxes_of, fill, jpeg

from tintype_studio.annotations.geometry import KeypointAnnotation, Point
from tintype_studio.annotations.review import as_draft
from tintype_studio.errors import Cancelled, Unavailable
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace
from tintype_studio.vision.detect import chain, learning, open_weights
from tintype_studio.vision.detect.chain import Detectors, DetectorSettings, open_engine
from tintype_studio.vision.detect.examples import MAX_IMAGES, Example, Examples
from tintype_studio.vision.detect.own import OwnDetector
from tintype_studio.vision.detect.text_prompts import answer, survey_prompt
from tintype_studio.vision.detect.views import LabelledImage


@pytest.fixture
def studio(tmp_path: Path):
    opened = Studio(Workspace(tmp_path / "home"))
    yield opened
    opened.close()


@pytest.fixture
def owner(studio):
    return studio.keys.authenticate(saved_api_key(studio.home))


@pytest.fixture
def yard(studio, owner):
    dataset = studio.datasets.create(owner, name="yard")
    fill(studio, owner, dataset, labelled=3, unlabelled=1)
    return dataset


@pytest.fixture
def taught_by(monkeypatch, detector):
    """Counts the lessons that are learned, which take no time here; forgets what is open."""
    lessons: list[list[LabelledImage]] = []

    def learn(images, classes, **_more):
        lessons.append(list(images))
        assert tuple(classes) == CLASSES
        return detector

    monkeypatch.setattr(learning, "learn", learn)
    monkeypatch.setattr(chain, "_engines", OrderedDict())
    monkeypatch.setattr(chain, "_opening", {})
    return lessons


def survey(studio, dataset, *names, settings: DetectorSettings | None = None):
    places = (studio.database, studio.blobs, studio.detectors.blob_url)
    detectors = Detectors(*places, studio.samples, studio.documents, settings)
    return detectors.survey(dataset, {name: name for name in names})


def test_the_own_detector_serves_what_has_examples_and_nothing_else(studio, yard):
    found = survey(studio, yard, "badge", "crate", "elephant")
    assert {name: spec.kind for name, spec in found.engines.items()} == dict.fromkeys(CLASSES, "own_detector")
    assert found.missing == ["elephant"]
    assert [names for _, names in found.groups()] == [["badge", "crate"]], "one engine for both"
    own = found.readiness["badge"][1]
    assert (own.ready, own.examples) == (True, 3)
    assert "0 accepted" in found.readiness["elephant"][1].why


def test_two_examples_are_one_too_few(studio, owner, yard):
    first = studio.samples.page(yard, limit=1)[0]
    studio.documents.save(owner, first.id, boxes_of(0, kinds=(1,)))
    found = survey(studio, yard, *CLASSES)
    assert found.missing == ["badge"]
    assert "Label 1 more" in found.readiness["badge"][1].fix


def test_drafts_and_keypoints_are_no_examples(studio, owner, yard):
    first = studio.samples.page(yard, limit=1)[0]
    badge, crate = boxes_of(0)
    point = KeypointAnnotation(id="k", name="badge", keypoint=Point(x=3, y=3))
    studio.documents.save(owner, first.id, [as_draft(badge), crate, point])
    assert survey(studio, yard, *CLASSES).missing == ["badge"]


def test_an_open_vocabulary_model_comes_first(studio, yard, monkeypatch, tmp_path):
    monkeypatch.setattr(open_weights, "find_spec", lambda _name: object())
    (tmp_path / "config.json").write_text('{"model_type": "owlv2"}')
    found = survey(studio, yard, "badge", "elephant", settings=DetectorSettings(model=str(tmp_path)))
    assert {spec.kind for spec in found.engines.values()} == {"open_vocabulary"}
    assert found.missing == []


def test_a_model_that_cannot_be_opened_says_so_and_the_next_engine_serves(studio, yard):
    found = survey(studio, yard, "badge", settings=DetectorSettings(model="/no/such/folder"))
    assert found.engines["badge"].kind == "own_detector"
    assert not found.readiness["badge"][0].ready
    assert "/no/such" not in found.readiness["badge"][0].why + found.readiness["badge"][0].fix


def test_the_api_serves_only_where_nothing_in_the_house_does(studio, yard, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    found = survey(studio, yard, "badge", "elephant", settings=DetectorSettings(api="openai"))
    assert {n: s.kind for n, s in found.engines.items()} == {
        "badge": "own_detector",
        "elephant": "vision_api",
    }
    monkeypatch.delenv("OPENAI_API_KEY")
    assert survey(studio, yard, "elephant", settings=DetectorSettings(api="openai")).missing == ["elephant"]


def test_without_any_engine_there_is_one_error(studio, yard):
    with pytest.raises(Unavailable) as refused:
        survey(studio, yard, "elephant").require("yard")
    assert refused.value.code == "needs_engine"
    survey(studio, yard, "elephant", "badge").require("yard")


def test_it_is_taught_once_whoever_asks(studio, yard, taught_by):
    spec = survey(studio, yard, "badge").engines["badge"]
    threads = [threading.Thread(target=open_engine, args=(spec, studio.blobs)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taught_by) == 1
    assert len(taught_by[0]) == 3
    chain._engines.clear()
    assert isinstance(open_engine(spec, studio.blobs), OwnDetector), "kept among what is derived"
    assert len(taught_by) == 1


def test_a_dataset_is_read_again_only_when_it_changed(studio, owner, yard, monkeypatch):
    reads = []
    real = chain.gather
    monkeypatch.setattr(chain, "gather", lambda *arguments: reads.append(1) or real(*arguments))
    assert studio.detectors.examples(yard) is studio.detectors.examples(yard)
    assert len(reads) == 1
    first = studio.samples.page(yard, limit=1)[0]
    studio.documents.save(owner, first.id, [])
    assert studio.detectors.examples(yard).counts == {"badge": 2, "crate": 2}
    studio.samples.delete(owner, studio.samples.page(yard, limit=9)[1].id)
    assert studio.detectors.examples(yard).counts == {"badge": 1, "crate": 1}


def test_the_lesson_is_made_again_only_when_the_dataset_changed(studio, owner, yard, monkeypatch):
    made = []
    real = Examples.lesson
    monkeypatch.setattr(Examples, "lesson", lambda *arguments: made.append(1) or real(*arguments))
    before = studio.detectors.survey(yard, {"badge": "badge"}).engines["badge"]
    assert studio.detectors.survey(yard, {"crate": "crate"}).engines["crate"].lesson is before.lesson
    assert len(made) == 1
    studio.documents.save(owner, studio.samples.page(yard, limit=9)[-1].id, boxes_of(3))
    after = studio.detectors.survey(yard, {"badge": "badge"}).engines["badge"]
    assert after.key != before.key
    assert len(made) == 2


def test_reading_the_examples_can_be_given_up_and_leaves_nothing_half_read(studio, yard):
    calls = []

    def enough() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        survey_prompt(studio.detectors, yard, "badge", enough)
    assert studio.detectors.examples(yard).counts == {"badge": 3, "crate": 3}


def test_an_answer_hands_its_check_to_the_reading(studio, yard):
    def enough() -> None:
        raise Cancelled("enough")

    image = studio.samples.image_bytes(studio.samples.page(yard, limit=1)[0])
    settings = {"output_type": "bbox", "threshold": 0.5, "max_detections": 5}
    with pytest.raises(Cancelled):
        answer(studio.detectors, studio.prompts, yard, image, "badge", check=enough, **settings)
    assert studio.detectors._read == {}, "given up while reading, not later"


def test_new_labels_teach_anew_and_drafts_do_not(studio, owner, yard, taught_by):
    before = survey(studio, yard, "badge").engines["badge"]
    last = studio.samples.page(yard, limit=9)[-1]
    studio.documents.save(owner, last.id, [as_draft(a) for a in boxes_of(3)])
    assert survey(studio, yard, "badge").engines["badge"].key == before.key
    studio.documents.save(owner, last.id, boxes_of(3))
    assert survey(studio, yard, "badge").engines["badge"].key != before.key


def test_the_boxes_of_a_lesson_fit_the_pixels_that_are_learned_from(studio, yard, taught_by):
    open_engine(survey(studio, yard, "badge").engines["badge"], studio.blobs)
    for image in taught_by[0]:
        assert image.image.shape == (170, 220, 3)
        for box, label in zip(image.boxes.astype(int), image.labels, strict=True):
            middle = image.image[(box[1] + box[3]) // 2, (box[0] + box[2]) // 2].astype(int)
            if label == 0:
                assert middle.min() > 180, "the badge's white core"
            else:
                assert middle[0] > middle[2] + 60, "the crate's yellow cross"


def test_an_image_that_no_longer_opens_is_left_out_of_the_lesson(studio, yard, taught_by):
    broken = studio.samples.page(yard, limit=1)[0]
    path = studio.home / "blobs" / "sha256" / broken.sha256[:2] / broken.sha256
    path.write_bytes(b"gone bad")
    open_engine(survey(studio, yard, "badge").engines["badge"], studio.blobs)
    assert len(taught_by[0]) == 2


def test_when_none_opens_there_is_one_error(studio, yard, taught_by):
    for sample in studio.samples.page(yard, limit=9):
        (studio.home / "blobs" / "sha256" / sample.sha256[:2] / sample.sha256).write_bytes(b"gone bad")
    with pytest.raises(Unavailable) as refused:
        open_engine(survey(studio, yard, "badge").engines["badge"], studio.blobs)
    assert refused.value.code == "examples_unreadable"
    assert taught_by == []


def test_what_is_kept_but_damaged_is_learned_again(studio, yard, taught_by):
    spec = survey(studio, yard, "badge").engines["badge"]
    digest = spec.lesson.digest
    studio.blobs.put_derived(f"detectors/{digest[:2]}/{digest}.npz", b"half a file")
    open_engine(spec, studio.blobs)
    assert len(taught_by) == 1


@pytest.mark.slow
def test_it_is_taught_in_a_process_of_its_own(studio, yard, monkeypatch):
    monkeypatch.setattr(chain, "_engines", OrderedDict())
    monkeypatch.setattr(learning, "learn", None)
    spec = survey(studio, yard, "badge").engines["badge"]
    assert studio.detectors.open(spec).name == "own-detector"


def test_teaching_can_be_given_up(studio, yard, monkeypatch):
    monkeypatch.setattr(chain, "_engines", OrderedDict())
    spec = survey(studio, yard, "badge").engines["badge"]

    def enough() -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        studio.detectors.open(spec, enough)


def test_waiting_for_another_lesson_can_be_given_up(studio, yard, taught_by):
    spec = survey(studio, yard, "badge").engines["badge"]
    lock = chain._opening.setdefault(spec.key, threading.Lock())

    def enough() -> None:
        raise Cancelled("enough")

    with lock, pytest.raises(Cancelled):
        open_engine(spec, studio.blobs, enough)


def test_of_many_images_those_with_rare_classes_are_learned_from():
    box = (0.0, 0.0, 9.0, 9.0)

    def example(index: int, name: str) -> Example:
        return Example(f"s{index}", f"{index:04}", 10, 10, ((name, box),), ())

    many = [example(k, "common") for k in range(MAX_IMAGES * 3)]
    rare = [example(MAX_IMAGES * 3 + k, "rare") for k in range(5)]
    examples = Examples({"common": len(many), "rare": 5}, (*many, *rare))
    lesson = examples.lesson(1)
    assert len(lesson.images) == MAX_IMAGES
    assert sum(e.boxes[0][0] == "rare" for e in lesson.images) == 5
    again = Examples({"rare": 5, "common": len(many)}, (*rare, *reversed(many))).lesson(1)
    assert again.digest == lesson.digest, "the order in which images came does not matter"
    assert examples.lesson(2).digest != lesson.digest


def test_choosing_compares_kinds_of_images_and_gives_what_comparing_all_gives():
    """Against the plain rule: again and again the image whose rarest class has been seen least."""
    random = np.random.default_rng(4)
    box = (0.0, 0.0, 9.0, 9.0)
    names = ["a", "b", "c", "d", "few"]
    images = []
    for k in range(600):
        drawn = random.choice(names, int(random.integers(1, 5)), p=[0.5, 0.3, 0.14, 0.05, 0.01])
        images.append(Example(f"s{k}", f"{k:04}", 10, 10, tuple((str(n), box) for n in drawn), ()))
    classes = set("abcd")
    left = [e for e in images if any(n in classes for n, _ in e.boxes)]
    seen: Counter[str] = Counter()
    expected = []
    for _ in range(MAX_IMAGES):
        best = min(left, key=lambda e: min(seen[n] for n, _ in e.boxes if n in classes))
        left.remove(best)
        expected.append(best)
        seen.update(n for n, _ in best.boxes)
    lesson = Examples({**dict.fromkeys(classes, 9), "few": 1}, tuple(images)).lesson(1)
    assert lesson.images == tuple(sorted(expected, key=lambda e: e.sha256))


def test_choosing_can_be_given_up():
    box = (0.0, 0.0, 9.0, 9.0)
    many = tuple(Example(f"s{k}", f"{k:04}", 10, 10, (("a", box),), ()) for k in range(MAX_IMAGES + 1))

    def enough() -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        Examples({"a": len(many)}, many).lesson(1, enough)


def test_upright_pictures_are_what_boxes_speak_of(studio, owner, taught_by):
    """A picture that is stored on its side is taught upright."""
    import io

    from PIL import Image

    dataset = studio.datasets.create(owner, name="sideways")
    for seed in range(3):
        with Image.open(io.BytesIO(jpeg(seed))) as upright:
            out, exif = io.BytesIO(), Image.Exif()
            exif[0x0112] = 6
            upright.rotate(90, expand=True).save(out, "JPEG", quality=95, exif=exif.tobytes())
        sample = studio.ingest.add_image(owner, dataset, data=out.getvalue(), filename=f"{seed}.jpg")
        studio.documents.save(owner, sample.id, boxes_of(seed))
    open_engine(survey(studio, dataset, "badge").engines["badge"], studio.blobs)
    for image in taught_by[0]:
        box = image.boxes[0].astype(int)
        middle = image.image[(box[1] + box[3]) // 2, (box[0] + box[2]) // 2]
        assert np.asarray(middle, int).min() > 180
