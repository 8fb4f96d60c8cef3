"""What a key may do at most, and the rule that no key gives away more than it has.

A limit that is None is no limit. ``Limits`` of two keys are compared limit by limit: whoever makes or widens
a key must be at least as wide in every one of them. Otherwise a limited admin key could make itself a free
one. Credits are a budget and not a width: what a capped key gives, it no longer has (``hand_over``), or it
could give the same credits to any number of keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Forbidden, InvalidInput
from tintype_studio.identity.roles import Role, parse_role
from tintype_studio.identity.tiers import Tier
from tintype_studio.ledger import allowance
from tintype_studio.ledger.statements import LEFT_IN_TOTAL, LEFT_TODAY, day_of
from tintype_studio.names import clean_name, printable
from tintype_studio.storage.tables import api_keys

CONFIRMATIONS = ("token", "human")
"""How calls that need confirmation can get it, the stricter one last."""
CREDITS = ("credit_cap", "daily_credit_cap")
LEAST_RESPONSE_TOKENS = 300
MOST = 1_000_000_000
"""Largest number that any limit takes; more is a mistake."""
MAX_LIFETIME = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class Limits:
    """A key's role and the limits that it works within, as they stand in its row."""

    role: Role
    toolsets: frozenset[str] | None = None
    """Toolsets that are open to the key."""
    credit_cap: int | None = None
    """Whole credits that the key may spend in total."""
    daily_credit_cap: int | None = None
    """Whole credits that the key may spend in a day, midnight to midnight UTC."""
    rate_limit: int | None = None
    """Calls in an hour; the tier's limit holds besides."""
    max_concurrent: int | None = None
    """Calls at a time; the tier's limit holds besides."""
    max_response_tokens: int | None = None
    confirm_by: str | None = None
    """``token`` or ``human``; None for the server's setting."""
    expires_at: datetime | None = None

    @classmethod
    def of(cls, row: sa.RowMapping) -> Limits:
        """The limits in a row of ``api_keys``."""
        values = {field.name: row[field.name] for field in fields(cls)}
        toolsets = row["toolsets"]
        return cls(
            **{
                **values,
                "role": Role(row["role"]),
                "toolsets": None if toolsets is None else frozenset(toolsets),
            }
        )

    def as_columns(self) -> dict[str, Any]:
        """The values of a row of ``api_keys``."""
        return {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "role": self.role.value,
            "toolsets": None if self.toolsets is None else sorted(self.toolsets),
        }

    def beyond(self, bound: Limits) -> list[str]:
        """The names of the fields in which this goes further than ``bound``."""
        wider = {
            "role": not bound.role.covers(self.role),
            "toolsets": bound.toolsets is not None
            and (self.toolsets is None or not self.toolsets <= bound.toolsets),
            "confirm_by": _strictness(self.confirm_by) < _strictness(bound.confirm_by),
        }
        for field in fields(self):
            if field.name not in wider:
                own, most = getattr(self, field.name), getattr(bound, field.name)
                wider[field.name] = most is not None and (own is None or own > most)
        return [name for name, is_wider in wider.items() if is_wider]


def _strictness(confirm_by: str | None) -> int:
    """The server's setting may be either, so a key's own ``token`` may be less than that."""
    return {"token": 0, None: 1, "human": 2}[confirm_by]


def checked(changes: dict[str, Any], tier: Tier) -> dict[str, Any]:
    """Values for fields of ``Limits`` as they may stand in a row; None stays None.

    Raises ``InvalidInput``: ``invalid_limit``, ``invalid_role``, ``invalid_toolsets`` or
    ``invalid_expiry``.
    """
    bounds = {
        "credit_cap": ("The credit cap", 0, MOST),
        "daily_credit_cap": ("The daily credit cap", 0, MOST),
        "rate_limit": ("The rate limit", 1, tier.calls_per_hour),
        "max_concurrent": ("The number of calls at a time", 1, tier.concurrent_calls),
        "max_response_tokens": ("The response budget", LEAST_RESPONSE_TOKENS, MOST),
    }
    good = dict(changes)
    for name, value in changes.items():
        if name == "role":
            good[name] = parse_role(value)
        elif value is None:
            continue
        elif name in bounds:
            good[name] = _whole_number(value, *bounds[name])
        elif name == "toolsets":
            good[name] = _toolsets(value)
        elif name == "confirm_by":
            good[name] = _confirmation(value)
        elif name == "expires_at":
            good[name] = _expiry(value)
    return good


def inherited(limits: Limits, maker: Limits) -> Limits:
    """The limits of a new key: what was not said is its maker's, but for credits, of which it gets none
    from a maker that has a cap.
    """
    unsaid: dict[str, Any] = {
        field.name: 0 if field.name in CREDITS else getattr(maker, field.name)
        for field in fields(limits)
        if getattr(limits, field.name) is None and getattr(maker, field.name) is not None
    }
    return replace(limits, **unsaid)


