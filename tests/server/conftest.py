"""One site for all door tests of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.doors import Site, open_site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site")) as opened:
        yield opened
