"""How refusals reach the published SDK: classes, fields, retries, one effect."""

from __future__ import annotations

import pytest
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
