"""Imports from V7 and Roboflow, asked by the published SDK."""

from __future__ import annotations

from typing import Any

import pytest
from support.providers import KEY, TEAM, Provider, answer
from support.sdk import Sdk, Server

IMPORT = "return client.connectors.import_(provider, key, datasets, **given)"


@pytest.fixture(scope="module")
def provider(sdk_server: Server) -> Provider:
    made = sdk_server.provider
    made.add_v7("sdk-roads", 3)
    made.add_roboflow("sdk-chess", 2)
    return made


def imported(sdk: Sdk, name: str, datasets: list[dict[str, Any]], **given: Any) -> Any:
    given = {"poll_interval": 0.2, "timeout": 60} | given
    return sdk.run(IMPORT, provider=name, key=KEY, datasets=datasets, given=given)


def test_validate_and_import_what_it_tells(sdk: Sdk, provider: Provider) -> None:
    found = sdk.run("return client.connectors.validate('v7', key)", key=KEY)
    assert (found["valid"], found["workspace"], found["error"]) == (True, TEAM, None)
    job = sdk.run(
        "told = client.connectors.validate('v7', key)\n"
        "mine = [d for d in told.datasets if d.slug == 'sdk-roads']\n"
        "return client.connectors.import_('v7', key, mine, poll_interval=0.2, timeout=60)",
        key=KEY,
    )
    assert (job["status"], job["progress"]) == ("completed", 100)
    assert (job["total_images"], job["imported_images"], job["failed_images"]) == (3, 3, 0)
    (told,) = job["datasets"]
    here = sdk.run("return client.datasets.get('Sdk-Roads')")
    assert (told["name"], told["project_id"], told["status"]) == ("Sdk-Roads", here["id"], "completed")
    assert (told["imported"], told["failed"], here["image_count"]) == (3, 0, 3)
    assert sdk.run("return client.connectors.get_import(id)", id=job["import_id"]) == job


def test_roboflow_by_a_dict(sdk: Sdk, provider: Provider) -> None:
    job = imported(
        sdk, "roboflow", [{"id": "traffic/sdk-chess", "name": "sdk pieces", "slug": "sdk-chess", "x": 1}]
    )
    assert (job["status"], job["imported_images"]) == ("completed", 3)
    image = sdk.run("return client.datasets.get('sdk pieces', include_images=True)")["images"][0]
    (annotation,) = sdk.run("return client.annotations.get(id)", id=image["id"])
    assert (annotation["name"], annotation["type"]) == ("rook", "bbox")


def test_a_wrong_key(sdk: Sdk, provider: Provider) -> None:
    found = sdk.run("return client.connectors.validate('roboflow', 'wrong')")
    assert (found["valid"], found["datasets"]) == (False, [])
    assert found["error"].startswith("Roboflow refused the key.")
    error = sdk.fails("client.connectors.import_('v7', 'wrong', [{'id': '1', 'name': 'a', 'slug': 'a'}])")
    assert (error["type"], error["status_code"]) == ("AuthError", 401)
    assert "V7" in error["message"]


def test_limits(sdk: Sdk, provider: Provider) -> None:
    check = "return client.connectors.check_limits(total_images=n, estimated_size_bytes=size)"
    fits = sdk.run(check, n=1, size=1000)
    assert (fits["allowed"], fits["exceeded"]) == (True, None)
    assert fits["images_after_import"] == fits["current_images"] + 1
    assert sdk.run(check, n=10**12, size=0)["exceeded"] == "images"
    assert sdk.run(check, n=0, size=10**17)["exceeded"] == "storage"
    assert sdk.run(check, n=10**12, size=10**17)["exceeded"] == "both"
    told = [{"id": 1, "name": "huge", "slug": "huge", "num_items": 10**10}]
    provider.rule("GET /api/datasets", answer(told))
    error = sdk.fails(
        IMPORT, provider="v7", key=KEY, datasets=[{"id": "1", "name": "huge", "slug": "huge"}], given={}
    )
    assert (error["type"], error["status_code"]) == ("PaymentRequiredError", 402)
    provider.rules.clear()


def test_cancel(sdk: Sdk, provider: Provider) -> None:
    provider.add_v7("sdk-slow", 60)
    provider.picture_seconds = 0.5
    job = imported(sdk, "v7", [{"id": "-", "name": "sdk slow", "slug": "sdk-slow"}], wait=False)
    assert (job["status"], job["progress"]) == ("processing", 0)
    ended = sdk.run("return client.connectors.cancel_import(id)", id=job["import_id"])
    provider.picture_seconds = 0.0
    assert ended["status"] == "cancelled"
    again = sdk.run(
        "return client.connectors.wait_for_import(id, poll_interval=0.2, timeout=20)", id=job["import_id"]
    )
    assert again["status"] == "cancelled"
    done = imported(sdk, "v7", [{"id": "-", "name": "sdk slow", "slug": "sdk-slow"}])
    assert (done["status"], done["imported_images"]) == ("completed", 60)


def test_an_import_that_fails(sdk: Sdk, provider: Provider) -> None:
    provider.projects["sdk-empty"] = {}
    code = (
        "client.connectors.import_('roboflow', key, [{'id': 'sdk-empty', 'name': 'e', 'slug': 'sdk-empty'}])"
    )
    error = sdk.fails(code, key=KEY)
    assert error["type"] == "ApiError"
    assert error["response"]["datasets"][0]["status"] == "error"
    provider.projects.pop("sdk-empty")


def test_refusals(sdk: Sdk, provider: Provider) -> None:
    assert sdk.fails("client.connectors.get_import('no')")["status_code"] == 404
    assert sdk.fails("client.connectors.cancel_import('no')")["status_code"] == 404
    assert sdk.fails("client.connectors.import_('v7', 'k', [])")["status_code"] == 422
    assert sdk.fails("client.connectors.validate('other', 'k')")["status_code"] == 422
    viewer = sdk.as_("viewer")
    assert viewer.fails("client.connectors.validate('v7', 'k')")["type"] == "ForbiddenError"
    job = imported(sdk, "v7", [{"id": "-", "name": "sdk mine", "slug": "sdk-roads"}])
    elsewhere = sdk.as_("elsewhere")
    assert elsewhere.fails("client.connectors.get_import(id)", id=job["import_id"])["type"] == "NotFoundError"
