"""Who may administer what: one table, and one refusal in the same words everywhere.

Tools carry their role in their own metadata; this is the table for everything that is no tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from tintype_studio.errors import Forbidden
from tintype_studio.identity.roles import Role

PERMISSIONS: Mapping[str, Role] = MappingProxyType(
    {
        "organization.read": Role.VIEWER,
        "organization.update": Role.OWNER,
        "members.list": Role.VIEWER,
        "members.get": Role.VIEWER,
        "members.update_role": Role.ADMIN,
        "members.remove": Role.ADMIN,
        "invites.list": Role.VIEWER,
        "invites.create": Role.ADMIN,
        "invites.revoke": Role.ADMIN,
        "keys.list": Role.ADMIN,
        "keys.get": Role.ADMIN,
        "keys.create": Role.ADMIN,
        "keys.update": Role.ADMIN,
        "keys.revoke": Role.ADMIN,
        "credits.grant": Role.OWNER,
        "approvals.decide": Role.ADMIN,
        "audit.read": Role.ADMIN,
    }
)
"""The lowest role that may do each action. Whom or what it may be done to is the service's own rule:
nobody touches or grants a role above their own.
"""


class HasRole(Protocol):
    """Whoever acts: a ``Principal``, or anything else with a role."""

    @property
    def role(self) -> Role:
        """The role that it acts in."""


def require(actor: HasRole, action: str) -> None:
    """Raise ``Forbidden`` (``role_required``) unless the actor's role covers the action's."""
    required = PERMISSIONS[action]
    if not actor.role.covers(required):
        raise Forbidden(
            f"{action} needs the role {required}; this key has {actor.role}.",
            code="role_required",
            fix=f"Use a key with the role {required} or above, or leave this step to a person.",
            details={"required_role": required.value, "role": actor.role.value},
        )


def require_role_within(actor: HasRole, role: Role, what: str) -> None:
    """Raise ``Forbidden`` when ``role`` lies above the actor's; ``what`` is the deed, "make a key"."""
    if not actor.role.covers(role):
        raise Forbidden(
            f"A key with role {actor.role} cannot {what} with role {role}.",
            fix=f"Use a key with the role {role}.",
            details={"required_role": role.value, "role": actor.role.value},
        )
