"""The EdgeFirst dialect in the test's own process, spoken bare."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.rest import Rest, open_rest

PASSWORD = "correct horse"
_ids = itertools.count(1)


@dataclass
class Spoken:
    """A workspace behind the dialect, with a login for each role, each called as its role."""

    rest: Rest
    tokens: dict[str, str] = field(default_factory=dict)

    def post(self, method: str, params: Any = None, *, bearer: str | None = None, **given: Any) -> Any:
        """The response to one call; ``bearer`` may be a role."""
        credential = self.token(bearer or "owner") if bearer in (None, *self.rest.keys) else bearer
        headers = {"Authorization": f"Bearer {credential}"} | given.pop("headers", {})
        body = {"id": next(_ids), "jsonrpc": "2.0", "method": method, "params": params}
        return self.rest.client.post("/edgefirst/api", json=body, headers=headers, **given)

    def ok(self, method: str, params: Any = None, **given: Any) -> Any:
        """What was answered, or the failure of the test."""
        response = self.post(method, params, **given)
        assert response.status_code == 200
        body = response.json()
        assert "error" not in body, body
        return body["result"]

    def no(self, method: str, params: Any = None, **given: Any) -> tuple[int, str]:
        """Code and text of a refusal."""
        response = self.post(method, params, **given)
        assert response.status_code == 200
        body = response.json()
        assert "result" not in body, body
        return body["error"]["code"], body["error"]["message"]

    def form(
        self, method: str, fields: dict[str, str], files: list[Any], *, bearer: str = "owner", **given: Any
    ) -> Any:
        """The envelope of a form; ``files`` as httpx takes them."""
        headers = {"Authorization": f"Bearer {self.token(bearer)}"}
        response = self.rest.client.post(
            "/edgefirst/api", params={"method": method}, data=fields, files=files, headers=headers, **given
        )
        assert response.status_code == 200
        return response.json()

    def token(self, role: str) -> str:
        """A token of a role's login; of the other organization's key for ``elsewhere``."""
        if role not in self.tokens:
            login = {"username": role, "password": PASSWORD}
            if role == "elsewhere":
                login["password"] = self.rest.keys[role]
            else:
                self.rest.runtime.studio.logins.add(self.rest.owner, role=role, **login)
            body = {"id": 0, "jsonrpc": "2.0", "method": "auth.login", "params": login}
            answer = self.rest.client.post("/edgefirst/api", json=body).json()
            self.tokens[role] = answer["result"]["token"]
        return self.tokens[role]


@contextmanager
def open_spoken(home: Path, **settings: Any) -> Iterator[Spoken]:
    with open_rest(home, **settings) as rest:
        yield Spoken(rest)
