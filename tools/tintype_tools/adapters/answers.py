"""A model's call of a tool, answered: what every provider's adapter shares."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tintype_studio.errors import InvalidInput, TintypeError, Unavailable
from tintype_tools.adapters.strict import Schema, restored
from tintype_tools.call import Outcome, Picture
from tintype_tools.toolkit import Toolkit


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the model: JSON text, and pictures beside it."""

    text: str
    pictures: tuple[Picture, ...] = ()
    is_error: bool = False


def data_of(picture: Picture) -> str:
    """A picture's bytes as base64."""
    return base64.b64encode(picture.data).decode()


def data_url(picture: Picture) -> str:
    """A picture as a data URL."""
    return f"data:{picture.mime_type};base64,{data_of(picture)}"


def part(block: Any, name: str) -> Any:
    """A field of an SDK's object, or of the same thing as a dict."""
    return block.get(name) if isinstance(block, Mapping) else getattr(block, name, None)


class Answers:
    """Runs the calls of a model through a toolkit.

    A refusal is an answer: the model reads its code, message and fix, and goes on. The id that Anthropic or
    OpenAI gave to a call is its idempotency key, so a conversation that is played again does nothing twice.
    """

    def __init__(self, toolkit: Toolkit, strict: Mapping[str, Schema] | None = None) -> None:
        """``strict``: the schemas, as they were before, of the tools that the model sees in strict form."""
        self._toolkit = toolkit
        self._strict = strict or {}

    def answer(self, tool: str, arguments: Any, call_id: str | None = None) -> Answer:
        """Run a call, given as an object or as JSON text."""
        try:
            found = self.arguments(tool, arguments)
            return _answer(self._toolkit.call(tool, found, idempotency_key=_key(call_id)))
        except TintypeError as error:
            return _refusal(error)

    async def aanswer(self, tool: str, arguments: Any, call_id: str | None = None) -> Answer:
        """Run a call without blocking the event loop; cancelling the task cancels the call."""
        try:
            found = self.arguments(tool, arguments)
            return _answer(await self._toolkit.acall(tool, found, idempotency_key=_key(call_id)))
        except TintypeError as error:
            return _refusal(error)

    def arguments(self, tool: str, arguments: Any) -> dict[str, Any]:
        """What the model wrote, as the tool's own arguments.

        Raises ``InvalidInput`` when it is no JSON object.
        """
        if isinstance(arguments, str | bytes):
            try:
                arguments = orjson.loads(arguments) if arguments.strip() else {}
            except ValueError:
                arguments = None
        if not isinstance(arguments, dict):
            raise InvalidInput(
                f"The arguments of {tool[:80]} are not a JSON object.",
                code="invalid_json",
                fix="Call it again with its arguments as one JSON object.",
            )
        schema = self._strict.get(tool)
        return arguments if schema is None else restored(arguments, schema)


_UNIQUE = re.compile(r"(toolu|call)_[A-Za-z0-9_-]{16,200}")


def _key(call_id: str | None) -> str | None:
    """Ids that are unique for all time. Servers that speak the same API often count from nought instead."""
    return call_id if call_id and _UNIQUE.fullmatch(call_id) else None


def _answer(outcome: Outcome) -> Answer:
    return Answer(orjson.dumps(outcome.value).decode(), outcome.pictures)


def _refusal(error: TintypeError) -> Answer:
    return Answer(orjson.dumps({"error": error.as_dict()}).decode(), is_error=True)


def missing(package: str) -> Unavailable:
    """The error for an SDK that is not there."""
    return Unavailable(
        f"The package {package} is not installed, or is too old.",
        code="package_missing",
        fix=f"Install it with: pip install -U {package}",
        retryable=False,
    )
