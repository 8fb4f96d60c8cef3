"""The published EdgeFirst client as a judge, both versions, each in an interpreter of its own.

The client is native code, which the block on Python's sockets does not hold; what it sends anywhere but to
this machine goes to a proxy that nobody is.
"""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.sdk import PLACES, Sdk, Server, environment, installed_in, open_server, running

from tintype_server.opening import open_studio
from tintype_server.settings import Settings

VERSIONS = ("2.19.0", "2.11.1")
EXTRAS = ("polars", "pillow")
USERNAME, PASSWORD = "ann@example.com", "correct horse battery"
NOBODY = "http://127.0.0.1:9"


def place_of(version: str) -> Path:
    return PLACES / f"edgefirst-{version}"


def installed(version: str) -> Path:
    """Its virtual environment, made when it is missing."""
    mark = "lib/python3.11/site-packages/edgefirst_client/__init__.py"
    return installed_in(place_of(version), [f"edgefirst-client=={version}", *EXTRAS], mark)


@dataclass
class EdgeFirstSdk(Sdk):
    """Scripts see ``client``, logged in, ``edgefirst_client``, all its classes, and the values.

    ``as_`` and ``with_key`` log in with a key as the password.
    """

    version: str = VERSIONS[0]

    @property
    def newest(self) -> bool:
        """Whether this is the newer one."""
        return self.version == VERSIONS[0]

    def client_options(self) -> dict[str, Any]:
        """How the runner logs in."""
        own = self.key == self.server.keys["owner"]
        return {
            "url": f"{self.server.url}/edgefirst",
            "username": USERNAME if own else "key",
            "password": PASSWORD if own else self.key,
            **self.options,
        }

    def alone(self, code: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
        """A program of its own, with a home folder of its own."""
        own = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "URL": f"{self.server.url}/edgefirst"}
        return subprocess.run(
            [str(place_of(self.version) / "bin" / "python"), "-W", "ignore", "-c", code],
            env=environment() | offline() | own | env,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=180,
        )


def offline() -> dict[str, str]:
    """The way anywhere but to this machine ends at a proxy that nobody is."""
    return {
        **{name: NOBODY for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy")},
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "EDGEFIRST_MAX_RETRIES": "0",
    }


@contextmanager
def open_edgefirst_server(base: Path) -> Iterator[Server]:
    """A server whose owner logs in as ``USERNAME``."""
    with open_server(base) as server:
        studio = open_studio(Settings(home=server.home))
        owner = studio.keys.authenticate(server.keys["owner"])
        studio.logins.add(owner, username=USERNAME, role="owner", password=PASSWORD)
        studio.close()
        yield server


@contextmanager
def open_edgefirst(server: Server, version: str) -> Iterator[EdgeFirstSdk]:
    """A version of the client, logged in as the owner."""
    with running(installed(version), "edgefirst_client", **offline()) as process:
        yield EdgeFirstSdk(server, process, server.keys["owner"], version=version)


def use_tool(server: Server, name: str, /, **arguments: Any) -> dict[str, Any]:
    """The result of a tool, over HTTP, as the owner."""
    request = urllib.request.Request(
        f"{server.url}/api/v1/developer/_dispatch/{name}",
        data=json.dumps(arguments).encode(),
        headers={"X-API-Key": server.keys["owner"], "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{name}: {error.read().decode()}") from None
    return found
