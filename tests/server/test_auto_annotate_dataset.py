"""auto_annotate_dataset: its work, its books, what others do meanwhile, undo, and the same after a stop."""

from __future__ import annotations

import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.drawings import CLASSES, boxes_of, fill, jpeg, six_taught
from support.jobs import books, turn
from support.teaching import TEACH, TESTS, keep

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.annotations.review import is_draft
from tintype_studio.catalog.datasets import Dataset, DatasetClass
from tintype_studio.catalog.samples import Sample, Status
from tintype_studio.errors import ConfirmationRequired, InvalidInput, NotFound, PaymentRequired, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.kinds import auto_annotate
from tintype_studio.jobs.pool import Pool
from tintype_studio.vision.detect import chain, learning
from tintype_tools.call import Outcome, Request

BOTH = [{"name": "badge", "output_type": "bbox"}, {"name": "crate", "output_type": "polygon"}]
LABELLED, UNLABELLED = 5, 4


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the dataset ``yard``, whose own detector has been taught already."""
    home = tmp_path_factory.mktemp("template") / "home"
    runtime = Runtime.open(Settings(home=home))
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    yard = runtime.studio.datasets.create(owner, name="yard")
    fill(runtime.studio, owner, yard, labelled=LABELLED, unlabelled=UNLABELLED)
    survey = runtime.studio.detectors.survey(yard, {"badge": "badge"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "learn", lambda *_images, **_more: six_taught())
        chain.open_engine(survey.engines["badge"], runtime.studio.blobs)
    runtime.close()
    keep(home)
    return home


@pytest.fixture
def runtime(template: Path, tmp_path: Path) -> Iterator[Runtime]:
    shutil.copytree(template, tmp_path / "home")
    opened = Runtime.open(Settings(home=tmp_path / "home"))
    opened.studio.jobs.supervisor.enabled = False
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """One child process that can import ``support``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", TESTS)
        opened = Pool(1)
        yield opened
        opened.close()


@pytest.fixture
def taught_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is to be learned is known."""
    monkeypatch.setattr(auto_annotate, "TEACH", TEACH)


@pytest.fixture
def yard(runtime: Runtime, owner: Principal) -> Dataset:
    return runtime.studio.datasets.get(owner, "yard")


@pytest.fixture
def images(runtime: Runtime, yard: Dataset) -> list[Sample]:
    return runtime.studio.samples.page(yard, limit=100)


def call(
    runtime: Runtime,
    tool: str = "auto_annotate_dataset",
    *,
    key: str | None = None,
    dry_run: bool = False,
    **arguments: Any,
) -> Outcome:
    if tool == "auto_annotate_dataset":
        arguments = {"dataset_name": "yard", "classes": BOTH, "wait_seconds": 0} | arguments
    return runtime.dispatch(
        Request(
            tool=tool,
            arguments=arguments,
            api_key=key or runtime.local_api_key(),
            door="toolkit",
            files=everything(runtime.settings),
            dry_run=dry_run,
        )
    )


def finish(
    runtime: Runtime,
    owner: Principal,
    pool: Pool,
    started: Outcome,
) -> dict[str, Any]:
    """Run the job's next turn, and report on it as the tool does."""
    turn(runtime.studio, runtime.studio.jobs.get(owner, started.value["job_id"]), pool)
    return reported(runtime, owner, started)


def reported(runtime: Runtime, owner: Principal, started: Outcome) -> dict[str, Any]:
    studio = runtime.studio
    spec = runtime.registry.get("auto_annotate_dataset")
    job = studio.jobs.get(owner, started.value["job_id"])

    class Watching:
        principal, studio = owner, runtime.studio

    return spec.report(job, Watching()).model_dump(mode="json", exclude_none=True)


def names(runtime: Runtime, owner: Principal, sample: Sample) -> list[str]:
    return sorted({a.name for a in runtime.studio.documents.get(owner, sample.id)[1]})


