"""The published SDK as a judge: its own interpreter, which can reach nothing but this machine, and a server.

``make sdk`` installs it into ``.sdk/``; so does the first test that needs it.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.doors import serve, stop
from support.providers import Provider, open_provider

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.identity.bootstrap import DEFAULT_PROJECT, saved_api_key
from tintype_studio.identity.key_rows import insert_key
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import accounts, organizations, projects
from tintype_studio.studio import Studio

VERSION = "1.0.0"
REQUIREMENT = f"pictograph[cli]=={VERSION}"
PLACES = Path(__file__).parents[2] / ".sdk"
PLACE = PLACES / f"pictograph-{VERSION}"
SIDE = Path(__file__).parent / "sdk_side"

SCRIPT_SECONDS = 180


class SdkError(Exception):
    """What a script raised; ``shape`` has its type, message and attributes."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__(f"{shape['type']}: {shape['message']}\n{shape['trace']}")
        self.shape = shape


def installed() -> Path:
    """The SDK's virtual environment, made when it is missing."""
    return installed_in(PLACE, [REQUIREMENT], "bin/pictograph")


def installed_in(place: Path, requirements: list[str], mark: str) -> Path:
    """An environment with an SDK in it, made when the file ``mark`` is not in it."""
    place.parent.mkdir(exist_ok=True)
    with (place.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / mark).exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
            done = subprocess.run(
                [str(place / "bin" / "pip"), "install", "-q", *requirements], capture_output=True, text=True
            )
            if done.returncode:
                problem = f"{requirements[0]} cannot be installed here: {done.stderr.strip()[-300:]}"
                if os.environ.get("CI"):
                    pytest.fail(problem)
                pytest.skip(problem)
    return place


@dataclass
class Server:
    """A server of ours with keys of each role, and the key of the owner of another organization."""

    home: Path
    url: str
    keys: dict[str, str]
    elsewhere: str
    provider: Provider
    """V7 and Roboflow, as far as the server knows."""


def another_organization(studio: Studio) -> str:
    """Made by hand in the database; returns its owner's key."""
    now = clock.now()
    with studio.database.write() as connection:
        made = {"uuid": clock.new_id(), "name": "Other", "slug": "other", "tier": "free", "created_at": now}
        number = connection.execute(
            sa.insert(organizations).values(**made).returning(organizations.c.id)
        ).scalar_one()
        connection.execute(sa.insert(accounts).values(organization_id=number, balance=0))
        project = {"uuid": clock.new_id(), "name": DEFAULT_PROJECT, "created_at": now}
        connection.execute(sa.insert(projects).values(organization_id=number, **project))
        return insert_key(connection, studio.signer, organization_id=number, name="owner", role=Role.OWNER)


@contextmanager
def open_server(base: Path) -> Iterator[Server]:
    home = base / "home"
    studio = open_studio(Settings(home=home))
    owner = saved_api_key(home)
    assert owner is not None
    principal = studio.keys.authenticate(owner)
    keys = {role.value: studio.keys.create(principal, name=role.value, role=role)[0] for role in Role}
    elsewhere = another_organization(studio)
    studio.close()
    with open_provider() as provider:
        env = {"TINTYPE_V7_URL": provider.url, "TINTYPE_ROBOFLOW_URL": provider.url}
        process, url = serve(home, env=env)
        try:
            yield Server(home, url, keys, elsewhere, provider)
        finally:
            stop(process)


@dataclass
class Sdk:
    """Scripts in the SDK's interpreter, for one key. ``as_`` gives the same for another."""

    server: Server
    process: subprocess.Popen[str]
    key: str
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of ``Client``."""

    def as_(self, role: str) -> Sdk:
        """With the key of a role, or of the owner ``elsewhere``."""
        return self.with_key(self.server.elsewhere if role == "elsewhere" else self.server.keys[role])

    def with_key(self, key: str) -> Sdk:
        return replace(self, key=key)

    def with_options(self, **options: Any) -> Sdk:
        """With other arguments of ``Client``: ``max_retries``, ``timeout``, ``base_url``."""
        return replace(self, options={**self.options, **options})

    def client_options(self) -> dict[str, Any]:
        """Arguments of ``Client``."""
        return {"api_key": self.key, "base_url": self.server.url, **self.options}

    def run(self, code: str, /, **values: Any) -> Any:
        """What the script returns, as JSON; raises ``SdkError`` with what it raises.

        The code is the body of a function; it sees ``client``, ``pictograph`` and the values.
        """
        job = {"code": code, "values": values, "client": self.client_options()}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job, default=str) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], SCRIPT_SECONDS)
        if not ready:
            self.process.kill()
            raise AssertionError("the script did not end")
        reply = json.loads(self.process.stdout.readline())
        if "error" in reply:
            raise SdkError(reply["error"])
        return reply["value"]

    def fails(self, code: str, /, **values: Any) -> dict[str, Any]:
        """The exception that the script raises: type, bases, message, status_code, request_id, response …"""
        with pytest.raises(SdkError) as raised:
            self.run(code, **values)
        return raised.value.shape

    def cli(self, *arguments: str, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the SDK's command line."""
        own = {"PICTOGRAPH_API_KEY": self.key, "PICTOGRAPH_BASE_URL": self.server.url}
        return subprocess.run(
            [str(PLACE / "bin" / "pictograph"), *arguments],
            env=environment() | own | env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SCRIPT_SECONDS,
        )


def environment() -> dict[str, str]:
    """Of the SDK's processes: nothing of ours, nowhere to go but this machine."""
    kept = {k: v for k, v in os.environ.items() if k in {"PATH", "HOME", "LANG", "TMPDIR"}}
    return kept | {"PYTHONPATH": str(SIDE), "NO_PROXY": "*", "COLUMNS": "200"}


@contextmanager
def running(place: Path, name: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """The interpreter of an SDK, in its own environment, until the end of the block."""
    process = subprocess.Popen(
        [str(place / "bin" / "python"), str(SIDE / "runner.py"), name],
        env=environment() | env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)


@contextmanager
def open_sdk(server: Server) -> Iterator[Sdk]:
    with running(installed(), "pictograph") as process:
        yield Sdk(server, process, server.keys["owner"])
