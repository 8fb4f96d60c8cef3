"""Fixtures that every floor's tests may use."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.pictures import jpeg


@pytest.fixture
def folder_of_pictures(tmp_path: Path) -> Path:
    """Three JPEGs: one at the top, two in ``stop/``."""
    folder = tmp_path / "pictures"
    (folder / "stop").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(jpeg(seed=1))
    (folder / "stop" / "b.jpg").write_bytes(jpeg(seed=2))
    (folder / "stop" / "c.jpg").write_bytes(jpeg(seed=3))
    return folder
