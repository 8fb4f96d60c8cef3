"""``tintype audit``: who called what, and how it ended."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from tintype_server.cli.interrupts import until_interrupted
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.errors import Unavailable

if TYPE_CHECKING:
    from rich.console import Console

    from tintype_studio.history.audit_query import CallEntry, CallFilter
    from tintype_studio.identity.keys import Principal
    from tintype_studio.studio import Studio

POLL_SECONDS = 1.0
STOP_SECONDS = 0.1
"""Within which ``--follow`` ends after Ctrl-C, unless it is reading just then."""
PAGE = 1000
LATE_ROWS = 200
"""How far back ``--follow`` looks again: on PostgreSQL a row can become visible after a later one."""
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
COLUMNS = (
    ("time (UTC)", 19),
    ("key", 12),
    ("agent", 22),
    ("tool", 28),
    ("outcome", 24),
    ("credits", 7),
    ("duration", 9),
)
"""Titles and widths in characters: fixed, so that what ``--follow`` adds stands below what was there."""
NUMBERS = {"credits", "duration"}
WIDTH_OF_A_FILE = 160
"""Characters of a line when nobody's terminal gives a width."""


class PointInTime(click.ParamType[datetime]):
    """A time: an age such as ``90s``, ``30m``, ``2h``, ``7d``, ``4w``, or ISO 8601 (UTC without a zone)."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """An aware time."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            if age := re.fullmatch(r"([0-9]{1,6})([smhdw])", text):
                return clock.now() - timedelta(**{UNITS[age[2]]: int(age[1])})
            found = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither an age (90s, 30m, 2h, 7d) nor an ISO time.", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


@click.command("audit")
@click.option("--tool", help="Calls of this tool.")
@click.option("--outcome", help="ok, refused (whatever is not ok), or an error's code.")
@click.option("--key", help="Calls of this API key: its id or its 12-character prefix.")
@click.option("--agent", help="Calls of agents whose name holds this text.")
@click.option("--session", help="Calls of this session.")
@click.option("--since", type=PointInTime(), help="Calls since then: 30m, 2h, 7d, or an ISO time (UTC).")
@click.option("--until", type=PointInTime(), help="Calls before then.")
@click.option("--call", "call_id", help="The call with this id.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, PAGE), help="Newest so many.")
@click.option("--before", type=int, help="Only rows before this one: the `row` of an earlier --json.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per line, with the redacted arguments."
)
@click.option("--follow", "-f", is_flag=True, help="Oldest first, then go on as calls come, until Ctrl-C.")
@click.pass_obj
def command(
    settings: Settings, /, limit: int, before: int | None, as_json: bool, follow: bool, **filters: Any
) -> None:
    """Show the audit trail, newest first: every call, refusals too.

    A key with the role admin or owner sees its organization's calls, another key its own.
    """
    if follow and (before is not None or filters["until"] is not None):
        raise click.UsageError("--follow goes on into the future; it takes neither --before nor --until.")
    from tintype_studio.history.audit_query import CallFilter, sees_all

    which = CallFilter(**filters)
    with _reading(settings) as (studio, principal):
        if not sees_all(principal):
            click.echo("Only this key's own calls: the organization's need the role admin.", err=True)
        show = _json_lines if as_json else _Table()
        entries = studio.audit.list(principal, which, limit=limit, before=before)
        if not follow:
            show(entries)
            return
        with until_interrupted() as stopped:
            show(entries[::-1])
            for fresh in _follow(settings, studio, which, entries, stopped):
                show(fresh)


@contextmanager
def _reading(settings: Settings) -> Iterator[tuple[Studio, Principal]]:
    """Open the workspace. Off the record: a trail that grows when it is looked at is hard to read."""
    from tintype_server.opening import open_studio

    studio = open_studio(settings)
    try:
        yield studio, _principal(settings, studio)
    finally:
        studio.close()


def _principal(settings: Settings, studio: Studio) -> Principal:
    from tintype_server.cli.acting import resolved_key

    return studio.keys.authenticate(resolved_key(settings))


def _follow(
    settings: Settings,
    studio: Studio,
    which: CallFilter,
    shown: list[CallEntry],
    stopped: Callable[[], bool],
) -> Iterator[list[CallEntry]]:
    """New rows, oldest first, as they come, until it is stopped; the key is checked each time."""
    newest = max((entry.row for entry in shown), default=0)
    seen = {entry.row for entry in shown}
    floor = min(seen, default=0) - 1
    while not _pauses(stopped):
        after = max(floor, newest - LATE_ROWS)
        try:
            found = _all_after(studio, _principal(settings, studio), which, after)
        except Unavailable as error:
            if not error.retryable:
                raise
            continue
        fresh = [entry for entry in reversed(found) if entry.row not in seen]
        newest = max((newest, *(entry.row for entry in fresh)))
        seen = {entry.row for entry in found}
        if fresh:
            yield fresh


def _pauses(stopped: Callable[[], bool]) -> bool:
    """Let ``POLL_SECONDS`` pass, or end when it is stopped; whether it is."""
    until = time.monotonic() + POLL_SECONDS
    while not stopped() and (left := until - time.monotonic()) > 0:
        # A signal that raises nothing ends no sleep.
        time.sleep(min(left, STOP_SECONDS))
    return stopped()


def _all_after(studio: Studio, principal: Principal, which: CallFilter, after: int) -> list[CallEntry]:
    found: list[CallEntry] = []
    before: int | None = None
    while True:
        entries = studio.audit.list(principal, which, limit=PAGE, before=before, after=after)
        found += entries
        if len(entries) < PAGE:
            return found
        before = entries[-1].row


def _json_lines(entries: list[CallEntry]) -> None:
    """One object per line, in ASCII: a terminal that shows it obeys nothing in it."""
    for entry in entries:
        line = asdict(entry) | {
            "created_at": entry.created_at.isoformat(timespec="milliseconds"),
            "arguments": json.loads(entry.arguments),
        }
        click.echo(json.dumps(line))
    sys.stdout.flush()


class _Table:
    """A table for people, printed in parts."""

    def __init__(self) -> None:
        self._has_head = False
        self._console: Console | None = None

    def __call__(self, entries: list[CallEntry]) -> None:
        from rich.console import Console
        from rich.table import Column, Table
        from rich.text import Text

        if self._console is None:
            self._console = Console(
                emoji=False, highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE
            )
        table = Table(
            *(
                Column(title, width=width, no_wrap=True, justify="right" if title in NUMBERS else "left")
                for title, width in COLUMNS
            ),
            box=None,
            header_style="bold",
            show_header=not self._has_head,
        )
        self._has_head = True
        for entry in entries:
            table.add_row(*(Text(visible(cell)) for cell in _cells(entry)))
        self._console.print(table)


def _cells(entry: CallEntry) -> tuple[str, ...]:
    marks = [mark for mark, is_so in (("replayed", entry.replayed), ("dry run", entry.dry_run)) if is_so]
    return (
        f"{entry.created_at:%Y-%m-%d %H:%M:%S}",
        entry.key_prefix or "",
        entry.agent or "",
        entry.tool,
        f"{entry.outcome} ({', '.join(marks)})" if marks else entry.outcome,
        str(entry.credits or ""),
        f"{entry.duration_us / 1000:.1f} ms",
    )


def visible(text: str) -> str:
    """Text of strangers for a terminal: whatever it would obey or hide is shown as an escape instead."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
