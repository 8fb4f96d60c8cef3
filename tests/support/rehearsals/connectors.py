"""Dry runs of the import from a platform, which ask the provider on this machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.providers import KEY, Provider, open_provider

_opened: list[Any] = []
_provider: list[Provider] = []


def _arguments(world: Any, **more: Any) -> dict[str, Any]:
    """A project of two images; the provider stays up for the rest of the session."""
    if not _provider:
        _opened.append(open_provider())
        _provider.append(_opened[0].__enter__())
        _provider[0].add_roboflow("chess", 1, count=2)
    studio = world.runtime.studio
    studio.workspace = replace(studio.workspace, v7_url=_provider[0].url, roboflow_url=_provider[0].url)
    studio.jobs.alone.enabled = False  # nobody need do it
    dataset = {"id": "traffic/chess", "name": "Chess", "slug": "chess"}
    return {
        "provider": "roboflow",
        "api_key": KEY,
        "datasets": [dataset],
        "wait_seconds": 0,
        **more,
    }


def _other(world: Any) -> dict[str, Any]:
    return _arguments(world, datasets=[{"id": "no", "name": "No"}])


READY = {"import_from_connector": _arguments}
REFUSED = [
    ("import_from_connector", "connector_key_refused", lambda w: _arguments(w, api_key="wrong")),
    ("import_from_connector", "connector_dataset_not_found", _other),
]


def _begun(_world: Any, told: dict[str, Any], outcome: Any) -> None:
    """The job does it later, so that the history has nothing yet."""
    made, added = told["affected"]
    assert (made["kind"], made["dataset"]) == ("dataset.created", "Chess")
    assert (added["kind"], added["count"], added["listed"]) == ("images.added", 2, 2)
    assert outcome.value["job"]["status"] == "running"


DONE = {"import_from_connector": _begun}
