"""What every door does to find samples by conditions."""

from __future__ import annotations

import pytest
from support.door_world import World
from support.doors import Door, Refused


def use_query_samples(door: Door, world: World) -> None:
    world.label(2)
    asked = {
        "dataset_name": world.dataset,
        "query": "count(label = sign) = 2 and area >= 2500 and has(image)",
        "preview_grid": True,
    }
    reply = door.call("query_samples", asked)
    assert reply.value["total"] == 1
    (sample,) = reply.value["samples"]
    assert (sample["id"], sample["annotation_count"]) == (world.image["id"], 2)
    assert len(reply.pictures) == 1
    nothing = door.call("query_samples", {**asked, "query": "not label = sign"})
    assert nothing.value["samples"] == []
    with pytest.raises(Refused) as refused:
        door.call("query_samples", {**asked, "query": "lable = sign"})
    assert refused.value.shape["code"] == "invalid_query"
