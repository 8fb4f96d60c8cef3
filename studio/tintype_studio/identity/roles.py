"""The role hierarchy."""

from __future__ import annotations

from enum import StrEnum

from tintype_studio.errors import InvalidInput
from tintype_studio.names import printable


class Role(StrEnum):
    """What a key may do; each role may do all that the ones before it may."""

    VIEWER = "viewer"
    """Reads, searches and downloads."""
    MEMBER = "member"
    """Uploads, annotates, exports and spends."""
    ADMIN = "admin"
    """Deletes, manages members and keys."""
    OWNER = "owner"
    """Everything, including other owners and credits."""

    @property
    def rank(self) -> int:
        """Position in the hierarchy, 0 for viewer."""
        return _RANKS[self]

    def covers(self, other: Role) -> bool:
        """Whether this role may do what ``other`` may."""
        return self.rank >= other.rank

    def at_most(self, other: Role) -> Role:
        """The lower one of the two."""
        return other if self.covers(other) else self


_RANKS = {role: rank for rank, role in enumerate(Role)}


def parse_role(role: Role | str) -> Role:
    """A role by its name; ``InvalidInput`` for anything else."""
    try:
        return Role(role)
    except ValueError:
        raise InvalidInput(
            f"There is no role {printable(str(role)[:40])!r}.",
            code="invalid_role",
            fix=f"Use one of: {', '.join(Role)}.",
        ) from None


def roles_above(role: Role) -> list[Role]:
    """The roles that ``role`` does not cover, lowest first."""
    return [other for other in Role if not role.covers(other)]
