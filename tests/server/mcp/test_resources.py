"""Resources: what there is, what reading gives, and that the guards stand before it."""

from __future__ import annotations

import base64
import io
import json
from typing import Any
from urllib.parse import quote

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from PIL import Image

from tintype_server.mcp import resources
from tintype_studio.names import FORBIDDEN_IN_NAMES

from .conftest import ERAS, Desk

LAMPS = "tintype://datasets/street%20lamps"


def read(desk: Desk, uri: str, **options: Any) -> Any:
    async def talk(client: Client) -> Any:
        return (await client.read_resource(uri)).contents

    return desk.ask(talk, **options)


def refused(desk: Desk, uri: str, **options: Any) -> MCPError:
    with pytest.raises(MCPError) as caught:
        read(desk, uri, **options)
    return caught.value


def listed(desk: Desk, **options: Any) -> list[Any]:
    async def talk(client: Client) -> list[Any]:
        found, cursor = [], None
        while True:
            page = await client.list_resources(cursor=cursor)
            found += page.resources
            cursor = page.next_cursor
            if cursor is None:
                return found

    return desk.ask(talk, **options)


@pytest.mark.parametrize("era", ERAS)
def test_a_listed_resource_can_be_read(desk: Desk, era: str) -> None:
    found = {resource.uri: resource for resource in listed(desk, era=era)}
    assert found[LAMPS].name == "street lamps"
    value = json.loads(read(desk, LAMPS, era=era)[0].text)
    assert value == desk.call("get_dataset", name="street lamps")


@pytest.mark.parametrize("era", ERAS)
def test_an_image_comes_as_a_picture_of_bounded_size(desk: Desk, era: str) -> None:
    picture, value = read(desk, f"tintype://images/{desk.image}", era=era)
    with Image.open(io.BytesIO(base64.b64decode(picture.blob))) as opened:
        assert max(opened.size) == resources.PREVIEW_SIDE
        assert Image.MIME[opened.format or ""] == picture.mime_type
    assert json.loads(value.text)["scale"] == 1600 / resources.PREVIEW_SIDE


def test_images_and_annotations_have_addresses_of_their_own(desk: Desk) -> None:
    (images,) = read(desk, f"{LAMPS}/images")
    assert desk.image in [image["id"] for image in json.loads(images.text)["images"]]
    (annotations,) = read(desk, f"tintype://images/{desk.image}/annotations")
    assert json.loads(annotations.text)["annotations"][0]["name"] == "lamp"


@pytest.mark.parametrize(("era", "code"), [("auto", -32602), ("legacy", -32002)])
@pytest.mark.parametrize(
    "uri",
    [
        "tintype://nothing",
        "tintype://datasets/missing",
        "tintype://datasets/street%20lamps/images/more",
        "tintype://datasets/%ff%00",
        "tintype://images/not-an-id",
        "tintype://models/0",
        "tintype://jobs/0/log",
        "file:///etc/passwd",
        "tintype://datasets/" + "x" * 5000,
    ],
)
def test_what_is_not_there_is_not_found(desk: Desk, uri: str, era: str, code: int) -> None:
    error = refused(desk, uri, era=era)
    assert error.code == code
    assert error.error.data["code"].endswith("_not_found")
    assert error.error.data["fix"]


def test_another_organizations_things_are_not_found(desk: Desk) -> None:
    """And are told of in the words for what does not exist."""
    for uri, absent in ((LAMPS, "x"), (f"tintype://images/{desk.image}", desk.image[:-1] + "z")):
        theirs = refused(desk, uri, key=desk.elsewhere)
        none = refused(desk, uri.rsplit("/", 1)[0] + f"/{absent}", key=desk.elsewhere)
        assert theirs.code == none.code
        assert theirs.error.data["code"] == none.error.data["code"]
    assert listed(desk, key=desk.elsewhere) == []


def test_reading_is_in_the_audit_trail_like_any_call(desk: Desk) -> None:
    read(desk, f"tintype://images/{desk.image}", key=desk.keys["viewer"])
    desk.runtime.studio.audit.flush()
    owner = desk.runtime.studio.keys.authenticate(desk.keys["owner"])
    newest = desk.runtime.studio.audit.list(owner, limit=1)[0]
    assert (newest.tool, newest.outcome, newest.door) == ("preview_image", "ok", "stdio")


def test_the_response_cap_holds_and_the_rest_can_be_read_on(desk: Desk) -> None:
    (content,) = read(desk, f"{LAMPS}/images", max_response_tokens=300)
    assert len(content.text) <= 1200
    cut = json.loads(content.text)["_truncated"]["cuts"][0]
    assert desk.call("read_more", cursor=cut["cursor"])


def test_a_key_that_leaves_a_toolset_out_has_no_such_resources(desk: Desk) -> None:
    owner = desk.runtime.studio.keys.authenticate(desk.keys["owner"])
    narrow, _ = desk.runtime.studio.keys.create(owner, name="models", role="viewer", toolsets=["models"])

    async def templates(client: Client) -> list[str]:
        return [found.name for found in (await client.list_resource_templates()).resource_templates]

    assert desk.ask(templates, key=narrow) == ["model_card"]
    assert listed(desk, key=narrow) == []
    assert refused(desk, LAMPS, key=narrow).error.data["code"] == "toolset_required"


def test_a_key_over_its_hour_is_refused(desk: Desk) -> None:
    owner = desk.runtime.studio.keys.authenticate(desk.keys["owner"])
    slow, _ = desk.runtime.studio.keys.create(owner, name="slow", role="viewer", rate_limit=1)
    read(desk, LAMPS, key=slow)
    assert refused(desk, LAMPS, key=slow).error.data["code"] == "rate_limited"


def test_a_wrong_key_gets_nothing(desk: Desk) -> None:
    assert refused(desk, LAMPS, key="pk_live_wrong").error.data["code"] == "invalid_key"


def test_a_long_list_comes_page_by_page_and_whole(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"page {n:02}" for n in range(7)]
    for name in names:
        desk.call("create_dataset", name=name)
    small = tuple(section._replace(page=3) for section in resources.SECTIONS)
    monkeypatch.setattr(resources, "SECTIONS", small)
    found = [resource.name for resource in listed(desk)]
    assert sorted(found) == sorted([*names, "street lamps"])
    capped = [resource.name for resource in listed(desk, max_response_tokens=400)]
    assert capped == found


@pytest.mark.parametrize(
    "cursor", ["", "zzz", "WzEsMiwzXQ==", "Wy0xLDAsMF0=", "WyJhIiwwLDBd", "bnVsbA==", "é"]
)
def test_a_made_up_cursor_is_refused(desk: Desk, cursor: str) -> None:
    async def talk(client: Client) -> Any:
        return await client.list_resources(cursor=cursor)

    with pytest.raises(MCPError) as caught:
        desk.ask(talk)
    assert caught.value.code == -32602


def test_any_name_that_a_dataset_may_have_makes_an_address(desk: Desk) -> None:
    for name in ("Straße № 5", "a+b&c=d", "{dataset_name}", "日本 ✓"):
        assert not set(name) & set(FORBIDDEN_IN_NAMES)
        desk.call("create_dataset", name=name)
        uri = resources.address_of("dataset", dataset_name=name)
        assert uri == f"tintype://datasets/{quote(name, safe='')}"
        assert json.loads(read(desk, uri)[0].text)["name"] == name
