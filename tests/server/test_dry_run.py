"""Dry runs: every tool that changes anything tells what it would do, refuses what it would, does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
import sqlalchemy as sa
from support.pictures import jpeg, scene
from support.ready_models import add_model
from support.rehearsals import gathered, listed
from support.training import fill

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.catalog.samples import Sample
from tintype_studio.errors import ConfirmationRequired, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import metadata
from tintype_studio.training import plan
from tintype_studio.vision.tasks import Signature, Task
from tintype_tools.call import Outcome, Request
from tintype_tools.snapshot import load_snapshot

CHANGING = {tool["name"]: tool for tool in load_snapshot()["tools"] if tool["effect"] != "read"}
BOX = {"id": "1", "name": "sign", "bounding_box": {"x": 1, "y": 2, "w": 3, "h": 4}}
CAR = {**BOX, "id": "2", "name": "car"}


@dataclass
class World:
    """A workspace with one dataset, whose owner, admin and member call tools."""

    runtime: Runtime
    folder: Path
    owner: Principal
    keys: dict[Role, str]

    def request(self, tool: str, arguments: dict[str, Any], **changes: Any) -> Request:
        values = {"api_key": self.keys[Role.OWNER], "door": "toolkit", "session": "s"} | changes
        files = everything(self.runtime.settings)
        return Request(tool=tool, arguments=arguments, files=files, **values)

    def dry(self, tool: str, arguments: dict[str, Any], **changes: Any) -> dict[str, Any]:
        return self.runtime.dispatch(self.request(tool, arguments, dry_run=True, **changes)).value

    def live(self, tool: str, arguments: dict[str, Any], **changes: Any) -> Outcome:
        """With a yes, where one is needed."""
        request = self.request(tool, arguments, **changes)
        try:
            return self.runtime.dispatch(request)
        except ConfirmationRequired as question:
            return self.runtime.dispatch(request.confirmed(question.token))

    def asks(self, tool: str, arguments: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """The details of a call's question."""
        with pytest.raises(ConfirmationRequired) as question:
            self.runtime.dispatch(self.request(tool, arguments, **changes))
        return question.value.details

    def code(self, deed: Callable[..., object], *args: Any, **changes: Any) -> str:
        with pytest.raises(TintypeError) as refused:
            deed(*args, **changes)
        return refused.value.code

    def image(self, filename: str = "a.png", dataset: str = "signs") -> Sample:
        studio = self.runtime.studio
        return studio.samples.find(studio.datasets.get(self.owner, dataset), filename)

    def everything(self) -> list[Any]:
        """All rows but the trail and the rate counters, all stored bytes, all files at hand."""
        with self.runtime.studio.database.read() as connection:
            rows = {
                table.name: [
                    tuple(row)
                    for row in connection.execute(
                        sa.select(*(c for c in table.c if c.name != "last_used_at"))
                    )
                ]
                for table in metadata.sorted_tables
                if table.name not in {"calls", "rate_windows"}
            }
        blobs = {m["path"] for page in obstore.list(self.runtime.studio.blobs.store) for m in page}
        files = {p: p.read_bytes() if p.is_file() else None for p in self.folder.rglob("*")}
        return [rows, blobs, files]

    def last_call(self) -> str:
        return self.runtime.studio.changes.page(self.owner, limit=1)[0].call_id


