"""Experiments, training sessions and validation sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import orjson

from tintype_server.edgefirst.methods import Binary, FormFile, Rpc, form, get, method
from tintype_server.edgefirst.params import (
    id_of,
    list_of,
    object_of,
    optional_id,
    optional_text,
    text_of,
    wrong,
)
from tintype_server.edgefirst.rpc_trainers import start_training
from tintype_server.edgefirst.session_wire import experiment_wire, row_in, training_wire, validation_wire
from tintype_studio.catalog.dataset_rows import dataset_of_row, set_of_row
from tintype_studio.errors import InvalidInput, TooLarge
from tintype_studio.experiments.files import StoredFile
from tintype_studio.experiments.own_results import ARTIFACTS, CHECKPOINTS
from tintype_studio.experiments.session import EXPERIMENT, TRAINING, VALIDATION
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio
from tintype_studio.tasks.task import PREFIX as TASK
from tintype_studio.wire_ids import wire_id

PAGE = 500
MAX_TEXT = 32 * 1024**2
"""Of a file that comes as text."""
MODEL_TYPES = {
    "onnx": "onnx",
    "tflite": "tflite",
    "h5": "keras",
    "keras": "keras",
    "pt": "pytorch",
    "pth": "pytorch",
    "hef": "hailo",
    "rknn": "rknn",
    "dvm": "kinara",
    "engine": "tensorrt",
}
"""What kind of model a file is, by its extension; others are told by the extension itself."""


class _Listed(Protocol):
    @property
    def wire_id(self) -> str: ...


T = TypeVar("T", bound=_Listed)


def every(page: Callable[[str | None], Sequence[T]]) -> Iterator[T]:
    """All that a list has, page by page."""
    before: str | None = None
    while found := page(before):
        yield from found
        if len(found) < PAGE:
            return
        before = found[-1].wire_id


@method("trainer.list2")
async def _experiments(rpc: Rpc, params: dict[str, Any]) -> Any:
    project = id_of(params, "project_id")

    def read(studio: Studio, principal: Principal) -> list[dict[str, Any]]:
        row_id = studio.projects.of_row(principal, project).row_id
        listed = studio.experiments.list
        found = every(lambda before: listed(principal, project_row_id=row_id, limit=PAGE, before=before))
        return [experiment_wire(each) for each in found]

    return await rpc.read(read)


@method("trainer.get")
async def _experiment(rpc: Rpc, params: dict[str, Any]) -> Any:
    ref = wire_id(EXPERIMENT, id_of(params, "trainer_id"))
    return await rpc.read(lambda studio, who: experiment_wire(studio.experiments.get(who, ref)))


@method("trainer.session.list")
async def _training_sessions(rpc: Rpc, params: dict[str, Any]) -> Any:
    ref = wire_id(EXPERIMENT, id_of(params, "trainer_id"))

    def read(studio: Studio, principal: Principal) -> list[dict[str, Any]]:
        experiment = studio.experiments.get(principal, ref)
        listed = studio.experiments.training.list
        found = every(lambda before: listed(principal, experiment=experiment, limit=PAGE, before=before))
        return [training_wire(each) for each in found]

    return await rpc.read(read)


@method("trainer.session.get")
async def _training_session(rpc: Rpc, params: dict[str, Any]) -> Any:
    ref = wire_id(TRAINING, id_of(params, "trainer_session_id"))
    return await rpc.read(lambda studio, who: training_wire(studio.experiments.training.get(who, ref)))


@method("trainer.session.metrics")
async def _training_metrics(rpc: Rpc, params: dict[str, Any]) -> Any:
    ref = wire_id(TRAINING, id_of(params, "trainer_session_id"))
    if params.get("metrics") is not None:
        await rpc.call("update_session", session_id=ref, metrics=object_of(params, "metrics"))
        return "ok"

    def read(studio: Studio, principal: Principal) -> dict[str, Any]:
        sessions = studio.experiments.training
        return sessions.metrics(sessions.get(principal, ref))

    return await rpc.read(read)


@method("trainer.get_artifacts")
async def _artifacts(rpc: Rpc, params: dict[str, Any]) -> Any:
    ref = wire_id(TRAINING, id_of(params, "training_session_id"))

    def read(studio: Studio, principal: Principal) -> list[dict[str, str]]:
        sessions = studio.experiments.training
        files = sessions.files(sessions.get(principal, ref))
        names = [file.path.removeprefix(ARTIFACTS) for file in files if file.path.startswith(ARTIFACTS)]
        return [{"name": name, "modelType": _model_type(name)} for name in names]

    return await rpc.read(read)


def _model_type(name: str) -> str:
    extension = name.rpartition(".")[2].lower() if "." in name else "file"
    return MODEL_TYPES.get(extension, extension)


@method("trainer.download.file")
async def _text(rpc: Rpc, params: dict[str, Any]) -> Any:
    ref, path = wire_id(TRAINING, id_of(params, "session_id")), text_of(params, "file_path")

    def read(studio: Studio, principal: Principal) -> str:
        sessions = studio.experiments.training
        return as_text(studio, sessions.file(sessions.get(principal, ref), path))

    return await rpc.read(read)


def as_text(studio: Studio, file: StoredFile) -> str:
    """A file that is text; InvalidInput (``not_text``) for any other."""
    if file.size > MAX_TEXT:
        raise TooLarge(
            f"{file.path!r} has more than {MAX_TEXT // 1024**2} MiB, too much for an answer in text.",
            code="file_too_large",
            fix="Download it as an artifact or checkpoint.",
        )
    try:
        return b"".join(studio.experiments.files.stream(file)).decode()
    except UnicodeDecodeError:
        raise InvalidInput(
            f"{file.path!r} is no text.",
            code="not_text",
            fix="Download it as an artifact or checkpoint.",
        ) from None


@form("trainer.upload.files")
async def _upload(rpc: Rpc, fields: Mapping[str, str], files: list[FormFile]) -> Any:
    try:
        params = orjson.loads(fields.get("params", ""))
    except orjson.JSONDecodeError:
        params = None
    if not isinstance(params, dict):
        raise wrong("params", "the text of a JSON object with session_id")
    await add_files(rpc, files, session_id=wire_id(TRAINING, id_of(params, "session_id")))
    return "ok"


async def add_files(rpc: Rpc, files: list[FormFile], *, folder: str | None = None, **owner: str) -> None:
    """Keep the files of a form, all or none, in a folder of their own if one is named."""
    if not files:
        raise InvalidInput("The form has no file.", code="file_missing", fix="Send parts named file.")
    prefix = f"{folder}/" if folder else ""
    listed = [{"path": f"{prefix}{file.name}", "file_path": str(file.path)} for file in files]
    await rpc.call_with_files(files, "add_session_files", files=listed, **owner)


@get("download_model")
async def download_model(rpc: Rpc, query: Mapping[str, str]) -> Binary:
    """An artifact of a training session."""
    return await _download(rpc, query, ARTIFACTS)


@get("download_checkpoint")
async def download_checkpoint(rpc: Rpc, query: Mapping[str, str]) -> Binary:
    """A checkpoint of a training session."""
    if query.get("folder", "checkpoints") != "checkpoints":
        raise wrong("folder", "checkpoints")
    return await _download(rpc, query, CHECKPOINTS)


async def _download(rpc: Rpc, query: Mapping[str, str], folder: str) -> Binary:
    number = query.get("training_session_id", "")
    session = id_of({"id": int(number) if number.isdecimal() and len(number) < 20 else number}, "id")
    name = query.get("file", "")
    path = name if name.startswith(folder) else folder + name

    def read(studio: Studio, principal: Principal) -> Binary:
        sessions = studio.experiments.training
        file = sessions.file(sessions.get(principal, wire_id(TRAINING, session)), path)
        return Binary(studio.experiments.files.stream(file), file.size)

    return await rpc.read(read)


# --- Validation -----------------------------------------------------------------------------------------


@method("validate.session.list")
async def _validation_sessions(rpc: Rpc, params: dict[str, Any]) -> Any:
    project = id_of(params, "project_id")

    def read(studio: Studio, principal: Principal) -> list[dict[str, Any]]:
        row_id = studio.projects.of_row(principal, project).row_id
        listed = studio.experiments.validation.list
        found = every(lambda before: listed(principal, project_row_id=row_id, limit=PAGE, before=before))
        return [validation_wire(each) for each in found]

    return await rpc.read(read)


@method("validate.session.get")
async def _validation_session(rpc: Rpc, params: dict[str, Any]) -> Any:
    ref = wire_id(VALIDATION, id_of(params, "validate_session_id"))
    return await rpc.read(lambda studio, who: validation_wire(studio.experiments.validation.get(who, ref)))


@method("validate.session.metrics")
async def _validation_metrics(rpc: Rpc, params: dict[str, Any]) -> Any:
    ref = wire_id(VALIDATION, id_of(params, "validate_session_id"))
    if params.get("metrics") is not None:
        await rpc.call("update_session", session_id=ref, metrics=object_of(params, "metrics"))
        return "ok"

    def read(studio: Studio, principal: Principal) -> dict[str, Any]:
        sessions = studio.experiments.validation
        return sessions.metrics(sessions.get(principal, ref))

    return await rpc.read(read)


@method("validate.session.delete")
async def _delete(rpc: Rpc, params: dict[str, Any]) -> Any:
    ids = [
        wire_id(VALIDATION, id_of({"session_ids": each}, "session_ids"))
        for each in list_of(params, "session_ids")
    ]
    if ids:
        await rpc.call("delete_sessions", session_ids=ids)
    return "ok"


@method("cloud.server.start")
async def _start(rpc: Rpc, params: dict[str, Any]) -> Any:
    kind = text_of(params, "type")
    if kind == "trainer":
        return await start_training(rpc, params)
    if kind != "validation":
        raise wrong("type", "validation or trainer")
    if optional_id(params, "snapshot_id") is not None:
        raise InvalidInput(
            "A snapshot cannot be measured on.",
            code="snapshot_not_supported",
            fix="Restore the snapshot, and send dataset_id and annotation_set_id of what came of it.",
        )
    names = await rpc.read(lambda studio, principal: _names(studio, principal, params))
    asked = object_of(object_of(params, "params"), "params")
    outcome = await rpc.call(
        "start_validation",
        training_session_id=wire_id(TRAINING, id_of(params, "training_session_id")),
        name=text_of(params, "name"),
        model_file=text_of(params, "model_file"),
        params=asked or None,
        user_managed=params.get("is_local") is True,
        description=optional_text(params, "description"),
        wait_seconds=0,
        **names,
    )
    session, task = outcome.value["session"], outcome.value["task_id"]
    return {"id": row_in(task, TASK), "val_session_id": row_in(session["wire_id"], VALIDATION)}


def _names(studio: Studio, principal: Principal, params: dict[str, Any]) -> dict[str, Any]:
    """What the tool calls project, dataset and annotation set."""
    told = {"project": studio.projects.of_row(principal, id_of(params, "project_id")).name}
    dataset, annotation_set = optional_id(params, "dataset_id"), optional_id(params, "annotation_set_id")
    if dataset is not None:
        told["dataset_name"] = dataset_of_row(studio, principal, dataset).name
    if annotation_set is not None:
        found = set_of_row(studio, principal, annotation_set)
        if told.setdefault("dataset_name", found.dataset.name) != found.dataset.name:
            raise InvalidInput(
                "The annotation set is of another dataset.",
                code="invalid_params",
                fix="Send an annotation set of the dataset that is measured on.",
            )
        told["annotation_set"] = found.name
    return told


@form("val.data.upload")
async def _upload_data(rpc: Rpc, fields: Mapping[str, str], files: list[FormFile]) -> Any:
    session = wire_id(VALIDATION, form_id(fields, "session_id"))
    await add_files(rpc, files, folder=fields.get("folder"), session_id=session)
    return "ok"


def form_id(fields: Mapping[str, str], name: str) -> int:
    """An id in a form, where it is decimal text."""
    text = fields.get(name, "")
    return id_of({name: int(text) if text.isdecimal() and len(text) < 20 else text or None}, name)


@method("val.data.list")
async def _list_data(rpc: Rpc, params: dict[str, Any]) -> Any:
    ref = wire_id(VALIDATION, id_of(params, "session_id"))

    def read(studio: Studio, principal: Principal) -> list[str]:
        sessions = studio.experiments.validation
        return [file.path for file in sessions.files(sessions.get(principal, ref))]

    return await rpc.read(read)


@method("val.data.download")
async def _download_data(rpc: Rpc, params: dict[str, Any]) -> Any:
    ref, path = wire_id(VALIDATION, id_of(params, "session_id")), text_of(params, "filename")

    def read(studio: Studio, principal: Principal) -> Binary:
        sessions = studio.experiments.validation
        file = sessions.file(sessions.get(principal, ref), path)
        return Binary(studio.experiments.files.stream(file), file.size)

    return await rpc.read(read)
