"""A workspace, a tool to watch, and a server whose calls are counted and logged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.doors import serve, stop
from support.telemetry import Probe

from tintype_server.runtime import Runtime
from tintype_server.settings import Settings
from tintype_tools.registry import Registry


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def runtime(home: Path) -> Iterator[Runtime]:
    opened = Runtime.open(Settings(home=home))
    yield opened
    opened.close()


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
def registry(runtime: Runtime, probe: Probe) -> Registry:
    return Registry([*runtime.registry, probe.spec()])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A running server with metrics and JSON logs; yields its home and URL. Its log is ``<home>.log``."""
    home = tmp_path_factory.mktemp("telemetry") / "home"
    with home.with_suffix(".log").open("wb") as log:
        process, url = serve(home, env={"TINTYPE_METRICS": "1", "TINTYPE_LOG_FORMAT": "json"}, stderr=log)
        yield home, url
        stop(process)
