"""Base of the wire models.

They are documentation and the check of requests; answers are written as plain JSON, so that a long list is
not validated once more on its way out.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict

Offset = Annotated[int, Query(ge=0, le=10**12)]
"""How many to leave out of a list."""


class Wire(BaseModel):
    """A body of the wire, with the documented fields."""

    model_config = ConfigDict(hide_input_in_errors=True)


class WireBody(BaseModel):
    """What a request sends; unknown keys are an error, for they are mostly slips."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


def answers(model: type[BaseModel], status: int = 200) -> dict[int | str, dict[str, Any]]:
    """``responses=`` of a route whose answer has this shape."""
    return {status: {"model": model}}
