"""Whether the arguments are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from tintype_server.dispatch.running import Next, RunningCall
from tintype_studio.errors import InvalidInput
from tintype_studio.names import json_problem, printable
from tintype_tools.call import Outcome

MAX_PROBLEMS = 20


def validate(call: RunningCall, proceed: Next) -> Outcome:
    """Refuse with every problem as ``{loc, msg, type}``; nothing was looked up or changed."""
    if not isinstance(call.request.dry_run, bool):  # a loop in this process may pass anything
        raise InvalidInput("dry_run is true or false.", code="invalid_arguments")
    arguments = call.request.arguments
    if not isinstance(arguments, dict):
        raise InvalidInput("Arguments must be a JSON object.", code="invalid_arguments")
    if problem := json_problem(arguments):
        raise InvalidInput(
            f"An argument {problem}.",
            code="invalid_arguments",
            fix="Send plain JSON of moderate depth, with valid Unicode text.",
        )
    try:
        call.args = call.spec.args.model_validate(arguments)
    except ValidationError as error:
        raise _as_invalid_input(call.spec.name, error, list(call.spec.args.model_fields)) from None
    return proceed(call)


def _as_invalid_input(tool: str, error: ValidationError, known: list[str]) -> InvalidInput:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return invalid_arguments(found, f"{tool} takes: {', '.join(known) or 'no arguments'}.")


def invalid_arguments(found: Sequence[Mapping[str, Any]], takes: str) -> InvalidInput:
    """What a model found, as one error; ``takes`` is the advice after an argument that is not known."""
    problems = [
        {
            "loc": [part if isinstance(part, int) else printable(part[:80]) for part in p["loc"]],
            "msg": printable(p["msg"][:300]),
            "type": p["type"],
        }
        for p in found[:MAX_PROBLEMS]
    ]
    lines = "; ".join(f"{_path(p['loc'])}: {p['msg']}" for p in problems[:5])
    fix = "Correct the named arguments and call again."
    if any(p["type"] == "extra_forbidden" and len(p["loc"]) == 1 for p in problems):
        fix = takes
    return InvalidInput(
        f"Invalid arguments: {lines}.",
        code="invalid_arguments",
        fix=fix,
        details={"errors": problems},
    )


def _path(loc: Sequence[int | str]) -> str:
    return ".".join(map(str, loc)) or "(arguments)"
