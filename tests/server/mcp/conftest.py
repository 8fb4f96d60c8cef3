"""One workspace, and clients of both eras that talk to its server object without a transport."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from support.pictures import jpeg
from support.sdk import another_organization

from tintype_server.mcp.caller import Caller
from tintype_server.mcp.server import build_server
from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.identity.roles import Role
from tintype_tools.call import Request

T = TypeVar("T")
ERAS = ("auto", "legacy")


@dataclass
class Desk:
    """A workspace with a dataset ``street lamps`` of eight pictures, the first labelled."""

    runtime: Runtime
    keys: dict[str, str]
    elsewhere: str
    """Key of another organization's owner."""
    image: str
    """Id of the labelled picture."""

    def call(self, tool: str, key: str | None = None, **arguments: Any) -> dict[str, Any]:
        """Call a tool past MCP."""
        request = Request(
            tool=tool,
            arguments=arguments,
            api_key=key or self.keys["owner"],
            door="toolkit",
            files=everything(self.runtime.settings),
        )
        return self.runtime.dispatch(request).value

    def ask(
        self,
        talk: Callable[[Client], Awaitable[T]],
        *,
        era: str = "auto",
        key: str | None = None,
        heard: list[Any] | None = None,
        **caller: Any,
    ) -> T:
        """Connect, talk, hang up. ``heard`` collects what the server says by itself."""
        sender = Caller(
            key or self.keys["owner"], "stdio", everything(self.runtime.settings), session="s", **caller
        )
        server = build_server(self.runtime, lambda _request: sender)

        async def hear(message: Any) -> None:
            if heard is not None:
                heard.append(message)

        async def connected() -> T | MCPError:
            async with Client(server, mode=era, message_handler=hear) as client:  # type: ignore[arg-type]
                try:
                    return await talk(client)
                except MCPError as error:  # leaving the client with it would wrap it in groups
                    return error

        answer = asyncio.run(connected())
        if isinstance(answer, MCPError):
            raise answer
        return answer


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    base: Path = tmp_path_factory.mktemp("desk")
    runtime = Runtime.open(Settings(home=base / "home"))
    runtime.studio.jobs.supervisor.enabled = False
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    keys = {role.value: runtime.studio.keys.create(owner, name=role.value, role=role)[0] for role in Role}
    opened = Desk(runtime, keys, another_organization(runtime.studio), "")
    opened.call("create_dataset", name="street lamps")
    for n in range(8):
        (base / f"{n}.jpg").write_bytes(jpeg(*((1600, 900) if n == 0 else (32, 24)), seed=n))
        added = opened.call("upload_image", dataset_name="street lamps", file_path=str(base / f"{n}.jpg"))
        opened.image = opened.image or added["id"]
    box = {"x": 10, "y": 10, "w": 300, "h": 200}
    opened.call(
        "save_annotations",
        image_uuid=opened.image,
        annotations=[{"id": "1", "type": "bbox", "name": "lamp", "bounding_box": box}],
    )
    yield opened
    runtime.close()
