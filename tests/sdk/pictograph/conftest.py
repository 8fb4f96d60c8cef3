"""One server and one interpreter of the SDK for all tests of a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.sdk import Sdk, Server, installed, open_sdk, open_server

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.sdk)


@pytest.fixture(scope="session")
def sdk_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    installed()
    with open_server(tmp_path_factory.mktemp("sdk")) as server:
        yield server


@pytest.fixture(scope="session")
def sdk(sdk_server: Server) -> Iterator[Sdk]:
    """The published SDK with an owner's key: ``sdk.run("return client.datasets.list()")``."""
    with open_sdk(sdk_server) as opened:
        yield opened
