"""API keys, asked by the published SDK: every method, and the errors that it documents."""

from __future__ import annotations

import time
from typing import Any

from support.sdk import Sdk

CREATE = """
org = client.organizations.me().id
return client.api_keys.create(organization_id=org, **given)
"""


def create(sdk: Sdk, **given: Any) -> dict[str, Any]:
    made: dict[str, Any] = sdk.run(CREATE, given={"name": "ci"} | given)
    return made


def test_a_key_is_made_and_works(sdk: Sdk) -> None:
    made = create(sdk.as_("admin"), role="viewer", rate_limit=50, expires_at="2031-01-01T00:00:00Z")
    assert made["api_key"].startswith("pk_live_")
    assert (made["key_prefix"], made["role"], made["rate_limit"]) == (made["api_key"][:12], "viewer", 50)
    assert sdk.with_key(made["api_key"]).run("return client.organizations.me().name") == "Local"
    found = sdk.run("return client.api_keys.get(key)", key=made["key_id"])
    assert (found["name"], found["role"], found["is_active"]) == ("ci", "viewer", True)
    assert "api_key" not in found
    listed = sdk.run("return client.api_keys.list(organization_id=client.organizations.me().id)")
    assert made["key_id"] in [key["id"] for key in listed]
    assert len(listed) <= len(sdk.run("return client.api_keys.list()"))


def test_a_datetime_without_a_zone_is_taken_for_utc(sdk: Sdk) -> None:
    made = sdk.run(
        "import datetime\n"
        "org = client.organizations.me().id\n"
        "return client.api_keys.create(org, 'x', expires_at=datetime.datetime(2031, 1, 1))"
    )
    assert made["expires_at"] == "2031-01-01T00:00:00Z"


def test_a_key_is_changed_and_revoked(sdk: Sdk) -> None:
    made = create(sdk)
    assert sdk.run("return client.api_keys.update(k, name='n')", k=made["key_id"])["name"] == "n"
    assert sdk.run("return client.api_keys.update(k, rate_limit=9)", k=made["key_id"])["rate_limit"] == 9
    assert not sdk.run("return client.api_keys.update(k, is_active=False)", k=made["key_id"])["is_active"]
    mine = sdk.with_key(made["api_key"])
    assert mine.fails("client.credits.balance()")["type"] == "AuthError"
    assert sdk.run("return client.api_keys.update(k, is_active=True)", k=made["key_id"])["is_active"]
    assert mine.run("return client.credits.balance().credits_remaining") >= 0
    assert sdk.run("return client.api_keys.delete(k)", k=made["key_id"]) is None
    started = time.monotonic()
    shape = mine.fails("client.credits.balance()")
    assert (shape["type"], shape["status_code"]) == ("AuthError", 401)
    assert time.monotonic() - started < 1


def test_who_may_not_gets_the_documented_errors(sdk: Sdk) -> None:
    made = create(sdk, role="owner")
    for as_, code in (
        ("viewer", "client.api_keys.list()"),
        ("member", "client.api_keys.get(k)"),
        ("member", "client.api_keys.update(k, name='x')"),
        ("admin", "client.api_keys.update(k, name='x')"),
        ("admin", "client.api_keys.delete(k)"),
        ("admin", "client.api_keys.create(client.organizations.me().id, 'x', role='owner')"),
    ):
        shape = sdk.as_(as_).fails(code, k=made["key_id"])
        assert (shape["type"], shape["status_code"]) == ("ForbiddenError", 403)
    org = sdk.run("return client.organizations.me().id")
    for code in (
        "client.api_keys.get(k)",
        "client.api_keys.update(k, name='x')",
        "client.api_keys.delete(k)",
        "client.api_keys.list(organization_id=org)",
        "client.api_keys.create(org, 'x')",
    ):
        shape = sdk.as_("elsewhere").fails(code, k=made["key_id"], org=org)
        assert (shape["type"], shape["status_code"]) == ("NotFoundError", 404)
    for given in ({"role": "king"}, {"expires_at": "soon"}, {"name": ""}, {"rate_limit": -1}):
        shape = sdk.fails(CREATE, given={"name": "ci"} | given)
        assert (shape["type"], shape["status_code"]) == ("ValidationError", 422)
        assert shape["field_errors"]
    assert sdk.fails("client.api_keys.get('nothing')")["type"] == "NotFoundError"


def test_a_lost_answer_is_sent_again_with_the_same_secret(sdk: Sdk) -> None:
    """The first answer does not arrive: the SDK repeats the call under its idempotency key."""
    made = sdk.run(
        """
        import httpx
        sent = []
        real = httpx.Client.send
        def lossy(self, request, **options):
            response = real(self, request, **options)
            if request.method == "POST":
                sent.append((request.headers["Idempotency-Key"], response.json()))
                if len(sent) == 1:
                    raise httpx.ReadError("lost")
            return response
        httpx.Client.send = lossy
        try:
            key = client.api_keys.create(client.organizations.me().id, "lost", role="viewer")
        finally:
            httpx.Client.send = real
        names = [k for k in client.api_keys.list() if k.name == "lost"]
        return {"sent": sent, "secret": key.api_key, "keys": len(names)}
        """
    )
    (first, second) = made["sent"]
    assert first == second
    assert (made["secret"], made["keys"]) == (first[1]["api_key"], 1)
