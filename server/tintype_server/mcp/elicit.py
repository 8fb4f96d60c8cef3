"""Asks the person at the client's side whether a call may go on, in both eras of the protocol.

Clients of 2026-07-28 get the question as the call's answer and send the call again with theirs; what they
carry between the two is sealed with a key that all processes of the workspace share. Older clients are
asked over the open connection. A client that cannot ask gets the refusal with its token instead.
"""

from __future__ import annotations

from typing import Any

import mcp.types as t
from mcp.server import ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError, NoBackChannelError

from tintype_server.mcp.identity import MODERN_VERSIONS, NAME
from tintype_studio.approvals.service import TOKEN_TTL
from tintype_studio.errors import ApprovalDenied, ConfirmationRequired

QUESTION = "confirm"
ANSWER = "yes"
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {ANSWER: {"type": "boolean", "title": "Yes, do it"}},
    "required": [ANSWER],
}

Context = ServerRequestContext[Any, Any]


class Declined(ApprovalDenied):
    """The person at the client's side said no."""

    def __init__(self, token: str) -> None:
        super().__init__("The user did not confirm; nothing was changed.")
        self.token = token


def boundary(key: bytes, principal_of: Any) -> RequestStateBoundary:
    """Middleware that seals and opens what clients carry: bound to the tool, its arguments and the caller."""
    security = RequestStateSecurity(keys=[key], ttl=TOKEN_TTL.total_seconds(), bind_principal=principal_of)
    return RequestStateBoundary(security, default_audience=NAME)


def can_ask(ctx: Context) -> bool:
    """Whether the client shows forms to a person. Before the mode had a name, forms were the only one."""
    capabilities = ctx.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


async def ask(ctx: Context, error: ConfirmationRequired) -> str | t.InputRequiredResult | None:
    """The token to go on with, the question to send as the answer, or None when nobody can be asked.

    Raises ``Declined`` when the person said no.
    """
    # Over the network, whoever holds the key may be the one who answers the form.
    if not can_ask(ctx) or (error.by_human and ctx.request is not None):
        return None
    question = t.ElicitRequestFormParams(message=error.message, requested_schema=FORM)
    if ctx.protocol_version in MODERN_VERSIONS:
        return t.InputRequiredResult(
            input_requests={QUESTION: t.ElicitRequest(params=question)}, request_state=error.token
        )
    try:
        reply = await ctx.session.elicit_form(question.message, FORM, related_request_id=ctx.request_id)
    except (NoBackChannelError, MCPError):
        return None
    _require_yes(reply, error.token)
    return error.token


def token_of(state: str, params: t.CallToolRequestParams) -> str:
    """The token of a call that comes back with the person's yes; ``state`` is what we gave it to carry.

    Raises ``Declined`` when the person said no, or nothing.
    """
    _require_yes((params.input_responses or {}).get(QUESTION), state)
    return state


def _require_yes(reply: Any, token: str) -> None:
    accepted = isinstance(reply, t.ElicitResult) and reply.action == "accept"
    if not accepted or (reply.content or {}).get(ANSWER) is not True:
        raise Declined(token)
