"""One server, and one interpreter for each version of the EdgeFirst client, for all tests of a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.edgefirst import VERSIONS, EdgeFirstSdk, installed, open_edgefirst, open_edgefirst_server
from support.sdk import Server

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.sdk)


@pytest.fixture(scope="session")
def edgefirst_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    for version in VERSIONS:
        installed(version)
    with open_edgefirst_server(tmp_path_factory.mktemp("edgefirst")) as server:
        yield server


@pytest.fixture(scope="session", params=VERSIONS)
def sdk(request: pytest.FixtureRequest, edgefirst_server: Server) -> Iterator[EdgeFirstSdk]:
    """The published client, logged in as the owner: ``sdk.run("return client.projects()")``."""
    with open_edgefirst(edgefirst_server, request.param) as opened:
        yield opened