@pytest.fixture(autouse=True)
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if what training needs were here: nothing is trained."""
    monkeypatch.setattr(plan, "missing_libraries", lambda: ())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    settings = Settings(home=tmp_path / "home", confirm_above_credits=0)
    runtime = Runtime.open(settings)
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    keys = {role: runtime.studio.keys.create(owner, name=role.value, role=role)[0] for role in Role}
    folder = tmp_path / "work"
    (folder / "more" / "stop").mkdir(parents=True)
    (folder / "a.png").write_bytes(scene())
    (folder / "new.jpg").write_bytes(jpeg(seed=5))
    (folder / "note.jpg").write_text("not a picture")
    for number, place in enumerate(("a.png", "x.jpg", "stop/y.jpg", "stop/z.jpg")):
        (folder / "more" / place).write_bytes(jpeg(seed=number))
    made = World(runtime, folder, owner, keys)
    made.live("create_dataset", {"name": "signs"})
    made.live("upload_image", {"dataset_name": "signs", "file_path": str(folder / "a.png")})
    made.live("save_annotations", {"image_uuid": made.image().id, "annotations": [BOX]})
    yield made
    runtime.close()


# What each tool is called with; made in a workspace that is ready for it.


def upload(world: World, dataset: str, filename: str = "new.jpg", **changes: Any) -> Outcome:
    arguments = {"dataset_name": dataset, "file_path": str(world.folder / filename)}
    return world.live("upload_image", arguments, **changes)


def export(world: World, name: str = "e") -> dict[str, Any]:
    arguments = {"dataset_name": "signs", "name": name, "format": "coco"}
    world.live("create_export", arguments)
    return arguments


def for_confirm_call(world: World) -> dict[str, Any]:
    details = world.asks("delete_dataset", {"name": "signs"})
    return {name: details[name] for name in ("approval_id", "confirm_token")}


def for_purge(world: World) -> dict[str, Any]:
    upload(world, "signs")
    world.live("delete_image", {"image_uuid": world.image("new.jpg").id})
    world.live("create_dataset", {"name": "old"})
    world.live("delete_dataset", {"name": "old"})
    return {}


def for_undo_call(world: World) -> dict[str, Any]:
    world.live("delete_dataset", {"name": "signs"})
    return {"call_id": world.last_call()}


def for_undo_session(world: World) -> dict[str, Any]:
    upload(world, "signs", session="other")
    world.live("create_dataset", {"name": "n"}, session="other")
    return {"session": "other"}


def for_verify(world: World) -> dict[str, Any]:
    world.runtime.studio.jobs.supervisor.enabled = False  # nobody need do it
    return {"dataset_name": "signs", "wait_seconds": 0}


def for_cancel_job(world: World) -> dict[str, Any]:
    return {"job_id": world.live("verify_dataset", for_verify(world)).value["job"]["job_id"]}


POINT = {"dataset_name": "signs", "image_filename": "a.png", "x": 75, "y": 65, "score_threshold": 0.2}


def for_review(world: World) -> dict[str, Any]:
    draft = {**BOX, "id": "d", "confidence": 0.9, "attributes": [{"review": "draft"}]}
    world.live("save_annotations", {"image_uuid": world.image().id, "annotations": [BOX, draft]})
    return {"dataset_name": "signs"}


def for_text(world: World) -> dict[str, Any]:
    """Three accepted squares are enough to learn from."""
    learned(world)
    return {"dataset_name": "signs", "image_filename": "new.jpg", "text_prompt": "sign"}


def for_dataset(world: World) -> dict[str, Any]:
    world.runtime.studio.jobs.supervisor.enabled = False  # nobody need do it
    learned(world)
    return {"dataset_name": "signs", "classes": [{"name": "sign"}], "wait_seconds": 0}


def for_model(world: World) -> dict[str, Any]:
    studio = world.runtime.studio
    signature = Signature(Task.DETECTION, "yolox", ("sign",), 64)
    dataset = studio.datasets.get(world.owner, "signs")
    return {"model_id": add_model(studio, world.owner, dataset, signature, b"an ONNX file").id}


def for_cells(world: World) -> dict[str, Any]:
    """A model that opens, which is trained on the class of the picture."""
    pytest.importorskip("onnx")
    from support.onnx_models import blob_detector

    studio = world.runtime.studio
    signature = Signature(Task.DETECTION, "yolox", ("sign", "tree"), 64)
    dataset = studio.datasets.get(world.owner, "signs")
    return {"model_id": add_model(studio, world.owner, dataset, signature, blob_detector(signature)).id}


def for_predictions(world: World) -> dict[str, Any]:
    world.runtime.studio.jobs.supervisor.enabled = False  # nobody need do it
    upload(world, "signs")
    return for_cells(world) | {"dataset_name": "signs", "wait_seconds": 0}


def for_training(world: World) -> dict[str, Any]:
    world.runtime.studio.jobs.supervisor.enabled = False  # nobody need do it
    studio = world.runtime.studio
    fill(studio, world.owner, studio.datasets.get(world.owner, "signs"), count=4)
    return {"dataset_name": "signs", "pipeline": "yolox", "config": {"max_minutes": 3}, "wait": False}


def for_cancel_training(world: World) -> dict[str, Any]:
    return {"run_id": world.live("train_pipeline", for_training(world)).value["training_run"]["id"]}


def for_pipeline(world: World) -> dict[str, Any]:
    """One new picture, which the model of its dataset labels; without the training."""
    world.runtime.studio.jobs.supervisor.enabled = False
    for_cells(world)
    folder = world.folder / "one"
    folder.mkdir()
    (folder / "one.jpg").write_bytes(jpeg(seed=9))
    return {
        "dataset_name": "signs",
        "folder": str(folder),
        "classes": [{"name": "sign", "output_type": "bbox"}],
        "pipeline": "yolox",
        "train": False,
        "wait_seconds": 0,
    }


def bare(world: World) -> dict[str, Any]:
    """A dataset without any of the model's classes."""
    world.live("create_dataset", {"name": "bare"})
    return for_cells(world) | {"dataset_name": "bare"}


