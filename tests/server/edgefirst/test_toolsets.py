"""A key that is limited to toolsets reads nothing of the others through the dialect either."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import pytest
from support.edgefirst_rpc import Spoken, open_spoken

from tintype_server.edgefirst.app import AREAS
from tintype_server.edgefirst.methods import FORMS, GETS, METHODS, OPEN_TO_ALL, toolset_of
from tintype_tools.snapshot import load_snapshot

for _area in AREAS:
    import_module(f"tintype_server.edgefirst.rpc_{_area}")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoken]:
    with open_spoken(tmp_path_factory.mktemp("toolsets") / "home") as opened:
        yield opened


@pytest.fixture(scope="module")
def limited(spoken: Spoken) -> str:
    studio = spoken.rest.runtime.studio
    owner = studio.keys.authenticate(spoken.rest.keys["owner"])
    return studio.keys.create(owner, name="limited", role="admin", toolsets=["search"])[0]


def test_every_method_belongs_to_a_toolset_that_there_is() -> None:
    known = {tool["toolset"] for tool in load_snapshot()["tools"]}
    for name in {*METHODS, *FORMS, *GETS} - OPEN_TO_ALL:
        assert toolset_of(name) in known, name


@pytest.mark.parametrize("name", sorted(METHODS.keys() - OPEN_TO_ALL))
def test_a_method(spoken: Spoken, limited: str, name: str) -> None:
    answer = spoken.post(name, {}, bearer=limited).json()
    assert answer["error"]["code"] == 403
    assert answer["error"]["data"]["code"] == "toolset_required"


@pytest.mark.parametrize("name", sorted(FORMS))
def test_a_form(spoken: Spoken, limited: str, name: str) -> None:
    answer = spoken.rest.client.post(
        f"/edgefirst/api?method={name}",
        files={"file": ("a", b"x")},
        headers={"Authorization": f"Bearer {limited}"},
    ).json()
    assert answer["error"]["data"]["code"] == "toolset_required"


@pytest.mark.parametrize("name", sorted(GETS))
def test_an_address_of_files(spoken: Spoken, limited: str, name: str) -> None:
    response = spoken.rest.client.get(f"/edgefirst/{name}", headers={"Authorization": f"Bearer {limited}"})
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "toolset_required"
