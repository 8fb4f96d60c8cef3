"""A detector taught by six small pictures, for all tests of this folder."""

from __future__ import annotations

import pytest
from support.drawings import draw, six_taught


@pytest.fixture(scope="session")
def drawn():
    """Draws picture number ``seed``."""
    return draw


@pytest.fixture(scope="session")
def taught(drawn):
    return [drawn(seed).labelled() for seed in range(6)]


@pytest.fixture(scope="session")
def detector():
    return six_taught()
