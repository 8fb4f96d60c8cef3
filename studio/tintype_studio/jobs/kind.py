"""What a kind of job is: one small file in ``jobs/kinds`` that plans the work and does it.

``docs/jobs.md`` is the guide for whoever writes one.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa

from tintype_studio.errors import Forbidden, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import JobStatus

if TYPE_CHECKING:
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio

Write = Callable[[sa.Connection], None]
"""What an item changes, inside the transaction that also records and charges it. Services that are called in
it take part in that transaction by themselves. It may be called again when the transaction is taken back.
"""


class Queue(StrEnum):
    """What a job needs most; each queue has its own limit of jobs at a time in a worker."""

    CPU = "cpu"
    GPU = "gpu"
    IO = "io"
    """Waits for others, such as a model behind an API."""


AT_A_TIME = {Queue.CPU: 2, Queue.GPU: 1, Queue.IO: 4}
"""Jobs of each queue that one worker runs at a time."""


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What a job would do, found without doing it."""

    title: str
    """For lists: what, and on what; up to 200 characters."""
    total: int | None = None
    """Items, if they can be counted."""
    credits: int = 0
    """The most that it may cost; held when it starts."""
    dataset_row_id: int | None = None


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended."""

    job_row_id: int
    job_id: str
    organization_id: int
    call_id: str | None
    status: JobStatus
    """Completed, failed or cancelled."""
    error: dict[str, str | None] | None
    """``code``, ``message`` and ``fix`` of a failed one."""
    credits_held: int
    credits_charged: int
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an item."""

    credits: int = 0
    """What it costs, charged with ``write``."""
    write: Write | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    """Kept with the item, as JSON; a few hundred bytes."""
    skipped: bool = False
    """There was nothing to do."""


class Kind(ABC):
    """A kind of job. One instance serves all jobs of the kind, in several threads."""

    name: ClassVar[str]
    queue: ClassVar[Queue] = Queue.CPU
    role: ClassVar[Role] = Role.MEMBER
    """Whoever starts such a job must have it, and keep it while the job runs."""
    item_seconds: ClassVar[float] = 120.0
    """How long a call in a child process may take, unless the call says otherwise."""

    def require(self, role: Role) -> None:
        """Raise ``Forbidden`` when the role is too low."""
        if not role.covers(self.role):
            raise Forbidden(
                f"Jobs of the kind {self.name} need the role {self.role}; this key has {role}.",
                code="role_required",
                fix=f"Use a key with the role {self.role} or above.",
                details={"required_role": self.role.value, "role": role.value},
            )

    @abstractmethod
    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """What a job with these arguments would do; refuses what ``run`` would refuse."""

    @abstractmethod
    def run(self, run: Run) -> dict[str, Any]:
        """Do the work, or the rest of it after an interruption; returns the job's result as JSON."""

    def begun(  # noqa: B027  (most kinds have no rows of their own)
        self,
        studio: Studio,
        connection: sa.Connection,
        principal: Principal,
        job_row_id: int,
        args: dict[str, Any],
    ) -> None:
        """Called in the transaction that writes a job down, for rows of the kind's own that belong to it."""

    def ended(self, studio: Studio, connection: sa.Connection, end: End) -> None:  # noqa: B027
        """Called once, in the transaction that ends a job in whatever way, after its last charge.

        Writes to the database and nothing else, and refuses nothing: a job must be able to end.
        """

    def clear(self, studio: Studio, job_id: str) -> None:  # noqa: B027
        """Remove what only a job that goes on needs. Called after its end by the worker that ended it, which
        may die before; so a kind with such things also looks for them at ``Studio.settle``.
        """


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Make a kind known that has no file in ``jobs/kinds``."""
    _kinds[kind.name] = kind


def find_kind(name: str) -> Kind:
    """The kind of that name: ``KIND`` of ``jobs/kinds/<name>.py``."""
    if name not in _kinds:
        module = f"tintype_studio.jobs.kinds.{name}"
        try:
            register(importlib.import_module(module).KIND)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise Unavailable(
                f"This version does not know jobs of the kind {name!r}.",
                code="unknown_job_kind",
                fix="Start the job again with this version.",
                retryable=False,
            ) from None
    return _kinds[name]
