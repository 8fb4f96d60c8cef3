"""A job within a job: lets a kind do its work as a part of another kind's run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from tintype_studio.jobs.kind import Kind

if TYPE_CHECKING:
    from tintype_studio.jobs.run import Run, Work


def part_of(run: Run, kind: Kind, args: dict[str, Any], *, total: int) -> Run:
    """The run as ``kind`` sees it: with these arguments, and ``total`` items to do.

    All else is the run itself: its items, its money, its end. So the keys of the kind's items must be none
    of those that the rest of the job uses, and it comes before whatever else makes items.
    """
    return cast("Run", _Part(run, kind, args, total))


class _Part:
    def __init__(self, run: Run, kind: Kind, args: dict[str, Any], total: int) -> None:
        self._run = run
        self.args = args
        self.job = replace(run.job, kind=kind.name, args=args, total=total)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def each(self, keys: Iterable[str], work: Work, *, concurrency: int | None = None) -> None:
        # The queue of the whole job is not the kind's own: without this, one of a GPU job would go
        # through its items one by one.
        self._run.each(keys, work, concurrency=concurrency or self._run.pool.size + 1)
