"""The REST dialect in the test's own process, one client per role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient
from support.sdk import another_organization

from tintype_server.http.app import build_app
from tintype_server.runtime import Runtime
from tintype_server.settings import Settings
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role

API = "/api/v1/developer"


@dataclass
class Rest:
    """A workspace behind the dialect. ``keys`` has one for each role, and of the owner ``elsewhere``."""

    runtime: Runtime
    client: TestClient
    owner: Principal
    keys: dict[str, str]

    def send(
        self, method: str, path: str, *, role: str = "owner", key: str | None = None, **given: Any
    ) -> Any:
        """The response; a path without the API's prefix gets it."""
        headers = {"X-API-Key": key or self.keys[role]} | given.pop("headers", {})
        address = path if path.startswith("/api/") else f"{API}{path}"
        return self.client.request(method, address, headers=headers, **given)

    def ok(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        """The body of a 200."""
        response = self.send(method, path, **given)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    def no(self, method: str, path: str, **given: Any) -> tuple[int, str]:
        """Status and code of a refusal."""
        response = self.send(method, path, **given)
        body = response.json()
        assert isinstance(body["detail"], str | list), body
        return response.status_code, body["error"]["code"]


@contextmanager
def open_rest(home: Path, **settings: Any) -> Iterator[Rest]:
    runtime = Runtime.open(Settings(home=home, **settings))
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    keys = {role.value: runtime.studio.keys.create(owner, name=role, role=role)[0] for role in Role}
    keys["elsewhere"] = another_organization(runtime.studio)
    with TestClient(build_app(runtime), raise_server_exceptions=False) as client:
        yield Rest(runtime, client, owner, keys)
    runtime.close()
