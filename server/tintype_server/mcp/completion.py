"""Suggests values for the blanks of prompts and resource addresses: names, ids, choices."""

from __future__ import annotations

from typing import Any, NamedTuple

import mcp.types as t

from tintype_server.mcp import prompts
from tintype_server.mcp.reads import Reader
from tintype_server.mcp.resources import ADDRESSES
from tintype_studio.errors import NotFound
from tintype_studio.names import printable

MAX_VALUES = 100
"""As the protocol has it."""
LOOKED_THROUGH = 500
"""Newest things whose names are compared."""


class _Names(NamedTuple):
    """Where the values of a blank come from."""

    tool: str
    field: str
    value: str


_SOURCES = {
    "dataset_name": _Names("list_datasets", "datasets", "name"),
    "model_id": _Names("list_models", "models", "id"),
    "job_id": _Names("list_jobs", "jobs", "job_id"),
}
_NOTHING = t.Completion(values=[], total=0, has_more=False)


async def complete(
    reader: Reader, ref: t.PromptReference | t.ResourceTemplateReference, argument: str, begun: str
) -> t.Completion:
    """Values that begin as the caller's did, then those that contain it; upper and lower case are alike.

    Raises ``NotFound`` for a prompt or a template that there is none of, or a blank that it does not have.
    """
    if isinstance(ref, t.PromptReference):
        recipe = prompts.find(reader, ref.name)
        blank = next((a for a in recipe.arguments if a.name == argument), None)
        if blank is None:
            raise _no_blank(argument)
        if blank.choices_of is not None:
            return _matching(_choices(reader, *blank.choices_of), begun)
    elif not any(ref.uri == a.template and argument in a.variables for a in ADDRESSES):
        raise _no_blank(argument)
    source = _SOURCES.get(argument)
    if source is None or not reader.may_call(source.tool):
        return _NOTHING
    outcome = await reader.call(source.tool, limit=LOOKED_THROUGH)
    found: list[dict[str, Any]] = outcome.value.get(source.field, [])
    return _matching([each[source.value] for each in found], begun, more=len(found) == LOOKED_THROUGH)


def _choices(reader: Reader, tool: str, argument: str) -> list[str]:
    schema = reader.runtime.registry.get(tool).args.model_json_schema()
    field = schema["properties"][argument]
    if "$ref" in field:
        field = schema["$defs"][field["$ref"].rsplit("/", 1)[-1]]
    return list(field["enum"])


def _matching(values: list[str], begun: str, *, more: bool = False) -> t.Completion:
    sought = begun.strip().lower()
    begin = [value for value in values if value.lower().startswith(sought)]
    contain = [value for value in values if sought in value.lower() and value not in begin]
    fitting = begin + contain
    return t.Completion(
        values=fitting[:MAX_VALUES],
        total=None if more else len(fitting),
        has_more=more or len(fitting) > MAX_VALUES,
    )


def _no_blank(argument: str) -> NotFound:
    return NotFound(
        f"Nothing is known to complete {printable(argument[:80])!r} there.",
        code="completion_not_found",
        fix="List prompts and resource templates for their arguments.",
    )
