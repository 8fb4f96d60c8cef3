"""Tasks: listed, looked at, told how they are doing, stopped; with charts and files.

The task of a job tells its status by itself (``tasks.own_jobs``). Of work that is done elsewhere, whoever
does it tells status and stages here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.names import clean_text, printable
from tintype_studio.storage.session_tables import tasks
from tintype_studio.tasks.charts import Charts
from tintype_studio.tasks.task import (
    AT_ONCE,
    HERE,
    OVER,
    PREFIX,
    SAME_STATUS,
    USER,
    Stage,
    Task,
    columns,
    status_column,
    task_of,
    with_job,
)
from tintype_studio.wire_ids import named_by

if TYPE_CHECKING:
    from tintype_studio.studio import Studio

MAX_PAGE = 500
MAX_NAME = 200
MAX_STATUS = 40
MAX_STAGES = 100
MAX_TEXT = 1000


class Tasks:
    """Tasks of every organization; each call sees only the principal's own."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._db = studio.database
        self.charts = Charts(self._db)

    # --- Look -------------------------------------------------------------------------------------------

    def get(self, principal: Principal, ref: str) -> Task:
        """A task by its UUID or its id on the wire (``task-1a``)."""
        return self._one(principal, named_by(tasks, PREFIX, ref), ref)

    def of_job(self, principal: Principal, job_id: str) -> Task:
        """The task of a job, by the job's UUID."""
        return self._one(principal, tasks.c.job_id == self._studio.jobs.get(principal, job_id).row_id, job_id)

    def list(
        self,
        principal: Principal,
        *,
        types: Sequence[str] | None = None,
        statuses: Sequence[str] | None = None,
        managers: Sequence[str] | None = None,
        name: str | None = None,
        jobs_only: bool = False,
        limit: int = 50,
        before: str | None = None,
    ) -> list[Task]:
        """Tasks, newest first; ``before`` is the id of the last one of the page before.

        A status finds its synonyms, too: ``complete`` and ``completed`` are one. ``name`` is a part of it,
        whatever its case. ``jobs_only`` leaves out what is done elsewhere.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit is 1 to {MAX_PAGE}.")
        query = _listed().where(tasks.c.organization_id == principal.organization_id)
        if types:
            query = query.where(tasks.c.type.in_(types))
        if statuses:
            query = query.where(sa.func.lower(status_column()).in_(_with_synonyms(statuses)))
        if managers:
            query = query.where(sa.func.coalesce(tasks.c.manage_type, USER).in_(managers))
        if name:
            query = query.where(sa.func.lower(tasks.c.name).contains(name.lower(), autoescape=True))
        if jobs_only:
            query = query.where(sa.or_(tasks.c.manage_type == HERE, tasks.c.instance_type == AT_ONCE))
        if before is not None:
            query = query.where(tasks.c.id < self.get(principal, before).row_id)
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(tasks.c.id.desc()).limit(limit)).mappings()
            return [task_of(row) for row in rows]

    # --- Tell -------------------------------------------------------------------------------------------

    def create(
        self,
        principal: Principal,
        *,
        type: str,
        name: str,
        project_row_id: int | None = None,
        status: str = "created",
        instance: str | None = None,
    ) -> Task:
        """A task for work that is done elsewhere; ``instance`` names the machine."""
        with self._db.write() as connection:
            uuid = insert_told(
                connection,
                principal,
                type=type,
                name=name,
                project_row_id=project_row_id,
                status=status,
                instance=instance,
            )
        return self.get(principal, uuid)

    def rename(self, principal: Principal, ref: str, name: str) -> Task:
        """Give a task another name, a job's, too."""
        wanted = clean_text(name, "The name", max_length=MAX_NAME)
        if not wanted:
            raise InvalidInput("The name is empty.", code="invalid_name", fix="Give the task a name.")
        task = self.get(principal, ref)
        with self._db.write() as connection:
            _update(connection, task, name=wanted)
        return self.get(principal, ref)

    def set_status(self, principal: Principal, ref: str, status: str) -> Task:
        """Tell where work that is done elsewhere stands.

        Words such as complete, failed and cancelled end it. ``Conflict`` (``task_of_job``) for a job's.
        """
        wanted = clean_text(status, "The status", max_length=MAX_STATUS)
        if not wanted:
            raise InvalidInput(
                "The status is empty.", code="invalid_status", fix="Say running, complete or failed."
            )
        finished = clock.now() if wanted.lower() in OVER else None
        with self._db.write() as connection:
            task = self._told(connection, principal, ref)
            _update(connection, task, status=wanted, finished_at=finished)
        return self.get(principal, ref)

    def set_stages(self, principal: Principal, ref: str, stages: Sequence[tuple[str, str]]) -> Task:
        """Name the stages of work that is done elsewhere, each with a description, in order.

        What was told of a stage that is named again stays.
        """
        if len(stages) > MAX_STAGES:
            raise InvalidInput(
                f"A task has at most {MAX_STAGES} stages.", code="too_many_stages", fix="Name fewer stages."
            )
        named = {_stage_name(name): _text(description) for name, description in stages}
        if len(named) < len(stages):
            raise InvalidInput(
                "Two stages have one name.", code="duplicate_stage", fix="Give each stage its own name."
            )
        with self._db.write() as connection:
            task = self._told(connection, principal, ref)
            told = {stage.name: stage for stage in task.stages}
            wanted = [
                Stage(
                    name,
                    description or None,
                    *((told[name].status, told[name].message, told[name].percentage) if name in told else ()),
                )
                for name, description in named.items()
            ]
            _update(connection, task, stages=[stage.as_json() for stage in wanted])
        return self.get(principal, ref)

    def update_stage(
        self, principal: Principal, ref: str, stage: str, *, status: str, message: str, percentage: int
    ) -> Task:
        """Tell how far a stage is; ``NotFound`` (``stage_not_found``) unless ``set_stages`` named it."""
        if not 0 <= percentage <= 100:
            raise InvalidInput("percentage is 0 to 100.", code="invalid_percentage", fix="Send 0 to 100.")
        word = clean_text(status, "The status", max_length=MAX_STATUS)
        said = _text(message)
        with self._db.write() as connection:
            task = self._told(connection, principal, ref)
            if all(each.name != stage for each in task.stages):
                known = ", ".join(repr(each.name) for each in task.stages[:20]) or "none"
                raise NotFound(
                    f"The task has no stage {printable(stage[:80])!r}.",
                    code="stage_not_found",
                    fix=f"Name it with set_stages first; its stages are: {known}.",
                )
            new = [
                Stage(each.name, each.description, word or None, said or None, percentage)
                if each.name == stage
                else each
                for each in task.stages
            ]
            _update(connection, task, stages=[each.as_json() for each in new])
        return self.get(principal, ref)

    def stop(self, principal: Principal, ref: str) -> Task:
        """Stop a task: a job as ``Jobs.cancel`` does; work that is done elsewhere is marked as cancelled.

        ``Conflict`` (``task_ended``) when it is over.
        """
        task = self.get(principal, ref)
        if task.job_id is not None and not task.ended:
            self._studio.jobs.cancel(principal, task.job_id)
            return self.get(principal, ref)
        with self._db.write() as connection:
            task = self._locked(connection, principal, ref)
            if task.ended or task.is_job:
                raise Conflict(
                    f"The task is {task.status} already.",
                    code="task_ended",
                    fix="Nothing is left to stop; get_task shows what became of it.",
                )
            _update(connection, task, status="cancelled", finished_at=clock.now())
        return self.get(principal, ref)

    # --- Within -----------------------------------------------------------------------------------------

    def _one(self, principal: Principal, which: sa.ColumnElement[bool], called: str) -> Task:
        with self._db.read() as connection:
            return _read(connection, principal, which, called)

    def _told(self, connection: sa.Connection, principal: Principal, ref: str) -> Task:
        """The task, locked; ``Conflict`` unless it is told from outside how it is doing."""
        task = self._locked(connection, principal, ref)
        if task.is_job:
            raise Conflict(
                "This task is a job of this server, which tells its status and stages itself.",
                code="task_of_job",
                fix="Watch it with get_task; cancel_job stops it.",
            )
        return task

    @staticmethod
    def _locked(connection: sa.Connection, principal: Principal, ref: str) -> Task:
        which = named_by(tasks, PREFIX, ref)
        mine = tasks.c.organization_id == principal.organization_id
        connection.execute(sa.select(tasks.c.id).where(which, mine).with_for_update())
        return _read(connection, principal, which, ref)