def for_evaluation(world: World) -> dict[str, Any]:
    world.runtime.studio.jobs.supervisor.enabled = False
    world.live("save_annotations", {"image_uuid": world.image().id, "annotations": [BOX]})
    return for_cells(world) | {"split": "all", "wait_seconds": 0}


def learned(world: World) -> None:
    boxes = [
        {**BOX, "id": f"b{n}", "bounding_box": {"x": 50 + n, "y": 40, "w": 50, "h": 50}} for n in range(3)
    ]
    world.live("save_annotations", {"image_uuid": world.image().id, "annotations": boxes})
    upload(world, "signs")


OPERATIONS = {
    "auto_annotate_dataset": "auto_annotate_image",
    "full_pipeline": "full_pipeline",
    "train_pipeline": "training_a10g_per_minute",
    "predict_dataset": "image_inference",
    "predict_image": "image_inference",
}

READY: dict[str, Callable[[World], dict[str, Any]]] = {
    "accept_annotations": for_review,
    "reject_annotations": for_review,
    "auto_annotate_point": lambda w: POINT,
    "auto_annotate_text": for_text,
    "auto_annotate_dataset": for_dataset,
    "auto_annotate_box": lambda w: {
        "dataset_name": "signs",
        "image_filename": "a.png",
        "box": {"x": 45, "y": 35, "w": 60, "h": 60},
        "name": "square",
    },
    "cancel_job": for_cancel_job,
    "cancel_training": for_cancel_training,
    "confirm_call": for_confirm_call,
    "create_dataset": lambda w: {"name": "new"},
    "create_export": lambda w: {"dataset_name": "signs", "name": "e", "format": "coco"},
    "delete_dataset": lambda w: {"name": "signs"},
    "delete_image": lambda w: {"image_uuid": w.image().id},
    "delete_model": for_model,
    "download_export": lambda w: {
        "dataset_name": export(w)["dataset_name"],
        "export_name": "e",
        "output_path": str(w.folder / "out.zip"),
    },
    "download_model": lambda w: for_model(w) | {"output_path": str(w.folder / "out.onnx")},
    "evaluate_model": for_evaluation,
    "full_pipeline": for_pipeline,
    "predict_dataset": for_predictions,
    "predict_image": lambda w: for_cells(w) | {"image_uuid": w.image().id, "confidence_threshold": 0},
    "purge_deleted": for_purge,
    "save_annotations": lambda w: {"image_uuid": w.image().id, "annotations": [BOX, CAR]},
    "set_dataset_classes": lambda w: {"dataset_name": "signs", "classes": [{"name": "sign"}, {"name": "b"}]},
    "train_pipeline": for_training,
    "undo_call": for_undo_call,
    "undo_session": for_undo_session,
    "upload_dataset_from_folder": lambda w: {"dataset_name": "signs", "folder": str(w.folder / "more")},
    "upload_image": lambda w: {"dataset_name": "signs", "file_path": str(w.folder / "new.jpg")},
    "verify_dataset": for_verify,
}
READY |= gathered("READY")
OPERATIONS |= gathered("OPERATIONS")
PRICES: dict[str, int] = {"train_pipeline": 30} | gathered("PRICES")
DONE = gathered("DONE")
NOT_UNDOABLE = {"purge_deleted", *listed("NOT_UNDOABLE")}


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
        assert outcome.credits == (1 if outcome.value["predictions"] else 0)
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
    own = {
        "cancel_job",
        "cancel_training",
        "undo_call",
        "undo_session",
        "delete_image",
        "confirm_call",
        *listed("OWN"),
    }  # what an owner did is not a member's
    for role, key in world.keys.items():
        if not role.covers(needed):
            code = world.code(world.dry, tool, arguments, api_key=key)
            inner = {"tool": tool, "arguments": json.dumps(arguments)}
            assert code == "role_required"
            assert world.code(world.live, "preview_call", inner, api_key=key) == "role_required"
        elif tool not in own:
            role_told = world.dry(tool, arguments, api_key=key)["role"]
            assert role_told == {"required": needed.value, "yours": role.value, "allowed": True}


def test_it_uses_up_no_idempotency_key(world: World, tool: str) -> None:
    arguments = READY[tool](world)
    told = world.dry(tool, arguments, idempotency_key="k")
    again = world.runtime.dispatch(world.request(tool, arguments, dry_run=True, idempotency_key="k"))
    assert (again.value, again.replayed) == (told, False)
    assert not world.live(tool, arguments, idempotency_key="k").replayed


