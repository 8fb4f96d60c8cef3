"""One server and one interpreter of the Dragoneye SDK for all tests of a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("onnx")

from support.dragoneye import DragoneyeSdk, installed, open_cells_server, open_dragoneye
from support.sdk import Server

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.sdk)


@pytest.fixture(scope="session")
def cells_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    installed()
    with open_cells_server(tmp_path_factory.mktemp("dragoneye")) as server:
        yield server


@pytest.fixture(scope="session")
def sdk(cells_server: Server) -> Iterator[DragoneyeSdk]:
    """The published SDK with an owner's key: ``sdk.run("return await client.classification.status(id)")``."""
    with open_dragoneye(cells_server) as opened:
        yield opened
