"""Dry runs: every tool that changes anything tells what it would do, and does nothing."""

from __future__ import annotations

import json

import pytest
from support.dry_world import World, libraries, world
from support.rehearsals import gathered, listed

from tintype_studio.identity.roles import Role
from tintype_tools.snapshot import load_snapshot

__all__ = ["libraries", "world"]


CHANGING = {tool["name"]: tool for tool in load_snapshot()["tools"] if tool["effect"] != "read"}
READY = gathered("READY")
OPERATIONS = gathered("OPERATIONS")
PRICES: dict[str, int] = gathered("PRICES")
DONE = gathered("DONE")
OWN = set(listed("OWN"))
"""What an owner did is not a member's."""
NOT_UNDOABLE = set(listed("NOT_UNDOABLE"))


@pytest.fixture(params=sorted(CHANGING))
def tool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_dry_run_changes_nothing_at_all(world: World, tool: str) -> None:
    arguments = READY[tool](world)
    before = world.everything()
    value = world.dry(tool, arguments)
    assert world.everything() == before
    spec = CHANGING[tool]
    assert (value["dry_run"], value["tool"], value["effect"]) == (True, tool, spec["effect"])
    assert value["role"] == {"required": spec["required_role"], "yours": "owner", "allowed": True}
    assert value["affected"]
    asks = spec["effect"] == "destroy" or spec["credit_cost"] > 0
    assert value["approval"]["required"] is asks
    left = world.runtime.studio.ledger.available(world.owner)
    price = {"credits": 0}
    if spec["credit_cost"]:
        price = {
            "credits": PRICES.get(tool, 1),
            "operation": OPERATIONS.get(tool, "auto_annotate_prompt"),
            "sufficient": True,
            "credits_remaining": left,
        }
    assert value["price"] == price


def test_what_it_tells_is_what_the_live_call_does(world: World, tool: str) -> None:
    arguments = READY[tool](world)
    told = world.dry(tool, arguments)
    affected = told["affected"]
    outcome = world.live(tool, arguments)
    done = world.runtime.studio.changes.of_call(world.owner, outcome.call_id)
    if tool in DONE:
        DONE[tool](world, told, outcome)
    elif tool in {"auto_annotate_box", "auto_annotate_point"}:
        assert affected == [{"kind": "prompt.answered", "count": 1, "dataset": "signs", "name": "a.png"}]
        assert outcome.credits == told["price"]["credits"]
    elif tool == "auto_annotate_text":  # charged when something is found, which here need not be
        assert affected == [{"kind": "prompt.answered", "count": 1, "dataset": "signs", "name": "new.jpg"}]
        assert outcome.credits == (1 if outcome.value["annotations"] else 0)
    elif tool == "auto_annotate_dataset":
        assert (affected[0]["kind"], affected[0]["count"], done) == ("annotations.saved", 1, [])
        assert outcome.value["job"]["credits_held"] == told["price"]["credits"] == 1
    elif tool == "confirm_call":
        assert affected == [{"kind": "call.confirmed", "count": 1, "name": "delete_dataset", "credits": 0}]
        assert outcome.value["status"] == "done"
    elif tool == "predict_image":
        assert [(a["kind"], a["count"], a["name"]) for a in affected] == [("image.predicted", 1, "a.png")]
        assert outcome.credits == (1 if outcome.value["objects"] else 0)
    elif tool == "predict_dataset":
        assert (affected[0]["kind"], affected[0]["count"], done) == ("annotations.saved", 1, [])
        assert outcome.value["job"]["credits_held"] == told["price"]["credits"] == 1
    elif tool == "full_pipeline":
        counts = [(a["kind"], a["count"]) for a in affected]
        assert counts == [("images.added", 1), ("annotations.saved", 1)]
        assert [(c.kind.value, c.count) for c in done] == counts[:1]
        assert outcome.value["job"]["credits_held"] == told["price"]["credits"] == 1
    elif tool == "train_pipeline":
        assert [(a["kind"], a["count"], a["images"]) for a in affected] == [("training.started", 1, 5)]
        assert outcome.value["training_run"]["credits"]["held"] == told["price"]["credits"] == 30
        assert (outcome.value["training_run"]["status"], done) == ("queued", [])
    elif tool == "cancel_training":
        assert [(a["kind"], a["count"], a["dataset"]) for a in affected] == [
            ("training.cancelled", 1, "signs")
        ]
        assert (outcome.value["training_run"]["status"], done) == ("cancelled", [])
    elif tool in {"cancel_job", "evaluate_model", "verify_dataset"}:
        kind, status = {
            "evaluate_model": ("images.evaluated", "queued"),
            "cancel_job": ("job.cancelled", "cancelled"),
            "verify_dataset": ("images.verified", "queued"),
        }[tool]
        assert [(a["kind"], a["count"], a["dataset"]) for a in affected] == [(kind, 1, "signs")]
        assert (outcome.value["job"]["status"], done) == (status, [])
    elif tool == "create_export":
        assert affected[0]["images"] == outcome.value["image_count"]
    elif tool == "download_model":
        assert affected == [{"kind": "file.written", "count": 1, "name": "out.onnx", "size": 12}]
        assert outcome.value["file_size"] == (world.folder / "out.onnx").stat().st_size == 12
    elif tool == "download_export":
        assert affected[0]["size"] == outcome.value["file_size"] == (world.folder / "out.zip").stat().st_size
        assert (affected[0]["kind"], affected[0]["count"]) == ("file.written", 1)
    else:
        assert [(a["kind"], a["count"], a.get("dataset")) for a in affected] == [
            (c.kind.value, c.count, c.dataset) for c in done
        ]
        assert told["undoable"] is (tool not in NOT_UNDOABLE)
        if told["undoable"]:
            world.live("undo_call", {"call_id": outcome.call_id})


