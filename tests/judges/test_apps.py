"""Our pages of MCP Apps in a host made of the extension's own bridge, over HTTP and through an SDK's client.

The bridge checks every message of a page against the extension's schemas.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from support.pictures import jpeg

from judges.conftest import Served
from judges.judge import apps, talk_node

pytestmark = pytest.mark.sdk


@pytest.fixture(scope="module")
def image(served: Served, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Id of a picture with two annotations, the first with a name that is markup."""
    folder: Path = tmp_path_factory.mktemp("pictures")
    (folder / "a.jpg").write_bytes(jpeg(64, 48))
    box = {"x": 1, "y": 2, "w": 30, "h": 20}
    command, *flags = served.job("stdio")["command"]

    async def prepare() -> str:
        server = StdioServerParameters(command=command, args=[*flags, "--root", str(folder)])
        async with Client(server) as client:

            async def make(tool: str, **arguments: Any) -> Any:
                result: Any = await client.call_tool(tool, arguments)
                assert not result.is_error, result.content[0].text
                return json.loads(result.content[0].text)

            await make("create_dataset", name="pictures")
            added = await make("upload_image", dataset_name="pictures", file_path=str(folder / "a.jpg"))
            named = ("<b>lamp", "lane \U0001f6a6")
            annotations = [
                {"id": str(n), "type": "bbox", "name": name, "bounding_box": box}
                for n, name in enumerate(named)
            ]
            await make("save_annotations", image_uuid=added["id"], annotations=annotations)
            return str(added["id"])

    return asyncio.run(prepare())


@pytest.mark.parametrize(
    ("options", "protocol"), [({}, "2025-11-25"), ({"versionNegotiation": {"mode": "auto"}}, "2026-07-28")]
)
def test_a_host_of_the_extension_shows_our_pages(
    served: Served, image: str, options: dict[str, Any], protocol: str
) -> None:
    job = served.job("http") | {"options": options, "image": image, "name": f"apps {protocol}"}
    told = talk_node("apps.mjs", place=apps(), **job)
    assert (told["protocol"], told["complaints"]) == (protocol, [])
    for name, answer, there in (
        ("approved", "Done.", False),
        ("refused", "Refused. Nothing was changed.", True),
    ):
        seen = told[name]
        assert seen["theme"] == "dark"
        assert f"apps {protocol}" in seen["question"]
        assert (seen["before"], seen["after"], seen["there"]) == ("Nothing has been done yet.", answer, there)
        assert len(seen["told"]) == 1
        assert name in seen["told"][0]
        first, second, *_rest = seen["sent"]
        assert (first, second) == ("ui/initialize", "ui/notifications/initialized")
        assert seen["sent"].count("tools/call") == 1
    assert told["preview"] == {
        "name": "a.jpg",
        "picture": "data:image/",
        "shapes": 2,
        "list": ["<b>lampbbox", "lane \U0001f6a6bbox"],
    }
