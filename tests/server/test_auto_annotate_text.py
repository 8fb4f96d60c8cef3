"""auto_annotate_text through the dispatcher: found, refused, charged, and the help when nobody can."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.drawings import fill, six_taught

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.annotations.review import is_draft
from tintype_studio.errors import InvalidInput, NotFound, TintypeError, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.vision.detect import chain, learning
from tintype_tools.call import Outcome, Request


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """Dataset ``yard``: six labelled pictures and two more; ``bare``: one picture without labels."""
    opened = Runtime.open(Settings(home=tmp_path_factory.mktemp("text") / "home"))
    owner = opened.studio.keys.authenticate(opened.local_api_key())
    yard = opened.studio.datasets.create(owner, name="yard")
    fill(opened.studio, owner, yard, labelled=6, unlabelled=2)
    fill(opened.studio, owner, opened.studio.datasets.create(owner, name="bare"), labelled=0, unlabelled=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "learn", lambda *_images, **_more: six_taught())
        survey = opened.studio.detectors.survey(yard, {"badge": ""})
        chain.open_engine(survey.engines["badge"], opened.studio.blobs)
    yield opened
    opened.close()


@pytest.fixture
def owner(runtime: Runtime) -> Principal:
    return runtime.studio.keys.authenticate(runtime.local_api_key())


def ask(runtime: Runtime, *, dry_run: bool = False, **arguments: object) -> Outcome:
    arguments = {"dataset_name": "yard", "image_filename": "006.jpg"} | arguments
    return runtime.dispatch(
        Request(
            tool="auto_annotate_text",
            arguments=arguments,
            api_key=runtime.local_api_key(),
            door="toolkit",
            files=everything(runtime.settings),
            dry_run=dry_run,
        )
    )


def refused(runtime: Runtime, kind: type[TintypeError], **arguments: object) -> TintypeError:
    with pytest.raises(kind) as caught:
        ask(runtime, **arguments)
    return caught.value


def test_what_was_labelled_is_found_as_drafts_and_charged_once(runtime, owner):
    before = runtime.studio.ledger.available(owner)
    outcome = ask(runtime, text_prompt="badge or crates")
    assert outcome.value["status"] == "success"
    found = ANNOTATIONS.validate_python(outcome.value["annotations"])
    assert {a.name for a in found[:2]} == {"badge", "crate"}
    assert all(is_draft(a) and a.type == "polygon" and a.created_by == "own-detector" for a in found)
    assert all(0.5 <= a.confidence <= 1 for a in found)
    assert outcome.value["engines"] == ["own-detector"]
    assert "missing" not in outcome.value
    assert outcome.credits == 1
    assert runtime.studio.ledger.available(owner) == before - 1
    _, saved = runtime.studio.documents.get(owner, sample_id(runtime, owner))
    assert saved == [], "nothing is saved"


def sample_id(runtime: Runtime, owner: Principal) -> str:
    studio = runtime.studio
    return studio.samples.find(studio.datasets.get(owner, "yard"), "006.jpg").id


def test_boxes_on_request(runtime):
    outcome = ask(runtime, text_prompt="Badge", output_type="bbox", image_filename="007.jpg")
    found = outcome.value["annotations"][0]
    assert found["type"] == "bbox"
    assert found["name"] == "badge"


def test_a_threshold_nobody_reaches_is_free(runtime, owner):
    before = runtime.studio.ledger.available(owner)
    outcome = ask(runtime, text_prompt="badge", confidence_threshold=1.0)
    assert outcome.value["status"] == "below_threshold"
    assert outcome.value["annotations"] == []
    assert 0.5 < outcome.value["score"] < 1
    assert outcome.credits == 0
    assert runtime.studio.ledger.available(owner) == before


def test_what_only_half_can_be_found_says_so(runtime):
    outcome = ask(runtime, text_prompt="badge, elephant")
    assert {a["name"] for a in outcome.value["annotations"]} == {"badge"}
    (missing,) = outcome.value["missing"]
    assert missing["name"] == "elephant"
    assert [e["engine"] for e in missing["engines"]] == ["open_vocabulary", "own_detector", "vision_api"]
    assert not any(e["ready"] for e in missing["engines"])


def test_without_any_engine_the_error_tells_every_way(runtime, owner):
    before = runtime.studio.ledger.available(owner)
    error = refused(runtime, Unavailable, dataset_name="bare", image_filename="000.jpg", text_prompt="badge")
    assert error.code == "needs_engine"
    assert not error.retryable
    assert "save_annotations" in error.fix
    assert "preview_image" in error.details["how_to_label"]
    (named,) = error.details["classes"]
    ways = {each["engine"]: each for each in named["engines"]}
    assert "TINTYPE_DETECTOR_MODEL" in ways["open_vocabulary"]["fix"]
    assert "TINTYPE_VISION_API" in ways["vision_api"]["fix"]
    assert ways["own_detector"]["examples"] == 0
    assert runtime.studio.ledger.available(owner) == before


def test_a_dry_run_plans_one_prompt_and_refuses_as_the_call_would(runtime):
    outcome = ask(runtime, text_prompt="badge", dry_run=True)
    assert outcome.dry_run
    assert outcome.value["affected"] == [
        {"kind": "prompt.answered", "count": 1, "dataset": "yard", "name": "006.jpg"}
    ]
    with pytest.raises(Unavailable):
        ask(runtime, dataset_name="bare", image_filename="000.jpg", text_prompt="badge", dry_run=True)


@pytest.mark.parametrize(
    "prompt", ["", "   ", "x" * 10_000, ", ".join(f"thing {k}" for k in range(22)), "or"]
)
def test_prompts_that_are_no_prompts_are_one_clear_error(runtime, prompt):
    error = refused(runtime, InvalidInput, text_prompt=prompt)
    assert error.code == "invalid_prompt"
    assert len(error.message) < 200


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"dataset_name": "nowhere"}, NotFound),
        ({"image_filename": "nothing.jpg"}, NotFound),
        ({"confidence_threshold": 1.5}, InvalidInput),
        ({"output_type": "keypoint"}, InvalidInput),
        ({"unheard": 1}, InvalidInput),
    ],
)
def test_bad_arguments_are_refused(runtime, arguments, kind):
    refused(runtime, kind, **({"text_prompt": "badge"} | arguments))


def test_a_corrupt_image_is_refused_and_free(runtime, owner, monkeypatch):
    before = runtime.studio.ledger.available(owner)
    monkeypatch.setattr(type(runtime.studio.samples), "image_bytes", lambda *_: b"no image")
    refused(runtime, InvalidInput, text_prompt="badge")
    assert runtime.studio.ledger.available(owner) == before


def test_an_engine_that_raises_is_one_error_and_free(runtime, owner, monkeypatch):
    from tintype_studio.vision.detect.own import OwnDetector

    def broken(*_arguments: object, **_more: object) -> None:
        raise ZeroDivisionError("secret")

    before = runtime.studio.ledger.available(owner)
    monkeypatch.setattr(OwnDetector, "detect", broken)
    error = refused(runtime, Unavailable, text_prompt="badge")
    assert error.code == "engine_failed"
    assert "secret" not in error.message
    assert runtime.studio.ledger.available(owner) == before
