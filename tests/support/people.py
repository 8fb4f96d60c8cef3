"""Members of a workspace's organization, for tests."""

from __future__ import annotations

from tintype_studio import clock
from tintype_studio.identity.invites import Acceptance
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.studio import Studio


def join(studio: Studio, owner: Principal, role: Role = Role.MEMBER, email: str | None = None) -> Acceptance:
    """A new member, by an invite; with the secret of the member's first key."""
    token, _ = studio.invites.create(owner, email=email or f"{clock.new_id()}@example.com", role=role)
    return studio.invites.accept(token)
