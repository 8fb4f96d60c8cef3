"""Trainers and validators: what they take, sessions begun with them, renamed and deleted."""

from __future__ import annotations

from typing import Any

from tintype_server.edgefirst.methods import Rpc, method
from tintype_server.edgefirst.params import id_of, list_of, object_of, optional_id, optional_text, text_of
from tintype_server.edgefirst.session_wire import row_in, training_wire, validation_wire
from tintype_studio.catalog.dataset_rows import dataset_of_row, set_of_row
from tintype_studio.catalog.datasets import DEFAULT_SET, Dataset
from tintype_studio.errors import Conflict, InvalidInput
from tintype_studio.experiments.session import EXPERIMENT, TRAINING, VALIDATION
from tintype_studio.experiments.validation import SPLITS
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio
from tintype_studio.tasks.task import PREFIX as TASK
from tintype_studio.wire_ids import wire_id

LABELS = {
    "yolox": "YOLOX: boxes",
    "rfdetr_detection": "RF-DETR: boxes",
    "detectron2": "Mask R-CNN: outlines",
    "rfdetr_segmentation": "RF-DETR: outlines",
    "sm_pytorch": "Segmentation of pixels",
    "classification": "Classification of pictures",
}


@method("trainer.server.schema")
async def _schemas(rpc: Rpc, params: dict[str, Any]) -> Any:
    from tintype_studio.vision.train.config import options_of
    from tintype_studio.vision.train.pipelines import PIPELINES, pipeline_of

    await rpc.read(lambda _studio, principal: principal.role)  # only for who may look at all
    wanted = optional_text(params, "type")
    if wanted is not None:
        return [{**option, "required": False} for option in options_of(pipeline_of(wanted))]
    named = ({"name": name, "label": LABELS.get(name, name), "schema_type": name} for name in PIPELINES)
    return {"schema_list": list(named)}


@method("validate.schema")
async def _validators(rpc: Rpc, _params: dict[str, Any]) -> Any:
    from tintype_studio.vision.train.pipelines import PIPELINES

    await rpc.read(lambda _studio, principal: principal.role)
    options = [{"name": split, "label": split} for split in SPLITS]
    split = {
        "name": "split",
        "label": "Images",
        "description": "Which images are measured, as they were divided for the training.",
        "type": "select",
        "default": "test",
        "required": False,
        "options": options,
    }
    return [{"name": name, "type": name, "schema": [split]} for name in PIPELINES]


async def start_training(rpc: Rpc, params: dict[str, Any]) -> dict[str, int]:
    """``cloud.server.start`` of a training: one of ours, or a session that somebody else fills."""
    asked = object_of(params, "params")
    experiment = wire_id(EXPERIMENT, id_of(asked, "trainer_id"))
    dataset, annotation_set = await rpc.read(lambda studio, who: _dataset_and_set(studio, who, asked))
    name = optional_text(asked, "session_name") or text_of(params, "name")
    trainer, told = text_of(asked, "trainer_type"), object_of(asked, "params")
    description = optional_text(asked, "session_description") or optional_text(params, "description")
    groups = {
        "train_group": text_of(asked, "train_group_name", "train"),
        "val_group": text_of(asked, "val_group_name", "val"),
    }
    if params.get("is_local") is True:
        made = await rpc.call(
            "create_session",
            experiment_id=experiment,
            name=name,
            model=trainer,
            params=told or None,
            dataset_name=dataset.name,
            annotation_set=annotation_set,
            description=description,
            **groups,
        )
    else:
        await rpc.read(lambda studio, who: _require_as_it_is(studio, who, dataset, annotation_set, asked))
        if groups != {"train_group": "train", "val_group": "val"} or optional_id(asked, "weights_session"):
            raise InvalidInput(
                "Trainings here learn from the group train, are tuned on val, and begin with no session.",
                code="invalid_params",
                fix="Name these groups, and put a model's id into the parameter pretrained.",
            )
        started = await rpc.call(
            "train_pipeline",
            dataset_name=dataset.name,
            pipeline=trainer,
            name=name,
            config=told or None,
            wait_seconds=0,
        )
        run = started.value["training_run"]["id"]
        session = await rpc.read(lambda studio, who: _session_of_run(studio, who, run))
        made = await rpc.call("update_session", session_id=session, experiment_id=experiment)
    value = made.value.get("session", made.value)
    return {"id": row_in(value["task_id"], TASK), "train_session_id": row_in(value["wire_id"], TRAINING)}


def _session_of_run(studio: Studio, principal: Principal, run_id: str) -> str:
    run = studio.training.get(principal, run_id)
    return studio.experiments.training.of_run(principal, run.row_id).wire_id


def _dataset_and_set(studio: Studio, principal: Principal, asked: dict[str, Any]) -> tuple[Dataset, str]:
    dataset = dataset_of_row(studio, principal, id_of(asked, "dataset_id"))
    found = set_of_row(studio, principal, id_of(asked, "annotation_set_id"))
    if found.dataset.row_id != dataset.row_id:
        raise InvalidInput(
            "The annotation set is of another dataset.",
            code="invalid_params",
            fix="Send an annotation set of the dataset that is learned from.",
        )
    return dataset, found.name


def _require_as_it_is(
    studio: Studio, principal: Principal, dataset: Dataset, annotation_set: str, asked: dict[str, Any]
) -> None:
    """Refuse to learn from what is not the dataset as it stands."""
    if annotation_set != DEFAULT_SET:
        raise InvalidInput(
            f"Trainings here learn from the annotation set {DEFAULT_SET!r}.",
            code="invalid_params",
            fix="Send its id, or start a user-managed session (is_local).",
        )
    tag = optional_text(asked, "tag_name")
    if tag is not None and studio.versions.changelog_count(principal, dataset.name, old=tag):
        raise Conflict(
            f"The dataset has changed since the version {tag!r}, and trainings learn from it as it stands.",
            code="version_outdated",
            fix="Make a new version and name that, or restore this one first.",
        )


@method("trainer.session.update")
async def _update_training(rpc: Rpc, params: dict[str, Any]) -> Any:
    ref = wire_id(TRAINING, id_of(params, "id"))
    await rpc.call("update_session", session_id=ref, **_told(params))
    return await rpc.read(lambda studio, who: training_wire(studio.experiments.training.get(who, ref)))


@method("validate.session.update")
async def _update_validation(rpc: Rpc, params: dict[str, Any]) -> Any:
    ref = wire_id(VALIDATION, id_of(params, "validate_session_id"))
    await rpc.call("update_session", session_id=ref, **_told(params))
    return await rpc.read(lambda studio, who: validation_wire(studio.experiments.validation.get(who, ref)))


@method("validate.session.set_platform")
async def _set_platform(rpc: Rpc, params: dict[str, Any]) -> Any:
    ref = wire_id(VALIDATION, id_of(params, "validate_session_id"))
    told = {"platform": object_of(params, "platform")}
    await rpc.call("update_session", session_id=ref, params=told, merge=True)
    return await rpc.read(lambda studio, who: validation_wire(studio.experiments.validation.get(who, ref)))


@method("trainer.session.delete")
async def _delete(rpc: Rpc, params: dict[str, Any]) -> Any:
    ids = [wire_id(TRAINING, id_of({"id": each}, "id")) for each in list_of(params, "session_ids")]
    if ids:
        await rpc.call("delete_sessions", session_ids=ids)
    return "ok"


def _told(params: dict[str, Any]) -> dict[str, Any]:
    return {"name": optional_text(params, "name"), "description": optional_text(params, "description")}