def test_images_without_labels_get_drafts_and_are_charged(runtime, owner, pool, yard, images):
    balance, _ = books(runtime.studio, owner)
    report = finish(runtime, owner, pool, call(runtime))
    assert report["job"]["status"] == "completed"
    assert (report["images_attempted"], report["images_processed"]) == (UNLABELLED, UNLABELLED)
    assert report["images_skipped"] == LABELLED
    assert report["failures"] == []
    assert books(runtime.studio, owner) == (balance - UNLABELLED, 0)
    added = 0
    for sample in images[LABELLED:]:
        now, found = runtime.studio.documents.get(owner, sample.id)
        assert names(runtime, owner, sample) == ["badge", "crate"]
        assert all(is_draft(a) and a.created_by == "own-detector" for a in found)
        assert {a.name: a.type for a in found} == {"badge": "bbox", "crate": "polygon"}
        assert now.status == "complete"
        added += len(found)
    assert report["annotations_added"] == added
    for sample in images[:LABELLED]:
        assert not any(is_draft(a) for a in runtime.studio.documents.get(owner, sample.id)[1])
    assert runtime.studio.detectors.examples(yard).counts == {"badge": LABELLED, "crate": LABELLED}


def test_an_image_that_somebody_says_is_complete_without_objects_is_passed_over(
    runtime, owner, pool, yard, images
):
    empty = images[LABELLED]
    runtime.studio.batch.update(owner, yard.name, [empty.id], status=Status.COMPLETE)
    balance, _ = books(runtime.studio, owner)
    started = call(runtime)
    assert started.value["job"]["credits_held"] == UNLABELLED - 1
    report = finish(runtime, owner, pool, started)
    assert (report["images_attempted"], report["images_processed"]) == (UNLABELLED - 1, UNLABELLED - 1)
    assert names(runtime, owner, empty) == []
    assert books(runtime.studio, owner) == (balance - (UNLABELLED - 1), 0)


def test_one_undo_takes_the_whole_job_back(runtime, owner, pool, images):
    started = call(runtime)
    finish(runtime, owner, pool, started)
    call(runtime, "undo_call", call_id=started.call_id)
    for sample in images[LABELLED:]:
        now, found = runtime.studio.documents.get(owner, sample.id)
        assert (found, now.status) == ([], "new")


def test_drafts_of_a_job_are_accepted_by_tool(runtime, owner, pool, yard, images):
    report = finish(runtime, owner, pool, call(runtime))
    first = images[LABELLED]
    sure = call(runtime, "accept_annotations", dataset_name="yard", min_confidence=0.5).value
    assert sure["annotations"] == report["annotations_added"]
    assert sure["left"] == 0
    assert names(runtime, owner, first) == ["badge", "crate"]
    assert runtime.studio.detectors.examples(yard).counts["badge"] >= LABELLED + UNLABELLED
    assert call(runtime, "reject_annotations", image_uuid=first.id).value["annotations"] == 0


def test_max_images_caps_and_is_what_is_held(runtime, owner, pool):
    started = call(runtime, max_images=2)
    assert started.value["job"]["credits_held"] == 2
    report = finish(runtime, owner, pool, started)
    assert report["images_processed"] == 2
    assert report["images_skipped"] == LABELLED + UNLABELLED - 2
    assert report["job"]["credits_charged"] == 2


def test_overwrite_replaces_these_classes_and_keeps_the_others(runtime, owner, pool, images):
    labelled = images[0]
    final = {a.id for a in runtime.studio.documents.get(owner, labelled.id)[1]}
    report = finish(runtime, owner, pool, call(runtime, classes=BOTH[:1], overwrite=True))
    assert report["images_processed"] == LABELLED + UNLABELLED
    now = {a.id: a for a in runtime.studio.documents.get(owner, labelled.id)[1]}
    kept = [a for a in now.values() if a.id in final]
    assert [a.name for a in kept] == ["crate"]
    assert {a.name for a in now.values() if is_draft(a)} == {"badge"}


def test_text_mode_asks_for_each_class_and_finds_the_same(runtime, owner, pool, images):
    report = finish(runtime, owner, pool, call(runtime, mode="text"))
    assert report["images_processed"] == UNLABELLED
    assert names(runtime, owner, images[-1]) == ["badge", "crate"]


