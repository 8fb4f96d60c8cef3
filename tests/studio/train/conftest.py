"""Whatever is tested here trains, in this process and in children."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def _one_core(one_core: None) -> None:
    """As ``one_core`` says."""
