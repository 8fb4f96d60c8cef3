"""How refusals reach the published SDK: classes, fields, retries, one effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.pictures import scene
from support.sdk import Sdk

from tintype_server.opening import open_studio
from tintype_server.settings import Settings


def test_a_key_that_does_not_work(sdk: Sdk) -> None:
    for key in ("pk_live_wrong", "nothing"):
        error = sdk.with_key(key).fails("client.datasets.list()")
        assert (error["type"], error["status_code"]) == ("AuthError", 401)
        assert error["request_id"]


@pytest.mark.parametrize(
    ("role", "script"),
    [
        ("viewer", "client.projects.create('sdk forbidden')"),
        ("member", "client.projects.delete('sdk mine')"),
    ],
)
def test_a_role_that_may_not(sdk: Sdk, role: str, script: str) -> None:
    if sdk.run("return [p.name for p in client.projects.iter()].count('sdk mine')") == 0:
        sdk.run("client.projects.create('sdk mine')")
    error = sdk.as_(role).fails(script)
    assert (error["type"], error["status_code"]) == ("ForbiddenError", 403)
    assert error["response"]["error"]["code"] == "role_required"


def test_another_organization_sees_nothing(sdk: Sdk) -> None:
    made = sdk.run("return client.projects.create('sdk ours')")
    stranger = sdk.as_("elsewhere")
    for script in (
        "client.projects.get('sdk ours')",
        "client.datasets.get('sdk ours', include_images=True)",
        "client.datasets.get_by_id(id)",
        "client.projects.update('sdk ours', description='theirs')",
        "client.projects.delete('sdk ours')",
    ):
        assert stranger.fails(script, id=made["id"])["type"] == "NotFoundError"
    assert stranger.run("return client.datasets.list()") == []
    assert sdk.run("return client.projects.get('sdk ours')")["description"] is None


def test_the_same_key_has_one_effect(sdk: Sdk) -> None:
    """As a client that got no answer sends a call again; another body under the key is a conflict."""
    statuses, codes, count = sdk.run(
        """
        import httpx
        url = f"{client._transport._config.base_url}/api/v1/developer/projects/"
        headers = {"X-API-Key": key, "Idempotency-Key": "sdk-once"}
        answers = [httpx.post(url, headers=headers, json={"name": "sdk once"}) for _ in range(3)]
        other = httpx.post(url, headers=headers, json={"name": "sdk twice"})
        replayed = [a.headers.get("Idempotent-Replayed") for a in answers]
        found = [p.name for p in client.projects.iter(page_size=200)]
        return [
            [a.status_code for a in answers] + replayed + [len({a.content for a in answers})],
            [other.status_code, other.json()["error"]["code"]],
            [found.count("sdk once"), found.count("sdk twice")],
        ]
        """,
        key=sdk.key,
    )
    assert statuses == [201, 201, 201, None, "true", "true", 1]
    assert codes == [409, "idempotency_conflict"]
    assert count == [1, 0]


def test_too_many_calls_say_when_to_come_again(sdk: Sdk) -> None:
    studio = open_studio(Settings(home=sdk.server.home))
    try:
        owner = studio.keys.authenticate(sdk.key)
        key, _ = studio.keys.create(owner, name="slow", role="viewer", rate_limit=2)
    finally:
        studio.close()
    limited = sdk.with_key(key).with_options(max_retries=0)
    limited.run("client.datasets.list(); client.datasets.list()")
    error = limited.fails("client.datasets.list()")
    assert (error["type"], error["status_code"]) == ("RateLimitError", 429)
    assert 0 < error["retry_after"] <= 3720  # a sliding hour, counted by the minute


def test_what_is_wrong_is_told_by_field(sdk: Sdk) -> None:
    error = sdk.fails("client.projects.create('x', classes=[{'type': 'bbox'}])")
    assert error["type"] == "ValidationError"
    (problem,) = error["field_errors"]
    assert (problem["loc"], problem["type"]) == (["body", "classes", 0, "name"], "missing")


@pytest.fixture
def poor(sdk: Sdk, tmp_path: Path) -> Sdk:
    """An organization without credits, with the image ``s.png`` in its dataset ``poor``."""
    stranger = sdk.as_("elsewhere")
    (tmp_path / "s.png").write_bytes(scene())
    stranger.run(
        """
        try:
            made = client.projects.create("poor")
        except pictograph.ConflictError:
            return
        client.images.upload(dataset_id=made.id, file_path=path)
        """,
        path=str(tmp_path / "s.png"),
    )
    return stranger


def test_what_the_credits_do_not_cover(poor: Sdk) -> None:
    error = poor.fails("client.auto_annotate.point('poor', 's.png', x=70, y=60)")
    assert (error["type"], error["status_code"], error["credit_cost"]) == ("PaymentRequiredError", 402, 1)
    assert error["bases"][1:3] == ["ApiError", "PictographError"]
    assert error["response"]["credits_remaining"] == 0
    assert error["credits_remaining"] is None  # the SDK's reading of a zero beside a message
    assert error["upgrade_url"].startswith(poor.server.url)
    assert not error["message"].startswith("HTTP")
    assert error["request_id"]
    assert poor.run("return client.credits.history()") == []


def test_a_key_with_a_cap_is_told_that_it_is_reached(sdk: Sdk, tmp_path: Path) -> None:
    """While the organization has credits left; another key goes on."""
    studio = open_studio(Settings(home=sdk.server.home))
    try:
        owner = studio.keys.authenticate(sdk.key)
        key, _ = studio.keys.create(owner, name="capped", role="member", credit_cap=1)
    finally:
        studio.close()
    (tmp_path / "cap.png").write_bytes(scene())
    point = "return client.auto_annotate.point('sdk capped', 'cap.png', x=70, y=60).status"
    sdk.run(
        "client.images.upload(dataset_id=client.projects.create('sdk capped').id, file_path=path)",
        path=str(tmp_path / "cap.png"),
    )
    assert sdk.with_key(key).run(point) == "success"
    error = sdk.with_key(key).fails(point)
    assert (error["type"], error["status_code"], error["credit_cost"]) == ("PaymentRequiredError", 402, 1)
    assert error["response"]["credits_remaining"] == 0
    assert sdk.run(point) == "success"


def test_what_is_taken_or_in_the_wrong_state(sdk: Sdk, tmp_path: Path) -> None:
    (tmp_path / "c.png").write_bytes(scene())
    made = sdk.run("return client.projects.create('sdk taken')")
    given: dict[str, Any] = {"id": made["id"], "path": str(tmp_path / "c.png")}
    sdk.run("client.images.upload(dataset_id=id, file_path=path)", **given)
    sdk.run("client.projects.create('sdk another'); client.exports.create('sdk taken', 'all')")
    for script in (
        "client.projects.create('sdk taken')",
        "client.projects.update('sdk another', new_name='sdk taken')",
        "client.images.upload(dataset_id=id, file_path=path)",
        "client.exports.create('sdk taken', 'all')",
    ):
        error = sdk.fails(script, **given)
        assert (script, error["type"], error["status_code"]) == (script, "ConflictError", 409)
        assert error["response"]["error"]["fix"]


def test_wrong_annotations_are_told_by_place_and_change_nothing(sdk: Sdk, tmp_path: Path) -> None:
    """As raw JSON: the SDK's own models would not let it through."""
    (tmp_path / "v.png").write_bytes(scene())
    image = sdk.run(
        """
        made = client.projects.create("sdk wrong")
        image = client.images.upload(dataset_id=made.id, file_path=path)
        box = pictograph.BoundingBox(x=1, y=2, w=3, h=4)
        client.annotations.save(image.id, [pictograph.BBoxAnnotation(id="1", name="car", bounding_box=box)])
        return image.id
        """,
        path=str(tmp_path / "v.png"),
    )
    error = sdk.fails(
        """
        wrong = {"id": "2", "class": "person", "type": "bbox"}
        path = f"/api/v1/developer/annotations/{image}"
        client._transport.request("POST", path, json={"image_id": image, "annotations": [wrong]})
        """,
        image=image,
    )
    assert (error["type"], error["status_code"]) == ("ValidationError", 422)
    assert error["field_errors"]
    assert all(problem["loc"][:2] == ["annotations", 0] for problem in error["field_errors"])
    assert "name" in [problem["loc"][-1] for problem in error["field_errors"]]
    assert [a["id"] for a in sdk.run("return client.annotations.get(i)", i=image)] == ["1"]


def test_a_long_wait_is_not_slept_through(sdk: Sdk) -> None:
    """The SDK repeats what is limited for up to two minutes by itself, and asks once what takes longer."""
    studio = open_studio(Settings(home=sdk.server.home))
    try:
        owner = studio.keys.authenticate(sdk.key)
        key, _ = studio.keys.create(owner, name="once", role="viewer", rate_limit=1)
    finally:
        studio.close()
    once = sdk.with_key(key)
    once.run("client.datasets.list()")
    error = once.fails("client.datasets.list()")
    assert (error["type"], error["retry_after"] > 120) == ("RateLimitError", True)
    assert error["response"]["error"]["retryable"] is True
