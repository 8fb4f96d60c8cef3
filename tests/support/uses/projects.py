"""Uses of what changes a dataset as a whole, and of the lists behind the pages of REST."""

from __future__ import annotations

from typing import Any

import pytest
from support.doors import Refused


def use_update_dataset(door: Any, world: Any) -> None:
    arguments = {"name": world.dataset, "new_name": f"{world.dataset} renamed", "description": "signs"}
    value = door.call("update_dataset", arguments).value
    assert (value["name"], value["description"]) == (f"{world.dataset} renamed", "signs")
    assert world.make("get_dataset", name=f"{world.dataset} renamed")["id"] == value["id"]
    with pytest.raises(Refused):
        door.call("get_dataset", {"name": world.dataset})


def use_list_dataset_files(door: Any, world: Any) -> None:
    value = door.call("list_dataset_files", {"dataset_name": world.dataset}).value
    assert ([i["id"] for i in value["images"]], value["count"]) == ([world.image["id"]], 1)
    assert door.call("list_dataset_files", {"dataset_name": world.dataset, "offset": 1}).value["count"] == 0


def use_list_credit_history(door: Any, world: Any) -> None:
    newest = door.call("list_credit_history", {"limit": 2}).value
    assert newest["count"] == len(newest["entries"]) >= 1
    older = door.call("list_credit_history", {"limit": 1, "offset": 1}).value["entries"]
    assert [e["id"] for e in older] == [e["id"] for e in newest["entries"][1:]]
