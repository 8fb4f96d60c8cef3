"""list_models, get_model, download_model and delete_model, on models whose training only pretends."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import turn
from support.trained import use_fake_models
from support.training import Script, fill, start

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.errors import ConfirmationRequired, TintypeError
from tintype_studio.identity.keys import Principal, insert_key
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.pool import Pool
from tintype_studio.storage.blobs import blob_key
from tintype_studio.storage.tables import accounts, organizations
from tintype_studio.studio import Studio
from tintype_studio.training.models import Model
from tintype_studio.training.plan import TrainRequest
from tintype_tools.call import Outcome, Request
from tintype_tools.local_files import LocalFiles

NOWHERE = LocalFiles.under()
URL = "http://tintype.test"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Script:
    return use_fake_models(monkeypatch, tmp_path)


@pytest.fixture
def runtime(tmp_path: Path, script: Script) -> Iterator[Runtime]:
    opened = Runtime.open(Settings(home=tmp_path / "home"))
    opened.studio.jobs.supervisor.enabled = False
    yield opened
    opened.close()


@pytest.fixture
def owner(runtime: Runtime) -> Principal:
    principal = runtime.studio.keys.authenticate(runtime.local_api_key())
    for name in ("signs", "yards"):
        dataset = runtime.studio.datasets.create(principal, name=name)
        fill(runtime.studio, principal, dataset)
    return principal


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    opened = Pool(1)
    yield opened
    opened.close()


def train(
    runtime: Runtime, owner: Principal, pool: Pool | None, dataset: str = "signs", pipeline: str = "yolox"
) -> Model:
    """A model; one that waits for its training without a pool."""
    request = TrainRequest(dataset, pipeline, name="finder", config={"epochs": 2, "max_minutes": 1})
    job = start(runtime.studio, owner, request)
    if pool is not None:
        turn(runtime.studio, job, pool)
    return runtime.studio.models.list(owner)[0]


def call(
    runtime: Runtime, tool: str, arguments: dict[str, Any], *, key: str | None = None, **changes: Any
) -> Outcome:
    request = Request(
        tool=tool,
        arguments=arguments,
        api_key=key or runtime.local_api_key(),
        door="toolkit",
        files=changes.pop("files", everything(runtime.settings)),
        **changes,
    )
    try:
        return runtime.dispatch(request)
    except ConfirmationRequired as question:
        return runtime.dispatch(request.confirmed(question.token))


def code(runtime: Runtime, tool: str, arguments: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(TintypeError) as refused:
        call(runtime, tool, arguments, **changes)
    assert refused.value.fix
    return refused.value.code


def listed(runtime: Runtime, **arguments: Any) -> list[tuple[str, str]]:
    found = call(runtime, "list_models", arguments).value
    assert found["count"] == len(found["models"])
    return [(model["name"], model["version"]) for model in found["models"]]


def test_models_are_listed_newest_first_by_page_and_filter(runtime, owner, pool):
    train(runtime, owner, pool)
    train(runtime, owner, pool)
    train(runtime, owner, None, "yards", "classification")
    assert listed(runtime) == [("finder", "1.0.0"), ("finder", "2.0.0"), ("finder", "1.0.0")]
    assert listed(runtime, dataset_name="signs") == [("finder", "2.0.0"), ("finder", "1.0.0")]
    assert listed(runtime, status="training") == [("finder", "1.0.0")]
    assert listed(runtime, status="failed") == listed(runtime, dataset_name="other") == []
    assert len(listed(runtime, model_type="object_detection")) == 2
    first = call(runtime, "list_models", {"limit": 2}).value
    assert first["next_offset"] == 2
    assert listed(runtime, limit=2, offset=2) == [("finder", "1.0.0")]
    assert "next_offset" not in call(runtime, "list_models", {"limit": 2, "offset": 2}).value
    for wrong in ({"limit": 0}, {"limit": 501}, {"offset": -1}, {"status": "done"}, {"model_type": "boxes"}):
        assert code(runtime, "list_models", wrong) == "invalid_arguments"


def test_a_model_tells_how_it_was_made_and_what_it_is_worth(runtime, owner, pool):
    model = train(runtime, owner, pool)
    told = call(runtime, "get_model", {"model_id": model.id}, base_url=URL)
    value = told.value
    assert (value["model"]["initialization"], value["model"]["architecture"]) == ("random", "fake-nano")
    assert value["model"]["class_mapping"] == {"0": "badge", "1": "crate"}
    assert value["model"]["metrics"]["mAP_50"] == 0.9
    assert value["evaluated_on"] == "test"
    assert value["per_class"] == [
        {"name": "badge", "objects": {"train": 4}, "evaluated": 2, "metrics": {"mAP": 0.5123, "recall": 0.7}},
        {"name": "crate", "objects": {"train": 4}, "evaluated": 0, "metrics": {"mAP": None, "recall": None}},
    ]
    assert value["training_data"]["images"] == {"train": 4, "val": 1, "test": 1}
    assert value["training_data"]["dataset_name"] == "signs"
    assert (value["training"]["epochs"], value["training"]["parameters"]) == (2, 1000)
    assert value["training"]["config"]["epochs"] == 2
    assert value["onnx_check"] == {"max_difference": 1e-6, "tolerance": 1e-3}
    [evaluation] = value["evaluations"]
    assert (evaluation["split"], evaluation["dataset_name"], evaluation["images"]) == ("test", "signs", 1)
    assert "The class crate stands in for others." in value["notes"]
    assert [(f["format"], f["sha256"], f["size"]) for f in value["files"]] == [
        ("onnx", model.onnx_sha256, model.onnx_size),
        ("checkpoint", model.checkpoint_sha256, model.checkpoint_size),
    ]
    assert all(f["download_url"].startswith(f"{URL}/_blob/") for f in value["files"])
    assert told.pictures == ()
    assert "pictures" not in value


def test_its_pictures_come_with_it_when_asked_for(runtime, owner, pool):
    model = train(runtime, owner, pool)
    told = call(runtime, "get_model", {"model_id": model.id, "include_pictures": True})
    sizes = {name: (p.width, p.height) for name, p in zip(told.value["pictures"], told.pictures, strict=True)}
    assert sizes == {"pr_curves": (40, 20), "confusion": (20, 20), "training_curves": (30, 2)}
    assert all(p.mime_type == "image/png" and p.data.startswith(b"\x89PNG") for p in told.pictures)


def test_a_model_that_is_not_ready_is_told_of_and_not_handed_out(runtime, owner, tmp_path):
    model = train(runtime, owner, None)
    value = call(runtime, "get_model", {"model_id": model.id, "include_pictures": True}).value
    assert (value["model"]["status"], value["per_class"], value["files"]) == ("training", [], [])
    arguments = {"model_id": model.id, "output_path": str(tmp_path / "m.onnx")}
    for dry_run in (False, True):
        assert code(runtime, "download_model", arguments, dry_run=dry_run) == "model_not_ready"
    assert not (tmp_path / "m.onnx").exists()
    assert code(runtime, "delete_model", {"model_id": model.id}) == "model_training"
    for tool in ("get_model", "delete_model"):
        assert code(runtime, tool, {"model_id": "nothing"}) == "model_not_found"


def another_organization(studio: Studio) -> str:
    """Its owner's key."""
    with studio.database.write() as connection:
        values = {"uuid": clock.new_id(), "name": "o", "slug": "o", "tier": "free", "created_at": clock.now()}
        row = connection.execute(sa.insert(organizations).values(**values).returning(organizations.c.id))
        number = row.scalar_one()
        connection.execute(sa.insert(accounts).values(organization_id=number, balance=0))
        return insert_key(connection, studio.signer, organization_id=number, name="owner", role=Role.OWNER)