# Refused alike


def purged(world: World) -> dict[str, Any]:
    world.live("delete_image", {"image_uuid": world.image().id})
    call_id = world.last_call()
    world.live("purge_deleted", {})
    return {"call_id": call_id}


def undone(world: World) -> dict[str, Any]:
    arguments = for_undo_call(world)
    world.live("undo_call", arguments)
    return arguments


def built_upon(world: World) -> dict[str, Any]:
    (made, *_) = [c for c in world.runtime.studio.changes.page(world.owner) if c.kind == "dataset.created"]
    return {"call_id": made.call_id}


def other_file(world: World) -> dict[str, Any]:
    (world.folder / "out.zip").write_text("mine")
    return READY["download_export"](world)


def same_name_twice(world: World) -> dict[str, Any]:
    arguments = {"dataset_name": "signs", "file_path": str(world.folder / "a.png"), "folder_path": "/f"}
    world.live("upload_image", arguments)
    world.live("upload_image", arguments | {"folder_path": "/g"})
    return READY["auto_annotate_box"](world) | {"image_filename": "a.png"}


def declared(world: World) -> dict[str, Any]:
    world.live("set_dataset_classes", {"dataset_name": "signs", "classes": [{"name": "sign"}]})
    return {"image_uuid": world.image().id, "annotations": [CAR]}


def approval(world: World, **changes: Any) -> dict[str, Any]:
    return for_confirm_call(world) | changes


def used(world: World) -> dict[str, Any]:
    arguments = for_confirm_call(world)
    world.live("confirm_call", arguments)
    world.live("create_dataset", {"name": "signs"})
    return arguments


def denied(world: World) -> dict[str, Any]:
    arguments = for_confirm_call(world)
    world.runtime.studio.approvals.decide(world.owner, arguments["approval_id"], approve=False)
    return arguments


def of_another_key(world: World) -> dict[str, Any]:
    details = world.asks("delete_dataset", {"name": "signs"}, api_key=world.keys[Role.ADMIN])
    return {name: details[name] for name in ("approval_id", "confirm_token")}


def about_something_gone(world: World) -> dict[str, Any]:
    arguments = for_confirm_call(world)
    world.runtime.studio.datasets.delete(world.owner, "signs")
    return arguments


def file(world: World, name: str, **changes: Any) -> dict[str, Any]:
    return {"dataset_name": "signs", "file_path": str(world.folder / name)} | changes


CLASSES = [{"name": "sign"}]

