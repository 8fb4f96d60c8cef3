"""Amounts of money: whole credits, nothing else."""

from __future__ import annotations

from tintype_studio.errors import InvalidInput

MOST = 10**12
"""Credits that any amount may have; more is a mistake."""


def whole_credits(amount: object, what: str, *, least: int = 0, most: int = MOST) -> int:
    """The amount itself; ``InvalidInput`` unless it is a whole number of credits within the bounds."""
    if isinstance(amount, bool) or not isinstance(amount, int) or not least <= amount <= most:
        raise InvalidInput(
            f"{what} is a whole number of credits from {least} to {most}.",
            code="invalid_amount",
            fix="Credits are whole and never negative.",
        )
    return amount