def common(role: Role, keys: Sequence[Limits]) -> Limits:
    """The limits of one more key of somebody who has these: in each the narrowest one of them.

    Credits are not shared out so: the key gets none where one of them has a cap. It ends with the last one.
    """
    toolsets = [each.toolsets for each in keys if each.toolsets is not None]
    ends = [each.expires_at for each in keys]
    last = None if None in ends else max((end for end in ends if end is not None), default=None)
    least: dict[str, Any] = {
        name: min((most for each in keys if (most := getattr(each, name)) is not None), default=None)
        for name in ("rate_limit", "max_concurrent", "max_response_tokens")
    }
    return Limits(
        role,
        toolsets=frozenset.intersection(*toolsets) if toolsets else None,
        **{name: 0 if any(getattr(each, name) is not None for each in keys) else None for name in CREDITS},
        **least,
        confirm_by=max((each.confirm_by for each in keys), key=_strictness, default=None),
        expires_at=last,
    )


def require_within(limits: Limits, maker: Limits) -> None:
    """Raise ``Forbidden`` (``limit_above_own``) when a key would go further than the one that makes it.

    Of credits only that a capped key makes no uncapped one: amounts are for ``hand_over``. An owner's key
    without a rule of its own for confirmations sets any.
    """
    beyond = limits.beyond(maker)
    excused = {name for name in CREDITS if getattr(limits, name) is not None}
    if maker.role is Role.OWNER and maker.confirm_by is None:
        excused.add("confirm_by")
    names = [name for name in beyond if name not in excused]
    if names:
        raise Forbidden(
            f"This key would give more than it has itself: {', '.join(names)}.",
            code="limit_above_own",
            fix="Stay within this key's own limits, or use a key without them.",
            details={"limits": names},
        )


def spendable(cap: int | None, used: int, *, works: bool) -> int:
    """Credits that a key with this cap can still spend, 0 for one that does not work or has no cap."""
    return max(0, cap - used) if works and cap is not None else 0


def hand_over(
    connection: sa.Connection, organization_id: int, maker_id: int, *, total: int, daily: int
) -> None:
    """Take the credits that a key gives to another off its own caps, where it has them.

    ``Forbidden`` (``limit_above_own``) when it has not so many left.
    """
    # As a hold does, so that none of the same credits comes between.
    allowance.read(connection, organization_id, lock=True)
    taken = connection.execute(
        sa.update(api_keys)
        .where(
            api_keys.c.id == maker_id,
            sa.or_(api_keys.c.credit_cap.is_(None), sa.literal(total) == 0, total <= LEFT_IN_TOTAL),
            sa.or_(api_keys.c.daily_credit_cap.is_(None), sa.literal(daily) == 0, daily <= LEFT_TODAY),
        )
        .values(
            credit_cap=api_keys.c.credit_cap - total,
            daily_credit_cap=api_keys.c.daily_credit_cap - daily,
        ),
        day_of(clock.now()),
    ).rowcount
    if not taken:
        raise Forbidden(
            "This key has a credit cap, and what is left of it does not cover what it would give.",
            code="limit_above_own",
            fix="Give less, or use a key without a credit cap.",
            details={"limits": list(CREDITS)},
        )


def _whole_number(value: object, what: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidInput(
            f"{what} must be a whole number from {least} to {most}.",
            code="invalid_limit",
            fix="Correct the number, or leave it out for no limit of the key's own.",
            details={"least": least, "most": most},
        )
    return value


def _toolsets(value: object) -> frozenset[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidInput("Toolsets are a list of names.", code="invalid_toolsets")
    names = list(value)
    if not all(isinstance(name, str) for name in names) or len(names) > 100:
        raise InvalidInput("Toolsets are a list of at most 100 names.", code="invalid_toolsets")
    return frozenset(clean_name(name, "Toolset", max_length=80) for name in names)


def _confirmation(value: object) -> str:
    if value not in CONFIRMATIONS:
        raise InvalidInput(
            f"Confirmation is by {' or '.join(CONFIRMATIONS)}, not {printable(str(value)[:40])!r}.",
            code="invalid_limit",
            fix="Use token or human, or leave it out for the server's setting.",
        )
    return str(value)


def _expiry(value: object) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise _bad_expiry("must be a time with its zone")
    now = clock.now()
    if value <= now:
        raise _bad_expiry("lies in the past")
    if value > now + MAX_LIFETIME:
        raise _bad_expiry("lies more than a hundred years ahead")
    return value.astimezone(UTC)


def _bad_expiry(problem: str) -> InvalidInput:
    return InvalidInput(
        f"The expiry {problem}.",
        code="invalid_expiry",
        fix="Give a time ahead such as 2030-01-31T00:00:00Z, or leave it out for a key that does not expire.",
    )
