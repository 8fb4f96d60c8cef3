"""What every door does with the export tools."""

from __future__ import annotations

from typing import Any

import pytest
from support.doors import Refused


def use_get_export(door: Any, world: Any) -> None:
    world.export()
    value = door.call("get_export", {"dataset_name": world.dataset, "export_name": "first"}).value
    assert (value["name"], value["status"], value["image_count"]) == ("first", "completed", 1)
    with pytest.raises(Refused) as refused:
        door.call("get_export", {"dataset_name": world.dataset, "export_name": "second"})
    assert refused.value.shape["code"] == "export_not_found"


def use_delete_export(door: Any, world: Any) -> None:
    world.export()
    arguments = {"dataset_name": world.dataset, "export_name": "first"}
    value = door.call("delete_export", arguments, confirm=True).value
    assert value == {"deleted": True, "dataset_name": world.dataset, "name": "first"}
    with pytest.raises(Refused):
        door.call("get_export", arguments)
    assert world.make("list_exports", dataset_name=world.dataset)["exports"] == []