def insert_told(
    connection: sa.Connection,
    principal: Principal,
    *,
    type: str,
    name: str,
    project_row_id: int | None,
    status: str = "created",
    instance: str | None = None,
) -> str:
    """Add the row of a task that is done elsewhere, in the caller's transaction; returns its UUID."""
    now, uuid = clock.now(), clock.new_id()
    wanted = clean_text(name, "The name", max_length=MAX_NAME)
    word = clean_text(status, "The status", max_length=MAX_STATUS)
    if not wanted or not word:
        raise InvalidInput(
            "Name or status is empty.", code="invalid_name", fix="Give the task a name and a status."
        )
    connection.execute(
        sa.insert(tasks).values(
            uuid=uuid,
            organization_id=principal.organization_id,
            project_id=project_row_id,
            name=wanted,
            type=type[:40],
            status=word,
            manage_type=USER,
            instance_type=None if instance is None else clean_text(instance, "The instance", max_length=40),
            stages=[],
            created_by=principal.key_id,
            created_at=now,
            updated_at=now,
            finished_at=now if word.lower() in OVER else None,
        )
    )
    return uuid


def _listed() -> sa.Select[Any]:
    return sa.select(*columns()).select_from(with_job(tasks))


def _read(
    connection: sa.Connection, principal: Principal, which: sa.ColumnElement[bool], called: str
) -> Task:
    query = _listed().where(which, tasks.c.organization_id == principal.organization_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(
            f"No task has the id {printable(called[:80])!r}.",
            code="task_not_found",
            fix="Call list_tasks to see the ids.",
        )
    return task_of(row)


def _update(connection: sa.Connection, task: Task, **values: Any) -> None:
    connection.execute(
        sa.update(tasks).where(tasks.c.id == task.row_id).values(**values, updated_at=clock.now())
    )


def _with_synonyms(statuses: Sequence[str]) -> list[str]:
    wanted = {status.lower() for status in statuses}
    return sorted(wanted.union(*(same for same in SAME_STATUS if same & wanted)))


def _stage_name(name: str) -> str:
    wanted = clean_text(name, "The stage's name", max_length=120)
    if not wanted:
        raise InvalidInput("A stage's name is empty.", code="invalid_stage", fix="Give each stage a name.")
    return wanted


def _text(text: str) -> str:
    return printable(text.replace("\0", "")[:MAX_TEXT])
