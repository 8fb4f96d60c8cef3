"""Clients hear that a list has changed, whoever changed it, and only of their own lists."""

from __future__ import annotations

import asyncio
from typing import Any

import mcp.types as t
import pytest
from mcp import Client
from mcp.server.subscriptions import PromptsListChanged, ResourcesListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPError

from tintype_server.mcp import changes

from .conftest import Desk


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "LOOK_EVERY_SECONDS", 0.05)


async def next_events(client: Client, act: Any, count: int) -> list[Any]:
    heard: list[Any] = []
    async with client.listen(
        tools_list_changed=True, prompts_list_changed=True, resources_list_changed=True
    ) as stream:
        await asyncio.sleep(0.3)
        await asyncio.to_thread(act)
        async with asyncio.timeout(10):
            async for event in stream:
                heard.append(event)
                if len(heard) == count:
                    return heard
    return heard


def test_a_dataset_made_elsewhere_is_told(desk: Desk) -> None:
    """Such as at the command line: nothing of it passes this connection."""
    heard = desk.ask(lambda c: next_events(c, lambda: desk.call("create_dataset", name="elsewhere"), 1))
    assert heard == [ResourcesListChanged()]


def test_another_organizations_dataset_is_not_told(desk: Desk) -> None:
    def act() -> None:
        desk.call("create_dataset", desk.elsewhere, name="theirs")

    async def talk(client: Client) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await next_events(client, act, 1)

    desk.ask(talk)


def test_a_key_that_changes_changes_its_lists(desk: Desk) -> None:
    studio = desk.runtime.studio
    owner = studio.keys.authenticate(desk.keys["owner"])
    key, info = studio.keys.create(owner, name="narrowed", role="member")

    def narrow() -> None:
        studio.keys.update(owner, info.id, toolsets=["datasets"])

    heard = desk.ask(lambda c: next_events(c, narrow, 3), key=key)
    assert heard == [ToolsListChanged(), PromptsListChanged(), ResourcesListChanged()]


def test_a_stream_ends_with_its_key(desk: Desk) -> None:
    studio = desk.runtime.studio
    owner = studio.keys.authenticate(desk.keys["owner"])
    key, info = studio.keys.create(owner, name="short-lived", role="viewer")
    heard = desk.ask(lambda c: next_events(c, lambda: studio.keys.revoke(owner, prefix=info.id), 1), key=key)
    assert heard == []


def test_a_key_has_so_many_streams(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_STREAMS", 1)

    async def talk(client: Client) -> None:
        async with client.listen(tools_list_changed=True):
            with pytest.raises(MCPError) as caught:
                async with client.listen(tools_list_changed=True):
                    pass
            assert caught.value.error.data["code"] == "too_many_streams"
        async with asyncio.timeout(10):
            while True:
                try:
                    async with client.listen(tools_list_changed=True):
                        return
                except MCPError:  # the server has yet to hear that the first one was closed
                    await asyncio.sleep(0.02)

    desk.ask(talk)


def test_an_older_client_is_told_after_its_own_change(desk: Desk) -> None:
    heard: list[Any] = []

    async def talk(client: Client) -> None:
        await client.call_tool("create_dataset", {"name": "told"})
        await client.call_tool("list_datasets", {})
        await client.call_tool(
            "save_annotations", {"image_uuid": desk.image, "annotations": []}
        )  # changes no list
        await client.call_tool("create_dataset", {"name": "told again"})

    desk.ask(talk, era="legacy", heard=heard)
    told = [type(message) for message in heard]
    assert told == [t.ResourceListChangedNotification] * 2


def test_news_of_single_resources_are_not_promised(desk: Desk) -> None:
    async def talk(client: Client) -> Any:
        capabilities = client.server_capabilities
        async with client.listen(resources_list_changed=True, resource_subscriptions=["tintype://x"]) as s:
            return capabilities, s

    capabilities, _ = desk.ask(talk)
    assert capabilities.resources.subscribe is False
    assert capabilities.resources.list_changed is True
