"""One site for all door tests of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.doors import Site, open_site

from tintype_server.runtime import Runtime
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.pool import Pool


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """One child process, for turns of jobs in the test's own process."""
    opened = Pool(1)
    yield opened
    opened.close()


@pytest.fixture
def owner(runtime: Runtime) -> Principal:
    """Of the test's own workspace."""
    return runtime.studio.keys.authenticate(runtime.local_api_key())