def test_a_corrupt_image_is_reported_free_and_the_rest_goes_on(runtime, owner, pool, images):
    studio = runtime.studio
    balance, _ = books(studio, owner)
    broken = images[LABELLED + 1]
    path = studio.home / "blobs" / "sha256" / broken.sha256[:2] / broken.sha256
    path.write_bytes(path.read_bytes()[:200])
    report = finish(runtime, owner, pool, call(runtime))
    assert report["job"]["status"] == "completed"
    (failure,) = report["failures"]
    assert failure["image_uuid"] == broken.id
    assert broken.filename in failure["reason"]
    assert report["images_processed"] == UNLABELLED - 1
    assert books(studio, owner) == (balance - (UNLABELLED - 1), 0)


def test_a_missing_file_is_reported(runtime, owner, pool, images):
    gone = images[LABELLED]
    (runtime.studio.home / "blobs" / "sha256" / gone.sha256[:2] / gone.sha256).unlink()
    (failure,) = finish(runtime, owner, pool, call(runtime))["failures"]
    assert failure["code"] == "blob_missing"


def test_a_dataset_emptied_meanwhile_ends_well_and_costs_nothing(runtime, owner, pool, images):
    balance, _ = books(runtime.studio, owner)
    started = call(runtime)
    for sample in images:
        runtime.studio.samples.delete(owner, sample.id)
    report = finish(runtime, owner, pool, started)
    assert report["job"]["status"] == "completed"
    assert report["images_processed"] == 0
    assert books(runtime.studio, owner) == (balance, 0)


def test_a_dataset_deleted_meanwhile_fails_the_job_and_frees_the_hold(runtime, owner, pool):
    balance, _ = books(runtime.studio, owner)
    started = call(runtime)
    runtime.studio.datasets.delete(owner, "yard")
    report = finish(runtime, owner, pool, started)
    assert report["job"]["status"] == "failed"
    assert books(runtime.studio, owner) == (balance, 0)


def test_what_somebody_labels_meanwhile_is_kept(runtime, owner, pool, images):
    started = call(runtime)
    mine = images[LABELLED]
    # A class of its own, or there would be something new to learn.
    theirs = boxes_of(LABELLED)[0].model_copy(update={"name": "sticker"})
    runtime.studio.documents.save(owner, mine.id, [theirs])
    report = finish(runtime, owner, pool, started)
    assert runtime.studio.documents.get(owner, mine.id)[1] == [theirs]
    assert report["images_processed"] == UNLABELLED - 1
    assert report["job"]["credits_charged"] == UNLABELLED - 1


def test_what_somebody_calls_complete_meanwhile_is_passed_over(runtime, owner, pool, yard, images):
    started = call(runtime)
    runtime.studio.batch.update(owner, yard.name, [images[LABELLED].id], status=Status.COMPLETE)
    report = finish(runtime, owner, pool, started)
    assert report["images_processed"] == report["job"]["credits_charged"] == UNLABELLED - 1
    assert names(runtime, owner, images[LABELLED]) == []


def test_what_somebody_empties_meanwhile_stays_empty(runtime, owner, pool, images):
    started = call(runtime)
    mine = images[LABELLED]
    runtime.studio.documents.save(owner, mine.id, boxes_of(LABELLED))
    runtime.studio.documents.save(owner, mine.id, [])
    (failure,) = finish(runtime, owner, pool, started)["failures"]
    assert failure["code"] == "edited_meanwhile"
    assert runtime.studio.documents.get(owner, mine.id)[1] == []


def test_images_that_come_later_are_left_alone(runtime, owner, pool, yard):
    started = call(runtime)
    late = runtime.studio.ingest.add_image(owner, yard, data=jpeg(50), filename="late.jpg")
    finish(runtime, owner, pool, started)
    assert runtime.studio.documents.get(owner, late.id)[1] == []


