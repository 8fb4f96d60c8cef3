"""Brings a large dataset to the state of a version.

What the dataset is now is looked at before the one transaction that restores it, in which others wait; a turn
that ended before its commit has changed nothing and is begun anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.history.changes import Kind as Change
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.kind import JobPlan, Kind, Queue
from tintype_studio.versions.restoring import Restored

if TYPE_CHECKING:
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio

RESTORED = "restore"
"""Key of the one item."""


class RestoreVersion(Kind):
    """``args``: ``dataset``, ``version``: names. The result is a ``Restored``, without what is zero."""

    name = "restore_version"
    queue = Queue.IO
    role = Role.ADMIN

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """Free; one item."""
        dataset = studio.datasets.get(principal, args["dataset"])
        version = studio.versions.get(principal, args["dataset"], args["version"])
        return JobPlan(
            f"Restore {dataset.name} to {version.name}"[:200], total=1, dataset_row_id=dataset.row_id
        )

    def run(self, run: Run) -> dict[str, Any]:
        """Look, then restore."""
        studio, args = run.studio, run.args
        if RESTORED not in run.finished:
            run.stage("look", total=1)
            version = studio.versions.get(run.principal, args["dataset"], args["version"])
            with studio.versions.restorer.look(version.dataset_row_id, check=run.check) as look:
                run.stage("restore")

                def write(_: sa.Connection) -> None:
                    studio.versions.restore(
                        run.principal, args["dataset"], args["version"], look=look, check=run.check
                    )

                run.commit(RESTORED, write=write)
        return _what_was_done(run)


def _what_was_done(run: Run) -> dict[str, Any]:
    """As the history has it: the turn that did it may not have lived to tell."""
    changes = run.studio.changes.of_call(run.principal, run.principal.call_id or "")
    known = set(Restored.__slots__)
    for change in changes:
        if change.kind is Change.VERSION_RESTORED:
            return {name: value for name, value in change.detail.items() if name in known}
    return {}


KIND = RestoreVersion()
