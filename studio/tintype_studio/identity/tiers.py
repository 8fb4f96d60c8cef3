"""What an organization's tier allows, as data. Requests per hour are the seed's table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tier:
    """Limits of one tier."""

    calls_per_hour: int
    """Of each key, in any sixty minutes."""
    concurrent_calls: int
    """Of each key, running at a time in one server process."""
    max_users: int
    max_images: int
    max_storage_bytes: int


_GIB = 1 << 30

TIERS: dict[str, Tier] = {
    "free": Tier(1_000, 8, max_users=3, max_images=10_000, max_storage_bytes=10 * _GIB),
    "core": Tier(5_000, 16, max_users=10, max_images=100_000, max_storage_bytes=100 * _GIB),
    "pro": Tier(20_000, 24, max_users=50, max_images=1_000_000, max_storage_bytes=1_000 * _GIB),
    "enterprise": Tier(
        100_000, 32, max_users=10_000, max_images=1_000_000_000, max_storage_bytes=1_000_000 * _GIB
    ),
}


def tier_of(name: str) -> Tier:
    """A tier by name; an unknown one gets the smallest."""
    return TIERS.get(name, TIERS["free"])