def test_a_job_that_is_handed_over_finishes_without_doing_anything_twice(runtime, owner, pool, images):
    balance, _ = books(runtime.studio, owner)
    started = call(runtime, overwrite=True)

    executor = Executor(runtime.studio, pool)

    def stop() -> None:
        while runtime.studio.jobs.get(owner, started.value["job_id"]).done < 3:
            time.sleep(0.01)
        executor.stop(5.0)

    threading.Thread(target=stop, daemon=True).start()
    executor.execute(started.value["job_id"], 0)
    report = reported(runtime, owner, started)
    assert report["job"]["status"] == "queued"
    assert 3 <= report["images_processed"] < LABELLED + UNLABELLED
    # With overwrite the teaching annotations are replaced by now; the second turn must not need them.
    report = finish(runtime, owner, pool, started)
    assert report["job"]["status"] == "completed"
    assert report["images_processed"] == LABELLED + UNLABELLED
    assert books(runtime.studio, owner) == (balance - LABELLED - UNLABELLED, 0)
    for sample in images:
        saved = runtime.studio.documents.save(owner, sample.id, [])
        assert saved.revision == (3 if sample in images[:LABELLED] else 2)


def test_nothing_to_label_is_a_free_job_that_ends(runtime, owner, pool):
    balance, _ = books(runtime.studio, owner)
    finish(runtime, owner, pool, call(runtime))
    again = call(runtime)
    report = finish(runtime, owner, pool, again)
    assert (report["images_attempted"], report["images_skipped"]) == (0, LABELLED + UNLABELLED)
    assert again.credits == 0
    assert books(runtime.studio, owner) == (balance - UNLABELLED, 0)


def test_a_dry_run_tells_images_and_price_and_starts_nothing(runtime, owner):
    outcome = call(runtime, dry_run=True)
    (affected,) = outcome.value["affected"]
    assert (affected["count"], affected["images_skipped"]) == (UNLABELLED, LABELLED)
    assert runtime.studio.jobs.list(owner) == []


def test_a_job_above_the_threshold_needs_a_word(runtime):
    strict = replace(runtime.settings, confirm_above_credits=3)
    with pytest.raises(ConfirmationRequired):
        call(Runtime.over(runtime.studio, strict))


@pytest.mark.parametrize(
    ("arguments", "kind", "code"),
    [
        ({"dataset_name": "nowhere"}, NotFound, None),
        ({"classes": []}, InvalidInput, None),
        ({"classes": [{"name": "badge", "output_type": "keypoint"}]}, InvalidInput, None),
        ({"classes": [{"name": " "}]}, InvalidInput, None),
        ({"classes": [BOTH[0], BOTH[0]]}, InvalidInput, None),
        ({"classes": [{"name": "x" * 10_000}]}, InvalidInput, None),
        ({"max_images": 0}, InvalidInput, None),
        ({"confidence_threshold": -1}, InvalidInput, None),
        ({"mode": "fast"}, InvalidInput, None),
        ({"classes": [{"name": "elephant"}]}, Unavailable, "needs_engine"),
    ],
)
def test_bad_calls_start_nothing_and_hold_nothing(runtime, owner, arguments, kind, code):
    before = books(runtime.studio, owner)
    with pytest.raises(kind) as refused:
        call(runtime, **arguments)
    assert code is None or refused.value.code == code
    assert runtime.studio.jobs.list(owner) == []
    assert books(runtime.studio, owner) == before


def test_a_class_that_is_not_declared_is_refused(runtime, owner):
    runtime.studio.classes.declare(owner, "yard", [DatasetClass(name) for name in CLASSES])
    with pytest.raises(InvalidInput) as refused:
        call(runtime, classes=[{"name": "bagde"}])
    assert refused.value.code == "unknown_class"
    assert "badge" in refused.value.fix


def test_a_short_balance_is_refused_before_any_work(runtime, owner):
    key, _ = runtime.studio.keys.create(owner, name="poor", role="member", credit_cap=UNLABELLED - 1)
    with pytest.raises(PaymentRequired):
        call(runtime, key=key)
    assert runtime.studio.jobs.list(owner) == []