def test_preview_call_tells_the_same(world: World, tool: str) -> None:
    arguments = READY[tool](world)
    before = world.everything()
    told = world.live("preview_call", {"tool": tool, "arguments": json.dumps(arguments)}).value
    assert told == world.dry(tool, arguments)
    assert world.everything() == before


def test_it_is_audited_as_what_it_is(world: World, tool: str) -> None:
    arguments = READY[tool](world)
    world.dry(tool, arguments)
    world.live("preview_call", {"tool": tool, "arguments": json.dumps(arguments)})
    world.runtime.studio.audit.flush()
    lines = [(c.tool, c.outcome, c.credits, c.dry_run) for c in world.runtime.studio.audit.list(world.owner)]
    assert lines.count((tool, "ok", 0, True)) == 2
    assert ("preview_call", "ok", 0, False) in lines


def test_a_role_that_covers_is_let_in_and_no_other(world: World, tool: str) -> None:
    arguments, needed = READY[tool](world), Role(CHANGING[tool]["required_role"])
    for role, key in world.keys.items():
        if not role.covers(needed):
            code = world.code(world.dry, tool, arguments, api_key=key)
            inner = {"tool": tool, "arguments": json.dumps(arguments)}
            assert code == "role_required"
            assert world.code(world.live, "preview_call", inner, api_key=key) == "role_required"
        elif tool not in OWN:
            role_told = world.dry(tool, arguments, api_key=key)["role"]
            assert role_told == {"required": needed.value, "yours": role.value, "allowed": True}


def test_it_uses_up_no_idempotency_key(world: World, tool: str) -> None:
    arguments = READY[tool](world)
    told = world.dry(tool, arguments, idempotency_key="k")
    again = world.runtime.dispatch(world.request(tool, arguments, dry_run=True, idempotency_key="k"))
    assert (again.value, again.replayed) == (told, False)
    assert not world.live(tool, arguments, idempotency_key="k").replayed
