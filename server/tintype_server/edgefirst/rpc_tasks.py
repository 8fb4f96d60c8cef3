"""Tasks, their charts and data, and jobs by the name of their app."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from tintype_server.edgefirst.apps import app_of, arguments_of, told_of_kind
from tintype_server.edgefirst.methods import Binary, FormFile, Rpc, form, method
from tintype_server.edgefirst.params import (
    id_of,
    list_of,
    object_of,
    optional_text,
    text_of,
    texts_of,
    whole_of,
    wrong,
)
from tintype_server.edgefirst.rpc_sessions import add_files, form_id
from tintype_server.edgefirst.session_wire import job_wire, task_info_wire, task_wire
from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.experiments.files import Owner, StoredFile
from tintype_studio.experiments.training import no_such_file
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio
from tintype_studio.tasks.task import AT_ONCE, HERE, PREFIX, Task
from tintype_studio.wire_ids import wire_id

PAGE = 200
MOST_JOBS = 1000
"""That a list without pages has: the newest."""
_MANAGERS = {"aws": HERE, "ec2": HERE}
"""What clients may call this server's workers."""

T = TypeVar("T")


@method("task.list")
async def _tasks(rpc: Rpc, params: dict[str, Any]) -> Any:
    managers = texts_of(params, "manage_types")
    token = optional_text(params, "continue_token")
    if token is not None and not (token.isdecimal() and len(token) < 19):
        raise wrong("continue_token", "one that task.list answered")

    def read(studio: Studio, principal: Principal) -> dict[str, Any]:
        found = studio.tasks.list(
            principal,
            types=texts_of(params, "types"),
            statuses=texts_of(params, "status"),
            managers=None if managers is None else [_MANAGERS.get(each, each) for each in managers],
            limit=PAGE,
            before=None if token is None else wire_id(PREFIX, int(token)),
        )
        more = str(found[-1].row_id) if len(found) == PAGE else ""
        return {"tasks": [task_wire(task) for task in found], "continue_token": more}

    return await rpc.read(read)


@method("task.get")
async def _task(rpc: Rpc, params: dict[str, Any]) -> Any:
    ref = wire_id(PREFIX, id_of(params, "id"))
    return await rpc.read(lambda studio, principal: task_info_wire(studio.tasks.get(principal, ref)))


@method("docker.update.status")
async def _set_status(rpc: Rpc, params: dict[str, Any]) -> Any:
    return await _updated(rpc, params, status=text_of(params, "status"))


@method("status.stages")
async def _set_stages(rpc: Rpc, params: dict[str, Any]) -> Any:
    stages: list[dict[str, str]] = []
    for each in list_of(params, "stages"):
        if not isinstance(each, dict) or not all(isinstance(text, str) for text in each.values()):
            raise wrong("stages", "a list of objects from name to description")
        stages += [{"name": name, "description": text} for name, text in each.items()]
    return await _updated(rpc, params, stages=stages)


@method("status.update")
async def _set_stage(rpc: Rpc, params: dict[str, Any]) -> Any:
    stage = {
        "stage": text_of(params, "stage"),
        "status": text_of(params, "status"),
        "message": text_of(params, "message", ""),
        "percentage": whole_of(params, "percentage"),
    }
    return await _updated(rpc, params, stage=stage)


async def _updated(rpc: Rpc, params: dict[str, Any], **change: Any) -> dict[str, Any]:
    ref = wire_id(PREFIX, id_of(params, "docker_task_id"))
    await rpc.call("update_task", task_id=ref, **change)
    return await rpc.read(lambda studio, principal: task_wire(studio.tasks.get(principal, ref)))


# --- Data and charts ------------------------------------------------------------------------------------


@method("task.data.list")
async def _data(rpc: Rpc, params: dict[str, Any]) -> Any:
    def read(studio: Studio, task: Task) -> list[tuple[str, str]]:
        files = studio.experiments.files.list(Owner.TASK, task.row_id)
        return [(folder, name) for folder, _, name in (file.path.rpartition("/") for file in files)]

    return await _listed(rpc, params, read)


@form("task.data.upload")
async def _upload(rpc: Rpc, fields: Mapping[str, str], files: list[FormFile]) -> Any:
    task = wire_id(PREFIX, form_id(fields, "task_id"))
    await add_files(rpc, files, folder=fields.get("folder"), task_id=task)
    return "ok"