REFUSED: list[tuple[str, str, Callable[[World], dict[str, Any]]]] = [
    ("accept_annotations", "dataset_not_found", lambda w: {"dataset_name": "x"}),
    ("accept_annotations", "image_not_found", lambda w: {"image_uuid": "x"}),
    (
        "accept_annotations",
        "draft_not_found",
        lambda w: {"image_uuid": w.image().id, "annotation_ids": ["1"]},
    ),
    (
        "reject_annotations",
        "draft_not_found",
        lambda w: {"image_uuid": w.image().id, "annotation_ids": ["x"]},
    ),
    ("auto_annotate_point", "image_not_found", lambda w: POINT | {"image_filename": "x"}),
    ("auto_annotate_point", "point_outside", lambda w: POINT | {"x": 1000}),
    ("auto_annotate_text", "dataset_not_found", lambda w: for_text(w) | {"dataset_name": "x"}),
    ("auto_annotate_text", "needs_engine", lambda w: for_text(w) | {"text_prompt": "unicorn"}),
    ("auto_annotate_dataset", "dataset_not_found", lambda w: for_dataset(w) | {"dataset_name": "x"}),
    ("auto_annotate_dataset", "needs_engine", lambda w: {"dataset_name": "signs", "classes": CLASSES}),
    ("evaluate_model", "model_not_found", lambda w: {"model_id": "x"}),
    ("evaluate_model", "no_common_class", bare),
    ("full_pipeline", "folder_not_found", lambda w: for_pipeline(w) | {"folder": str(w.folder / "x")}),
    ("full_pipeline", "invalid_name", lambda w: for_pipeline(w) | {"dataset_name": "a/b"}),
    ("full_pipeline", "invalid_config", lambda w: for_pipeline(w) | {"train_config": {"epochs": "x"}}),
    ("predict_dataset", "model_not_found", lambda w: {"dataset_name": "signs", "model_id": "x"}),
    ("predict_dataset", "dataset_not_found", lambda w: for_cells(w) | {"dataset_name": "x"}),
    ("predict_image", "model_not_found", lambda w: {"model_id": "x", "image_uuid": w.image().id}),
    ("predict_image", "image_not_found", lambda w: for_cells(w) | {"image_uuid": "x"}),
    ("verify_dataset", "dataset_not_found", lambda w: {"dataset_name": "x"}),
    ("cancel_job", "job_not_found", lambda w: {"job_id": "x"}),
    ("cancel_training", "training_run_not_found", lambda w: {"run_id": "x"}),
    ("train_pipeline", "dataset_not_found", lambda w: for_training(w) | {"dataset_name": "x"}),
    ("train_pipeline", "invalid_config", lambda w: for_training(w) | {"config": {"epochs": "x"}}),
    ("train_pipeline", "too_few_images", lambda w: {"dataset_name": "signs", "pipeline": "yolox"}),
    (
        "auto_annotate_box",
        "dataset_not_found",
        lambda w: READY["auto_annotate_box"](w) | {"dataset_name": "x"},
    ),
    (
        "auto_annotate_box",
        "image_not_found",
        lambda w: READY["auto_annotate_box"](w) | {"image_filename": "x"},
    ),
    ("auto_annotate_box", "ambiguous_filename", same_name_twice),
    ("confirm_call", "approval_not_found", lambda w: {"approval_id": "x"}),
    ("confirm_call", "approval_not_found", of_another_key),
    ("confirm_call", "invalid_confirmation", lambda w: approval(w, confirm_token="cft_x")),
    ("confirm_call", "confirmation_used", used),
    ("confirm_call", "approval_denied", denied),
    ("confirm_call", "dataset_not_found", about_something_gone),
    ("create_dataset", "dataset_exists", lambda w: {"name": "signs"}),
    ("create_dataset", "invalid_name", lambda w: {"name": "a/b"}),
    ("create_export", "dataset_not_found", lambda w: READY["create_export"](w) | {"dataset_name": "x"}),
    ("create_export", "export_exists", export),
    ("create_export", "invalid_name", lambda w: READY["create_export"](w) | {"name": ".."}),
    ("create_export", "unknown_class", lambda w: READY["create_export"](w) | {"class_filter": ["x"]}),
    ("delete_model", "model_not_found", lambda w: {"model_id": "x"}),
    ("download_model", "model_not_found", lambda w: READY["download_model"](w) | {"model_id": "x"}),
    ("download_model", "invalid_path", lambda w: READY["download_model"](w) | {"output_path": " "}),
    ("delete_dataset", "dataset_not_found", lambda w: {"name": "x"}),
    ("delete_image", "image_not_found", lambda w: {"image_uuid": "x"}),
    ("download_export", "export_not_found", lambda w: READY["download_export"](w) | {"export_name": "x"}),
    ("download_export", "file_exists", other_file),
    ("download_export", "invalid_path", lambda w: READY["download_export"](w) | {"output_path": " "}),
    ("save_annotations", "image_not_found", lambda w: {"image_uuid": "x", "annotations": []}),
    ("save_annotations", "unknown_class", declared),
    ("set_dataset_classes", "class_in_use", lambda w: {"dataset_name": "signs", "classes": [{"name": "b"}]}),
    ("undo_call", "nothing_to_undo", lambda w: {"call_id": "x"}),
    ("undo_call", "already_undone", undone),
    ("undo_call", "later_changes", built_upon),
    ("undo_call", "purged", purged),
    ("undo_session", "nothing_to_undo", lambda w: {"session": "x"}),
    ("undo_session", "restore_point_not_found", lambda w: {"restore_point": "x"}),
    ("upload_dataset_from_folder", "folder_not_found", lambda w: {"dataset_name": "d", "folder": "/no/such"}),
    (
        "upload_dataset_from_folder",
        "invalid_name",
        lambda w: {"dataset_name": "a/b", "folder": str(w.folder / "more")},
    ),
    ("upload_image", "dataset_not_found", lambda w: file(w, "new.jpg", dataset_name="x")),
    ("upload_image", "image_exists", lambda w: file(w, "a.png")),
    ("upload_image", "file_not_found", lambda w: file(w, "nothing.jpg")),
    ("upload_image", "invalid_image", lambda w: file(w, "note.jpg")),
    ("upload_image", "invalid_name", lambda w: file(w, "new.jpg", folder_path="/a#b")),
    *listed("REFUSED"),
]


def test_every_tool_that_can_refuse_is_tried() -> None:
    assert {name for name, _, _ in REFUSED} == set(CHANGING) - {"purge_deleted"}


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


# Corners


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
