"""config.pretrained through the tools: what an agent may name, over the network and beside the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from support.pipelines import (
    CONFIG,
    call,
    dispatch,
    finish,
    folder,
    owner,
    pool,
    runtime,
    script,
    template,
)

from tintype_server.runtime import Runtime, everything
from tintype_studio.errors import TintypeError
from tintype_studio.storage.training_tables import training_runs
from tintype_tools.call import Call, Outcome, Request
from tintype_tools.local_files import LocalFiles
from tintype_tools.local_weights import local_weights

__all__ = ["finish", "folder", "owner", "pool", "runtime", "script", "template"]


@pytest.fixture
def beside(runtime: Runtime, folder: Path) -> LocalFiles:
    """What a caller beside the server may read: the folder of pictures, with weights in it."""
    (folder / "nets").mkdir()
    (folder / "nets" / "best.pt").write_bytes(b"weights")
    (folder.parent / "outside.pt").write_bytes(b"weights")
    (folder / "link.pt").symlink_to(folder.parent / "outside.pt")
    return LocalFiles.under(folder, base=folder, forbidden=(runtime.settings.home,))


def asked(
    runtime: Runtime, folder: Path, tool: str, pretrained: str, files: LocalFiles, **beside: Any
) -> Outcome:
    config = {**CONFIG, "pretrained": pretrained}
    arguments: dict[str, Any] = {"dataset_name": "yard", "pipeline": "yolox"}
    if tool == "train_pipeline":
        arguments |= {"config": config, "wait": False}
    else:
        classes = [{"name": "red", "output_type": "bbox"}]
        arguments |= {"train_config": config, "folder": str(folder), "classes": classes, "wait_seconds": 0}
    arguments |= beside.pop("arguments", {})
    return runtime.dispatch(
        Request(
            tool=tool,
            arguments=arguments,
            api_key=runtime.local_api_key(),
            door="http",
            files=files,
            **beside,
        )
    )


def refused(*arguments: Any, **rest: Any) -> TintypeError:
    with pytest.raises(TintypeError) as caught:
        asked(*arguments, **rest)
    return caught.value


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("path", ["/etc/hostname", "~/x", "nets/../../outside.pt", "link.pt"])
@pytest.mark.parametrize("tool", ["train_pipeline", "full_pipeline"])
def test_a_path_out_of_reach_is_refused_before_anything_begins(
    runtime, owner, folder, beside, tool, path, dry_run
):
    files = {
        "train_pipeline": (LocalFiles.under(), beside),
        "full_pipeline": (beside,),  # which reads a folder first
    }[tool]
    for each in files:
        assert refused(runtime, folder, tool, path, each, dry_run=dry_run).code == "path_not_allowed"
    assert runtime.studio.jobs.list(owner) == []
    assert runtime.studio.datasets.get(owner, "yard").image_count == 5


def test_preview_call_refuses_as_the_call_would(runtime, folder, beside):
    arguments = {"dataset_name": "yard", "pipeline": "yolox", "config": {"pretrained": "/etc/hostname"}}
    told = {"tool": "train_pipeline", "arguments": json.dumps(arguments)}
    with pytest.raises(TintypeError) as caught:
        dispatch_with(runtime, "preview_call", told, beside)
    assert caught.value.code == "path_not_allowed"


def dispatch_with(runtime: Runtime, tool: str, arguments: dict[str, Any], files: LocalFiles) -> Outcome:
    return runtime.dispatch(
        Request(tool=tool, arguments=arguments, api_key=runtime.local_api_key(), door="http", files=files)
    )


def test_nothing_in_the_workspace_is_read(runtime, folder):
    secret = next((runtime.settings.home / "blobs").rglob("*"))
    error = refused(runtime, folder, "train_pipeline", str(secret), everything(runtime.settings))
    assert error.code == "path_not_allowed"


@pytest.mark.parametrize("tool", ["train_pipeline", "full_pipeline"])
def test_a_path_within_reach_is_taken_and_where_it_leads_is_not_told(runtime, owner, folder, beside, tool):
    done = asked(runtime, folder, tool, "nets/best.pt", beside)
    if tool == "full_pipeline":
        [job] = runtime.studio.jobs.list(owner)
        assert job.args["request"]["local_weights"] == str(folder / "nets/best.pt")
        return
    run = done.value["training_run"]
    assert run["config"]["pretrained"] == "nets/best.pt"
    told = dispatch(runtime, "get_training_status", {"run_id": run["id"]}).value
    told_job = dispatch(runtime, "get_job", {"job_id": run["job_id"]}).value
    assert str(folder) not in f"{done.value}{told}{told_job}"
    with runtime.studio.database.read() as connection:
        [facts] = connection.execute(training_runs.select()).mappings().all()[-1:]
    assert facts["facts"]["weights"]["path"] == str(folder / "nets/best.pt")


def test_what_is_no_file_is_named(runtime, folder, beside):
    assert refused(runtime, folder, "train_pipeline", "nets/none.txt/x", beside).code == "file_not_found"


def test_a_full_pipeline_that_does_not_train_needs_no_weights(runtime, folder, beside):
    arguments = {"train": False}
    done = asked(runtime, folder, "full_pipeline", "/etc/hostname", beside, arguments=arguments, dry_run=True)
    assert done.value["affected"]


@pytest.mark.parametrize("files", ["none", "beside"])
def test_models_and_hub_ids_need_no_local_file(runtime, owner, folder, beside, files):
    allowed = beside if files == "beside" else LocalFiles.under()
    [model] = runtime.studio.models.list(owner)
    error = refused(runtime, folder, "train_pipeline", model.id, allowed, dry_run=True)
    assert error.message == "Model cells 1.0.0 has no weights file."
    error = refused(runtime, folder, "train_pipeline", "org/net", allowed)
    assert (error.code, "nothing on the hub" in error.message) == ("needs_weights", True)
    arguments = {"pipeline": "rfdetr_detection"}
    done = asked(runtime, folder, "train_pipeline", "org/net", allowed, arguments=arguments)
    assert done.value["training_run"]["config"]["pretrained"] == "org/net"


def test_a_full_pipeline_hands_its_weights_to_its_training(runtime, owner, folder, finish, script):
    first = finish(call(runtime, folder))["model"]
    report = finish(call(runtime, folder, train_config={**CONFIG, "pretrained": first["id"]}))
    card = runtime.studio.models.get(owner, report["model"]["id"]).card
    assert card["started_from"]["model_id"] == first["id"]
    told = dispatch(runtime, "get_model", {"model_id": report["model"]["id"]}).value
    assert told["training"]["parent_model_id"] == first["id"]


@pytest.mark.parametrize("config", [None, {}, {"pretrained": None}, {"pretrained": ""}, {"pretrained": 3}])
def test_what_is_no_path_is_left_to_the_configuration(config):
    assert local_weights(config, cast(Call, None)) is None
