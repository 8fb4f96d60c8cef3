"""A served workspace for the judges."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.doors import serve, stop

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.identity.bootstrap import saved_api_key


@dataclass
class Served:
    home: Path
    url: str
    key: str

    def job(self, transport: str) -> dict[str, Any]:
        """How a client is to connect, with all tools to be seen."""
        if transport == "http":
            return {"url": f"{self.url}/mcp?toolsets=all", "headers": {"X-API-Key": self.key}}
        flags = ["--home", str(self.home), "--toolsets", "all"]
        return {"command": [sys.executable, "-m", "tintype_server", "mcp", *flags]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("judged") / "home"
    open_studio(Settings(home=home)).close()
    key = saved_api_key(home)
    assert key is not None
    process, url = serve(home)
    yield Served(home, url, key)
    stop(process)
