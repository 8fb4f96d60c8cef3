"""A workspace with one labelled picture, served and not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.agent_stub import Stub, open_stub
from support.doors import serve, stop
from support.pictures import scene

from tintype_server import create_toolkit
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_tools.toolkit import Toolkit


@dataclass(frozen=True)
class Place:
    """A workspace, its server and its owner's key."""

    home: Path
    url: str
    key: str
    image: str
    """UUID of the picture in the dataset ``street``."""


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    base = tmp_path_factory.mktemp("agents")
    home, folder = base / "home", base / "work"
    folder.mkdir()
    (folder / "scene.png").write_bytes(scene())
    before = Path.cwd()
    os.chdir(folder)
    try:
        with create_toolkit(home=home) as toolkit:
            toolkit.dispatch("create_dataset", {"name": "street"})
            toolkit.dispatch(
                "upload_image", {"dataset_name": "street", "file_path": str(folder / "scene.png")}
            )
            listed = toolkit.dispatch("get_dataset", {"name": "street", "include_images": True})
    finally:
        os.chdir(before)
    key = saved_api_key(home)
    assert key is not None
    process, url = serve(home)
    try:
        yield Place(home, url, key, listed["images"][0]["id"])
    finally:
        stop(process)


@pytest.fixture(params=["here", "remote"])
def toolkit(place: Place, request: pytest.FixtureRequest) -> Iterator[Toolkit]:
    """The same tools over the workspace in this process, and over its server."""
    where = {"home": place.home} if request.param == "here" else {"base_url": place.url}
    with create_toolkit(api_key=place.key, **where) as opened:
        yield opened


@pytest.fixture
def provider() -> Iterator[Stub]:
    with open_stub() as stub:
        yield stub
