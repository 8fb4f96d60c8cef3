"""How commands end: what they print of an answer, and with which exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tintype_studio.units import size_in_words

if TYPE_CHECKING:
    from tintype_tools.call import Outcome

MOST_FAILURES = 20
"""Failed items that are named on stderr; all are in the JSON."""
SIZES = frozenset({"file_size", "max_storage_bytes", "size", "size_bytes", "total_size"})
"""Fields that are bytes."""
BAD_ENDS = frozenset({"failed", "cancelled"})


def show(value: Mapping[str, Any]) -> None:
    """Print an answer for people: a line for each field, sizes in units, fields of a field after its name."""
    from tintype_server.cli.tables import print_fields

    flat = {name: each for name, each in _flat(value) if each is not None and each != []}
    if flat:
        print_fields(flat)


def finish(
    outcome: Outcome | None,
    value: dict[str, Any] | None = None,
    *,
    as_json: bool,
    failed: Sequence[Mapping[str, Any]] | None = None,
    job: Mapping[str, Any] | None = None,
) -> None:
    """Print what a command did, name the items that failed, and exit with 1 if there are such or if the job
    ended badly.

    ``value`` is the answer if it is not the outcome's. A dry run is told as it is.
    """
    from tintype_server.cli.tables import print_json

    if outcome is not None and outcome.dry_run:
        print_json(outcome.value)
        return
    told = value if value is not None or outcome is None else outcome.value
    if as_json:
        print_json(told)
    else:
        own_lines = {"warnings"} | ({"failures"} if failed else set())
        show({name: each for name, each in (told or {}).items() if name not in own_lines})
    if outcome is not None and outcome.replayed:
        click.echo("replayed: the stored answer of the first call with this idempotency key", err=True)
    _name_warnings((told or {}).get("warnings") or ())
    _name_failures(failed or ())
    error = (job or {}).get("error")
    if error:
        from tintype_server.cli.tool_commands import in_commands

        fix = in_commands(error["fix"])
        click.echo(f"error: {in_commands(error['message'])} ({error['code']})\nfix: {fix}", err=True)
    if failed or (job or {}).get("status") in BAD_ENDS:
        sys.exit(1)


def say_undo(outcome: Outcome) -> None:
    """Tell how a deletion is undone."""
    if not outcome.dry_run:
        click.echo(f"undo: tintype call undo_call --call-id {outcome.call_id}", err=True)


def _name_warnings(warnings: Sequence[Mapping[str, Any]]) -> None:
    from tintype_server.cli.audit import visible
    from tintype_server.cli.tool_commands import in_commands

    for each in warnings[:MOST_FAILURES]:
        text = f"warning: {each['message']} ({each['code']})\nfix: {in_commands(each['fix'])}"
        click.echo("\n".join(map(visible, text.split("\n"))), err=True)
    if len(warnings) > MOST_FAILURES:
        click.echo(f"warning: {len(warnings) - MOST_FAILURES} more", err=True)


def _name_failures(failed: Sequence[Mapping[str, Any]]) -> None:
    from tintype_server.cli.audit import visible

    for each in failed[:MOST_FAILURES]:
        click.echo(visible(f"failed: {each['path']}: {each['reason']} ({each['code']})"), err=True)
    if len(failed) > MOST_FAILURES:
        click.echo(f"failed: {len(failed) - MOST_FAILURES} more", err=True)


def _flat(value: Mapping[str, Any], front: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, each in value.items():
        if isinstance(each, Mapping):
            found += _flat(each, f"{front}{name} ")
        elif isinstance(each, list) and any(isinstance(item, Mapping) for item in each):
            found.append((f"{front}{name}", len(each)))
        elif isinstance(each, bool):
            found.append((f"{front}{name}", "yes" if each else "no"))
        elif name in SIZES and isinstance(each, int):
            found.append((f"{front}{name}", size_in_words(each)))
        else:
            found.append((f"{front}{name}", each))
    return found
