"""The published Dragoneye SDK as a judge, in an interpreter that reaches nothing but this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.predicting import add_cells
from support.sdk import PLACES, Sdk, Server, installed_in, open_server, running

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.studio import Studio

VERSION = "2.0.1"
REQUIREMENT = f"dragoneye-python=={VERSION}"
PLACE = PLACES / f"dragoneye-{VERSION}"


def installed() -> Path:
    """Its virtual environment, made when it is missing."""
    return installed_in(PLACE, [REQUIREMENT], "lib/python3.11/site-packages/dragoneye/__init__.py")


@contextmanager
def studio_of(server: Server) -> Iterator[Studio]:
    """The server's workspace, as another process opens it."""
    studio = open_studio(Settings(home=server.home))
    try:
        yield studio
    finally:
        studio.close()


@contextmanager
def open_cells_server(base: Path) -> Iterator[Server]:
    """A server whose owner has the models ``cells``, and ``states``, which tells states of red ones, too."""
    with open_server(base) as server:
        with studio_of(server) as studio:
            owner = studio.keys.authenticate(server.keys["owner"])
            dataset = studio.datasets.create(owner, name="cells")
            add_cells(studio, owner, dataset)
            add_cells(studio, owner, dataset, heads=True, name="states")
        yield server


@dataclass
class DragoneyeSdk(Sdk):
    """Scripts are coroutines that see ``client``, ``dragoneye`` and the values."""

    def client_options(self) -> dict[str, object]:
        """The address has no other way in than this argument."""
        return {
            "api_key": self.key,
            "base_api_url": f"{self.server.url}/dragoneye",
            "max_retries": 2,
            **self.options,
        }


@contextmanager
def open_dragoneye(server: Server) -> Iterator[DragoneyeSdk]:
    """The SDK with an owner's key."""
    with running(installed(), "dragoneye") as process:
        yield DragoneyeSdk(server, process, server.keys["owner"])
