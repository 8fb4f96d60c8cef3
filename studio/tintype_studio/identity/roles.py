"""The role hierarchy."""

from __future__ import annotations

from enum import StrEnum


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


_RANKS = {role: rank for rank, role in enumerate(Role)}
