"""The HTTP doors beside MCP: the registry payload, dispatch, signed links, and who is let in."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image
from support.doors import Site
from support.pictures import jpeg

from tintype_tools.snapshot import load_snapshot

API = "/api/v1/developer"


@pytest.fixture
def http(site: Site) -> httpx.Client:
    return httpx.Client(base_url=site.url, headers={"X-API-Key": site.owner})


def test_health_needs_no_key(site: Site) -> None:
    assert httpx.get(f"{site.url}/healthz").json() == {"status": "ok"}


def test_the_front_page_leads_to_every_door_and_tells_no_secret(site: Site) -> None:
    told = httpx.get(site.url).json()
    assert (told["name"], told["version"]) == ("Tintype", load_snapshot()["version"])
    paths = [door["path"] for door in told["doors"].values()]
    assert {"/mcp", f"{API}/tools.json", f"{API}/docs"} <= set(paths)
    for path in set(paths) - {"/sse"}:  # which streams without end
        assert httpx.get(f"{site.url}{path}", headers={"X-API-Key": site.owner}).status_code != 404, path
    page = httpx.get(site.url, headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    assert all(f'href="{path}"' in page.text for path in paths)
    assert httpx.post(site.url).status_code == 405
    for text in (json.dumps(told), page.text):
        assert "pk_live" not in text
        assert "/home" not in text


@pytest.mark.parametrize("path", ["/tools.json", "/tools", "/tools/"])
def test_the_registry_payload_is_the_documented_one(http: httpx.Client, path: str) -> None:
    body = http.get(f"{API}{path}").json()
    assert set(body) == {"tools", "version", "count", "generated_at"}
    assert body["count"] == len(body["tools"]) == load_snapshot()["count"]
    for tool in body["tools"]:
        assert {"name", "description", "input_schema", "required_role", "credit_cost", "idempotent"} <= set(
            tool
        )


def test_an_unchanged_registry_is_not_sent_again(http: httpx.Client) -> None:
    etag = http.get(f"{API}/tools.json").headers["etag"]
    again = http.get(f"{API}/tools.json", headers={"If-None-Match": f'"other", {etag}'})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("role", ["viewer", "member", "admin", "owner"])
def test_any_role_may_read_the_registry(site: Site, role: str) -> None:
    response = httpx.get(f"{site.url}{API}/tools.json", headers={"X-API-Key": site.keys[role]})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{API}/tools.json"),
        ("POST", f"{API}/_dispatch/list_datasets"),
        ("POST", "/mcp"),
        ("GET", "/mcp"),
        ("GET", "/sse"),
        ("POST", "/messages/?session_id=0"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "pk_live_wrong"}, {"Authorization": "Bearer é"}])
def test_without_a_valid_key_nobody_is_let_in(
    site: Site, method: str, path: str, headers: dict[str, Any]
) -> None:
    encoded = {k: v.encode("utf-8") for k, v in headers.items()}
    response = httpx.request(method, site.url + path, headers=encoded)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["code"] in {"missing_key", "invalid_key"}


def test_a_bearer_token_is_a_key(site: Site) -> None:
    headers = {"Authorization": f"Bearer {site.owner}"}
    assert httpx.post(f"{site.url}{API}/_dispatch/list_datasets", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 422, "invalid_json"),
        (b"[1]", 422, "invalid_json"),
        (b'"text"', 422, "invalid_json"),
        (b"\xff", 422, "invalid_json"),
        (b'{"limit": NaN}', 422, "invalid_json"),
        (b'{"limit": 1e999}', 422, "invalid_json"),
        (b'{"limit": 3, "limt": 4}', 422, "invalid_arguments"),
        (b'{"a":' * 5000, 422, "invalid_json"),
        (b'{"limit": "' + b"x" * (17 * 1024 * 1024) + b'"}', 413, "body_too_large"),
    ],
)
def test_bad_bodies_are_refused(http: httpx.Client, body: bytes, status: int, code: str) -> None:
    response = http.post(f"{API}/_dispatch/list_datasets", content=body)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("tool", "status"), [("no_such_tool", 404), ("get_dataset", 422), ("..%2Fx", 404), ("%ff", 404)]
)
def test_errors_carry_their_status(http: httpx.Client, tool: str, status: int) -> None:
    response = http.post(f"{API}/_dispatch/{tool}")
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", f"{API}/_dispatch/list_datasets", 405),
        ("DELETE", f"{API}/tools.json", 405),
    ],
)
def test_wrong_addresses_get_the_same_shape(http: httpx.Client, method: str, path: str, status: int) -> None:
    response = http.request(method, path)
    body = response.json()
    assert response.status_code == status
    assert body["detail"] == body["error"]["message"]
    assert set(body["error"]) >= {"code", "message", "fix", "retryable"}


def test_a_payment_refusal_is_402(site: Site, http: httpx.Client) -> None:
    (site.folder / "pay.jpg").write_bytes(jpeg())
    key = _poor_key(site)
    http.post(f"{API}/_dispatch/create_dataset", json={"name": "pay"})
    http.post(
        f"{API}/_dispatch/upload_image",
        json={"dataset_name": "pay", "file_path": str(site.folder / "pay.jpg")},
    )
    response = http.post(
        f"{API}/_dispatch/auto_annotate_box",
        json={
            "dataset_name": "pay",
            "image_filename": "pay.jpg",
            "box": {"x": 1, "y": 1, "w": 30, "h": 30},
            "name": "s",
        },
        headers={"X-API-Key": key},
    )
    assert response.status_code == 402
    assert response.json()["error"]["details"] == {
        "required": 1,
        "remaining": 0,
        "top_up": "tintype keys update",
    }


def _poor_key(site: Site) -> str:
    from tintype_server.opening import open_studio
    from tintype_server.settings import Settings
    from tintype_studio.identity.roles import Role

    studio = open_studio(Settings(home=site.home))
    owner = studio.keys.authenticate(site.owner)
    key, _ = studio.keys.create(owner, name="poor", role=Role.MEMBER, credit_cap=0)
    studio.close()
    return key


def test_images_and_exports_come_by_signed_link(site: Site, http: httpx.Client) -> None:
    data = jpeg(80, 60, seed=99)
    (site.folder / "linked é.jpg").write_bytes(data)
    http.post(f"{API}/_dispatch/create_dataset", json={"name": "links"})
    image = http.post(
        f"{API}/_dispatch/upload_image",
        json={"dataset_name": "links", "file_path": str(site.folder / "linked é.jpg")},
    ).json()
    response = httpx.get(image["image_url"])  # no key: the link is its own proof
    assert response.content == data
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["content-disposition"].startswith("attachment")
    small = httpx.get(image["image_url"], params={"thumbnail": 30})
    assert Image.open(io.BytesIO(small.content)).size == (80, 60)  # never enlarged
    assert httpx.get(image["image_url"], params={"thumbnail": "x"}).status_code == 422
    export = http.post(
        f"{API}/_dispatch/create_export",
        json={"dataset_name": "links", "name": "all", "status_filter": "all", "format": "coco"},
    ).json()
    assert httpx.get(export["download_url"]).content[:2] == b"PK"


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "garbage"])
def test_a_damaged_link_is_refused(site: Site, http: httpx.Client, damage: str) -> None:
    listed = http.post(f"{API}/_dispatch/get_dataset", json={"name": "links", "include_images": True})
    token = urlsplit(listed.json()["images"][0]["image_url"]).path.rsplit("/", 1)[1]
    changed = {
        "cut": token[:-2],
        "flip": ("A" if token[0] != "A" else "B") + token[1:],
        "empty": "x.y",
        "garbage": hashlib.sha256(b"x").hexdigest(),
    }[damage]
    response = httpx.get(f"{site.url}/_blob/{changed}")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "invalid_link")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Content-Type": "text/plain"}, 400),
    ],
)
def test_foreign_pages_do_not_reach_mcp(http: httpx.Client, headers: dict[str, str], status: int) -> None:
    sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers}
    assert http.post("/mcp", content=b"{}", headers=sent).status_code == status


def test_a_session_belongs_to_the_key_that_opened_it(site: Site) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        },
    }
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "X-API-Key": site.owner,
    }
    opened = httpx.post(f"{site.url}/mcp", content=json.dumps(hello), headers=headers)
    session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
    ping = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "ping"})
    own = httpx.post(f"{site.url}/mcp", content=ping, headers={**headers, **session})
    foreign = httpx.post(
        f"{site.url}/mcp", content=ping, headers={**headers, **session, "X-API-Key": site.keys["viewer"]}
    )
    assert (own.status_code, foreign.status_code) == (200, 404)


def test_a_network_caller_has_no_local_files_unless_configured(tmp_path: Path) -> None:
    from support.doors import serve, stop

    from tintype_studio.identity.bootstrap import saved_api_key

    process, url = serve(tmp_path / "home")
    try:
        response = httpx.post(
            f"{url}{API}/_dispatch/upload_dataset_from_folder",
            json={"dataset_name": "d", "folder": str(tmp_path)},
            headers={"X-API-Key": saved_api_key(tmp_path / "home") or ""},
        )
    finally:
        stop(process)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "path_not_allowed")