@pytest.mark.slow
def test_the_own_detector_is_taught_by_the_job_where_it_is_needed(runtime, owner, pool, yard, monkeypatch):
    monkeypatch.setattr(chain, "_engines", OrderedDict())
    extra = runtime.studio.ingest.add_image(owner, yard, data=jpeg(60), filename="extra.jpg")
    runtime.studio.documents.save(owner, extra.id, boxes_of(60))
    report = finish(runtime, owner, pool, call(runtime, max_images=1))
    assert report["images_processed"] == 1
    (job,) = runtime.studio.jobs.list(owner)
    assert [line.text for line in runtime.studio.jobs.logs(job)] == ["badge, crate: own_detector."]
    assert chain._engines == {}, "the process that started it trained nothing"


def test_a_review_is_of_an_image_or_of_a_dataset(runtime):
    both = {"dataset_name": "yard", "image_uuid": "x"}
    for arguments in ({}, both, {"dataset_name": "yard", "annotation_ids": ["a"]}):
        with pytest.raises(InvalidInput) as refused:
            call(runtime, "accept_annotations", **arguments)
        assert refused.value.code == "invalid_selection"


@pytest.mark.usefixtures("taught_before")
def test_overwrite_keeps_classes_that_nobody_could_look_for(runtime, owner, pool, images):
    sticker = boxes_of(0)[0].model_copy(update={"id": "mine", "name": "sticker"})
    document = runtime.studio.documents.get(owner, images[0].id)[1]
    runtime.studio.documents.save(owner, images[0].id, [*document, sticker])
    started = call(runtime, classes=[BOTH[0], {"name": "sticker", "output_type": "bbox"}], overwrite=True)
    report = finish(runtime, owner, pool, started)
    assert report["job"]["status"] == "completed"
    now = runtime.studio.documents.get(owner, images[0].id)[1]
    assert [a for a in now if a.name == "sticker"] == [sticker]
    assert any(is_draft(a) and a.name == "badge" for a in now)


@pytest.mark.usefixtures("taught_before")
def test_with_overwrite_too_what_somebody_labels_meanwhile_is_kept(runtime, owner, pool, images):
    started = call(runtime, overwrite=True)
    theirs = boxes_of(0)[0].model_copy(update={"id": "human"})
    runtime.studio.documents.save(owner, images[0].id, [theirs])
    report = finish(runtime, owner, pool, started)
    assert [f["code"] for f in report["failures"]] == ["edited_meanwhile"]
    assert runtime.studio.documents.get(owner, images[0].id)[1] == [theirs]


def test_images_in_which_nothing_is_found_are_free_and_come_last_the_next_time(runtime, owner, pool, images):
    balance, _ = books(runtime.studio, owner)
    seen = []
    for _ in range(3):
        started = call(runtime, max_images=2, confidence_threshold=1.0)
        report = finish(runtime, owner, pool, started)
        assert (report["annotations_added"], report["job"]["credits_charged"]) == (0, 0)
        job = runtime.studio.jobs.get(owner, started.value["job_id"])
        seen.append({item.key for item in runtime.studio.jobs.items(job)})
    unlabelled = [sample.id for sample in images[LABELLED:]]
    assert seen == [set(unlabelled[:2]), set(unlabelled[2:4]), set(unlabelled[:2])]
    assert books(runtime.studio, owner) == (balance, 0)


def test_a_key_that_lost_its_role_labels_nothing_more(runtime, owner, pool, images):
    secret, info = runtime.studio.keys.create(owner, name="falling", role=Role.MEMBER)
    balance, _ = books(runtime.studio, owner)
    started = call(runtime, key=secret)
    runtime.studio.keys.update(owner, info.id, role=Role.VIEWER)
    report = finish(runtime, owner, pool, started)
    assert report["job"]["status"] == "failed"
    assert runtime.studio.jobs.get(owner, started.value["job_id"]).error["code"] == "role_required"
    assert runtime.studio.documents.get(owner, images[-1].id)[1] == []
    assert books(runtime.studio, owner) == (balance, 0)
