"""``Toolkit``: the tools for an agent loop in this process."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from tintype_tools.call import Dispatch, Outcome, Request
from tintype_tools.snapshot import as_anthropic_tool, as_openai_tool, as_registry_entry


def outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome as one JSON object; pictures travel as base64 under ``_pictures``."""
    if not outcome.pictures:
        return outcome.value
    pictures = [
        {
            "mime_type": p.mime_type,
            "width": p.width,
            "height": p.height,
            "data": base64.b64encode(p.data).decode(),
        }
        for p in outcome.pictures
    ]
    return {**outcome.value, "_pictures": pictures}


class Toolkit:
    """Dispatches calls and lists the tools in each provider's shape.

    Every call passes the same guards as on any other door; a refusal raises ``TintypeError``, whose
    ``as_dict()`` is fit for the model.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        new_request: Callable[..., Request],
        list_tools: Callable[[], list[dict[str, Any]]],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._dispatch = dispatch
        self._new_request = new_request
        self._list_tools = list_tools
        self._close = close

    def dispatch(
        self, name: str, args: dict[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Call a tool and return its result as a JSON object."""
        return outcome_as_json(self.call(name, args, idempotency_key=idempotency_key))

    def call(
        self, name: str, args: dict[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> Outcome:
        """Call a tool and return the whole outcome: value, pictures as bytes, credits, replay mark."""
        request = self._new_request(tool=name, arguments=args or {}, idempotency_key=idempotency_key)
        return self._dispatch(request)

    def as_json_schema(self) -> list[dict[str, Any]]:
        """The documented descriptors, as in ``tools.json``."""
        return [as_registry_entry(tool) for tool in self._list_tools()]

    def as_anthropic_tools(self) -> list[dict[str, Any]]:
        """Tool dicts for the Anthropic Messages API."""
        return [as_anthropic_tool(tool) for tool in self._list_tools()]

    def as_openai_tools(self) -> list[dict[str, Any]]:
        """Tool dicts for the OpenAI Responses API."""
        return [as_openai_tool(tool) for tool in self._list_tools()]

    def close(self) -> None:
        """Release the workspace."""
        self._close()

    def __enter__(self) -> Toolkit:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