@method("task.data.download")
async def _download(rpc: Rpc, params: dict[str, Any]) -> Any:
    folder, name = text_of(params, "folder", ""), text_of(params, "file")
    path = f"{folder}/{name}" if folder else name

    def read(studio: Studio, task: Task) -> Binary:
        file: StoredFile | None = studio.experiments.files.find(Owner.TASK, task.row_id, path)
        if file is None:
            raise _not_the_task(no_such_file(path))
        return Binary(studio.experiments.files.stream(file), file.size)

    return await _of_task(rpc, params, read)


@method("task.chart.add")
async def _add_chart(rpc: Rpc, params: dict[str, Any]) -> Any:
    chart = {
        "group": text_of(params, "group_name"),
        "name": text_of(params, "chart_name"),
        "data": params.get("data"),
        "params": params.get("params"),
    }
    await rpc.call("update_task", task_id=wire_id(PREFIX, id_of(params, "task_id")), chart=chart)
    return "ok"


@method("task.chart.list")
async def _charts(rpc: Rpc, params: dict[str, Any]) -> Any:
    group = optional_text(params, "group_name")

    def read(studio: Studio, task: Task) -> list[tuple[str, str]]:
        found = studio.tasks.charts.names(task, group)
        return [(each, name) for each, names in found.items() for name in names]

    return await _listed(rpc, params, read)


@method("task.chart.get")
async def _chart(rpc: Rpc, params: dict[str, Any]) -> Any:
    group, name = text_of(params, "group_name"), text_of(params, "chart_name")

    def read(studio: Studio, task: Task) -> Any:
        try:
            return studio.tasks.charts.get(task, group, name).data
        except NotFound as missing:
            raise _not_the_task(missing) from None

    return await _of_task(rpc, params, read)


async def _of_task(rpc: Rpc, params: dict[str, Any], work: Callable[[Studio, Task], T]) -> T:
    ref = wire_id(PREFIX, id_of(params, "task_id"))
    return await rpc.read(lambda studio, principal: work(studio, studio.tasks.get(principal, ref)))


async def _listed(
    rpc: Rpc, params: dict[str, Any], work: Callable[[Studio, Task], Iterable[tuple[str, str]]]
) -> dict[str, Any]:
    """Names by folder or group, as both lists have them."""
    found: dict[str, list[str]] = {}
    for folder, name in await _of_task(rpc, params, work):
        found.setdefault(folder, []).append(name)
    organization = await rpc.read(lambda _studio, principal: wire_id("org", principal.organization_id))
    return {"server": rpc.base_url, "organization_uid": organization, "data": found}


def _not_the_task(missing: NotFound) -> InvalidInput:
    """Of a task that is there, clients take "not found" as if the task were not, and lose the text."""
    return InvalidInput(missing.message, code=missing.code, fix=missing.fix)


# --- Jobs -----------------------------------------------------------------------------------------------


@method("job.run")
async def _run(rpc: Rpc, params: dict[str, Any]) -> Any:
    name, app = app_of(text_of(params, "name"))
    if object_of(params, "env"):
        raise InvalidInput(
            "Apps take no environment.", code="invalid_params", fix="Put what the app is to know into data."
        )
    data = object_of(params, "data")
    arguments = await rpc.read(lambda studio, principal: arguments_of(app, studio, principal, data))
    outcome = await rpc.call(app.tool, **arguments)
    job_id, wanted = outcome.job, text_of(params, "job_name", "")
    if job_id is None:
        # It was little enough to be done at once.
        done = await rpc.call(
            "create_task",
            name=wanted[:200] or app.title,
            type=app.type,
            status="complete",
            instance=AT_ONCE,
        )
        ref = done.value["id"]
    else:
        ref = await rpc.read(lambda studio, principal: studio.tasks.of_job(principal, job_id).id)
        if wanted:
            await rpc.call("update_task", task_id=ref, name=wanted[:200])
    return await rpc.read(
        lambda studio, principal: job_wire(studio.tasks.get(principal, ref), name, app.title)
    )


@method("job.list")
async def _jobs(rpc: Rpc, _params: dict[str, Any]) -> Any:
    def read(studio: Studio, principal: Principal) -> list[dict[str, Any]]:
        found: list[Task] = []
        while len(found) < MOST_JOBS:
            before = found[-1].id if found else None
            page = studio.tasks.list(principal, jobs_only=True, limit=PAGE, before=before)
            found += page
            if len(page) < PAGE:
                break
        return [job_wire(task, *told_of_kind(task.job_kind, task.type)) for task in found]

    return await rpc.read(read)


@method("job.stop")
async def _stop(rpc: Rpc, params: dict[str, Any]) -> Any:
    await rpc.call("stop_task", task_id=wire_id(PREFIX, id_of(params, "task_id")))
    return "ok"
