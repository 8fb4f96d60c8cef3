"""Imports from other platforms through a door; the provider is ``world.site.provider``."""

from __future__ import annotations

from typing import Any

from support.providers import KEY, WORKSPACE


def _chess(world: Any) -> dict[str, Any]:
    """A Roboflow project of its own for the test."""
    slug = f"chess-{world.dataset}"
    world.site.provider.add_roboflow(slug, 1, count=2)
    return {"id": f"{WORKSPACE}/{slug}", "name": f"{world.dataset} chess", "slug": slug}


def use_validate_connector(door: Any, world: Any) -> None:
    wanted = _chess(world)
    value = door.call("validate_connector", {"provider": "roboflow", "api_key": KEY}).value
    assert (value["valid"], value["workspace"]) == (True, WORKSPACE)
    assert {**wanted, "name": wanted["slug"].title(), "image_count": 2} in value["datasets"]
    value = door.call("validate_connector", {"provider": "v7", "api_key": "wrong"}).value
    assert (value["valid"], value["datasets"]) == (False, [])
    assert value["error"].startswith("V7 refused the key.")


def use_check_import_limits(door: Any, world: Any) -> None:
    arguments = {"total_images": 10**9, "estimated_size_bytes": 1}
    value = door.call("check_import_limits", arguments).value
    assert (value["allowed"], value["exceeded"]) == (False, "images")
    assert value["images_after_import"] == value["current_images"] + 10**9


def use_import_from_connector(door: Any, world: Any) -> None:
    wanted = _chess(world)
    arguments = {"provider": "roboflow", "api_key": KEY, "datasets": [wanted], "wait_seconds": 60}
    value = door.call("import_from_connector", arguments).value
    assert (value["status"], value["progress"], value["imported_images"]) == ("completed", 100, 2)
    dataset = world.make("get_dataset", name=wanted["name"])
    assert (dataset["image_count"], value["datasets"][0]["project_id"]) == (2, dataset["id"])


_begun: dict[Any, str] = {}
"""The import that all doors look at, by workspace: each is a process."""


def use_get_connector_import(door: Any, world: Any) -> None:
    home = world.site.home
    if home not in _begun:
        arguments = {"provider": "roboflow", "api_key": KEY, "datasets": [_chess(world)], "wait_seconds": 0}
        _begun[home] = world.make("import_from_connector", **arguments)["import_id"]
    value = door.call("get_connector_import", {"import_id": _begun[home], "wait_seconds": 60}).value
    assert (value["import_id"], value["status"], value["imported_images"]) == (_begun[home], "completed", 2)