def test_other_organizations_see_nothing_of_it(runtime, owner, pool):
    model = train(runtime, owner, pool)
    stranger = another_organization(runtime.studio)
    assert call(runtime, "list_models", {}, key=stranger).value["models"] == []
    for tool in ("get_model", "delete_model"):
        assert code(runtime, tool, {"model_id": model.id}, key=stranger) == "model_not_found"


@pytest.mark.parametrize("file_format", ["onnx", "checkpoint"])
def test_a_download_is_whole_checked_and_never_over_another_file(runtime, owner, pool, tmp_path, file_format):
    model = train(runtime, owner, pool)
    target = tmp_path / "m.bin"
    arguments = {"model_id": model.id, "output_path": str(target), "format": file_format}
    told = call(runtime, "download_model", arguments, dry_run=True).value
    assert not target.exists()
    value = call(runtime, "download_model", arguments).value
    data = target.read_bytes()
    assert data == {"onnx": b"onnx", "checkpoint": b"weights"}[file_format] + f" of {model.run_id}".encode()
    assert value == {
        "output_path": str(target),
        "format": file_format,
        "file_size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    assert told["affected"] == [{"kind": "file.written", "count": 1, "name": "m.bin", "size": len(data)}]
    assert call(runtime, "download_model", arguments).value == value
    assert call(runtime, "download_model", arguments, dry_run=True).value["affected"][0]["count"] == 0
    target.write_bytes(b"mine")
    assert code(runtime, "download_model", arguments) == "file_exists"
    assert target.read_bytes() == b"mine"
    assert [path.name for path in tmp_path.glob(".tintype-*")] == []


def test_damaged_bytes_are_not_written(runtime, owner, pool, tmp_path):
    model = train(runtime, owner, pool)
    stored = tmp_path / "home/blobs" / blob_key(model.onnx_sha256 or "")
    stored.write_bytes(b"onnx of something else")
    arguments = {"model_id": model.id, "output_path": str(tmp_path / "m.onnx")}
    assert code(runtime, "download_model", arguments) == "checksum_mismatch"
    stored.unlink()
    assert code(runtime, "download_model", arguments) == "blob_missing"
    assert list(tmp_path.glob("*.onnx")) == list(tmp_path.glob(".tintype-*")) == []


def test_without_local_files_a_download_is_a_signed_url(runtime, owner, pool):
    from starlette.testclient import TestClient

    from tintype_server.http.app import build_app

    model = train(runtime, owner, pool)
    arguments = {"model_id": model.id, "output_path": "m.onnx"}
    value = call(runtime, "download_model", arguments, files=NOWHERE, base_url=URL).value
    assert "output_path" not in value
    assert value["sha256"] == model.onnx_sha256
    with TestClient(build_app(runtime), base_url=URL) as client:
        answer = client.get(value["download_url"])
    assert answer.content == f"onnx of {model.run_id}".encode()
    assert "finder-1.0.0.onnx" in answer.headers["content-disposition"]
    told = call(runtime, "download_model", arguments, files=NOWHERE, base_url=URL, dry_run=True).value
    assert told["affected"] == [{"kind": "file.written", "count": 0}]
    assert code(runtime, "download_model", arguments, files=NOWHERE) == "path_not_allowed"


def test_a_deleted_model_is_hidden_refused_and_comes_back(runtime, owner, pool, tmp_path):
    model = train(runtime, owner, pool)
    arguments = {"model_id": model.id}
    told = call(runtime, "delete_model", arguments, dry_run=True).value
    assert told["approval"] == {"required": True, "reason": "it deletes"}
    assert [(a["kind"], a["count"], a["name"]) for a in told["affected"]] == [
        ("model.archived", 1, "finder 1.0.0")
    ]
    assert listed(runtime) == [("finder", "1.0.0")]
    member, _ = runtime.studio.keys.create(owner, name="m", role=Role.MEMBER)
    assert code(runtime, "delete_model", arguments, key=member) == "role_required"

    done = call(runtime, "delete_model", arguments)
    assert done.value == {"deleted": True, "model_id": model.id, "name": "finder", "version": "1.0.0"}
    assert listed(runtime) == []
    assert listed(runtime, status="archived") == [("finder", "1.0.0")]
    assert call(runtime, "get_model", arguments).value["model"]["status"] == "archived"
    download = arguments | {"output_path": str(tmp_path / "m.onnx")}
    assert code(runtime, "download_model", download) == "model_not_ready"
    assert call(runtime, "delete_model", arguments).value["deleted"] is True

    call(runtime, "undo_call", {"call_id": done.call_id})
    assert listed(runtime) == [("finder", "1.0.0")]
    assert call(runtime, "download_model", download).value["sha256"] == model.onnx_sha256
