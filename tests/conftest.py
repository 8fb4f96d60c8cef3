"""Fixtures that every floor's tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from support.pictures import jpeg

# A loaded machine is no reason to fail; and CI tries the same examples each time, and tells the first that
# fails as it is: making a long history shorter can take longer than all else.
settings.register_profile("here", deadline=None)
settings.register_profile(
    "ci", deadline=None, derandomize=True, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture
def folder_of_pictures(tmp_path: Path) -> Path:
    """Three JPEGs: one at the top, two in ``stop/``."""
    folder = tmp_path / "pictures"
    (folder / "stop").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(jpeg(seed=1))
    (folder / "stop" / "b.jpg").write_bytes(jpeg(seed=2))
    (folder / "stop" / "c.jpg").write_bytes(jpeg(seed=3))
    return folder
