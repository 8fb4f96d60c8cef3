"""Dry runs refuse what the live call would, and nothing is left by either; then, their corners."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.dry_world import World, libraries, upload, world
from support.pictures import jpeg
from support.rehearsals import gathered, listed
from support.rehearsals.history import for_confirm_call

from tintype_studio import clock
from tintype_studio.identity.roles import Role
from tintype_tools.snapshot import load_snapshot

__all__ = ["libraries", "world"]


CHANGING = {tool["name"]: tool for tool in load_snapshot()["tools"] if tool["effect"] != "read"}
READY = gathered("READY")
REFUSED = listed("REFUSED")


def test_every_tool_that_can_refuse_is_tried() -> None:
    assert {name for name, _, _ in REFUSED} == set(CHANGING)


@pytest.mark.parametrize(("name", "code", "make"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_it_refuses_what_the_live_call_refuses(world: World, name: str, code: str, make: Any) -> None:
    arguments = make(world)
    assert world.code(world.live, name, arguments) == code
    before = world.everything()
    assert world.code(world.dry, name, arguments) == code
    assert world.everything() == before


@pytest.mark.parametrize("name", sorted(CHANGING))
def test_a_refused_live_call_leaves_nothing_either(world: World, name: str) -> None:
    """Not even a restore point."""
    for code, make in [(code, make) for tool, code, make in REFUSED if tool == name][:1]:
        arguments = make(world)
        before = world.everything()
        assert world.code(world.live, name, arguments) == code
        assert world.everything() == before


def test_a_member_cannot_rehearse_what_is_not_its_own(world: World) -> None:
    member = world.keys[Role.MEMBER]
    for name, arguments in (
        ("delete_image", {"image_uuid": world.image().id}),
        ("undo_call", {"call_id": world.last_call()}),
    ):
        for deed in (world.dry, world.live):
            assert world.code(deed, name, arguments, api_key=member) == "not_your_own"


def test_a_call_that_cannot_be_paid_is_told_so(world: World) -> None:
    """By a key that may spend nothing; asking costs it nothing."""
    key, _ = world.runtime.studio.keys.create(world.owner, name="poor", role=Role.MEMBER, credit_cap=0)
    value = world.dry("auto_annotate_box", READY["auto_annotate_box"](world), api_key=key)
    assert (value["price"]["sufficient"], value["price"]["credits_remaining"]) == (False, 0)


def test_a_picture_that_was_purged_can_be_rehearsed_like_any(world: World) -> None:
    """Its bytes were swept away; the live call simply stores them again."""
    upload(world, "signs")
    world.live("delete_image", {"image_uuid": world.image("new.jpg").id})
    world.live("purge_deleted", {})
    assert world.runtime.studio.recycle_bin.sweep() == 1
    arguments = READY["upload_image"](world)
    assert world.dry("upload_image", arguments)["affected"][0]["kind"] == "images.added"
    assert world.live("upload_image", arguments).value["filename"] == "new.jpg"


def test_names_that_meet_in_one_folder_are_counted_once(world: World) -> None:
    """Deeper levels collapse into the first, so only one of two namesakes is taken."""
    for place in ("stop/deep/y.jpg", "stop/deeper/y.jpg"):
        path = world.folder / "more" / place
        path.parent.mkdir()
        path.write_bytes(jpeg(seed=len(place)))
    arguments = READY["upload_dataset_from_folder"](world)
    (told,) = world.dry("upload_dataset_from_folder", arguments)["affected"]
    assert told["count"] == world.live("upload_dataset_from_folder", arguments).value["images_uploaded"]


def test_a_folder_for_a_new_dataset_tells_both(world: World) -> None:
    arguments = READY["upload_dataset_from_folder"](world) | {"dataset_name": "new"}
    told = [(a["kind"], a["count"]) for a in world.dry("upload_dataset_from_folder", arguments)["affected"]]
    outcome = world.live("upload_dataset_from_folder", arguments)
    done = world.runtime.studio.changes.of_call(world.owner, outcome.call_id)
    assert told == [(c.kind.value, c.count) for c in done] == [("dataset.created", 1), ("images.added", 4)]


def test_an_old_confirmation_cannot_be_rehearsed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, real = for_confirm_call(world), clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(minutes=16))
    for deed in (world.live, world.dry):
        assert world.code(deed, "confirm_call", arguments) == "confirmation_expired"


def test_a_rehearsal_reports_no_progress_and_stops_with_its_caller(world: World) -> None:
    steps: list[Any] = []
    request = world.request("upload_dataset_from_folder", READY["upload_dataset_from_folder"](world))
    request = replace(request, dry_run=True, progress=lambda *step: steps.append(step))
    world.runtime.dispatch(request)
    assert steps == []
    request = world.request("delete_dataset", {"name": "signs"}, dry_run=True)
    request.cancelled.set()
    assert world.code(world.runtime.dispatch, request) == "cancelled"
