"""Every tool through every door.

The doors share one workspace: a child over stdio in both protocol eras, an HTTP server in both eras and
over SSE, HTTP dispatch, the in-process toolkit and the command line.
"""

from __future__ import annotations

import pytest
from support.door_world import World, door, door_name, world
from support.doors import DOORS, Door, Reply, Site
from support.uses import found_uses

from tintype_tools.snapshot import load_snapshot

__all__ = ["door", "door_name", "world"]


TOOLS = tuple(tool["name"] for tool in load_snapshot()["tools"])
USES = found_uses()


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_works_through_every_door(tool: str, door: Door, world: World) -> None:
    USES[tool](door, world)


def test_reply_is_what_the_other_doors_give(site: Site, world: World) -> None:
    """The same read through all doors gives the same value (links aside)."""
    world.label(2)

    def read(name: str) -> Reply:
        return site.door(name).call("get_annotations", {"image_uuid": world.image["id"]})

    assert all(read(name).value == read("toolkit").value for name in DOORS)
