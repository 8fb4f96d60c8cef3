"""Dry runs through every door, and values of their flag that nobody should take for a yes or a no."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from support.doors import DOORS, Door, Refused, Site

from tintype_server import create_toolkit
from tintype_server.cli.group import root as cli_root
from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.errors import TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio
from tintype_tools.snapshot import NAMESPACE

MCP_DOORS = tuple(name for name in DOORS if name.startswith(("stdio", "http", "sse")))

_numbers = itertools.count()


@dataclass
class World:
    """A dataset of its own for a test, and the workspace behind the doors."""

    site: Site
    studio: Studio
    owner: Principal
    dataset: str

    @property
    def there(self) -> bool:
        return self.studio.datasets.find(self.owner, self.dataset) is not None

    @property
    def made(self) -> bool:
        """Whether a call to ``create_dataset`` with ``new`` took place."""
        return self.studio.datasets.find(self.owner, self.new["name"]) is not None

    @property
    def new(self) -> dict[str, Any]:
        return {"name": f"{self.dataset} new"}


@pytest.fixture(scope="module")
def studio(site: Site) -> Iterator[Studio]:
    opened = open_studio(Settings(home=site.home))
    yield opened
    opened.close()


@pytest.fixture
def world(site: Site, studio: Studio) -> World:
    owner = studio.keys.authenticate(site.owner)
    name = f"dry-{next(_numbers)}"
    studio.datasets.create(owner, name=name)
    return World(site, studio, owner, name)


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, site: Site) -> Door:
    return site.door(str(request.param))


def test_a_deletion_is_told_and_not_done(door: Door, world: World) -> None:
    value = door.call("delete_dataset", {"name": world.dataset}, dry_run=True).value
    assert (value["dry_run"], value["tool"]) == (True, "delete_dataset")
    assert value["approval"] == {"required": True, "reason": "it deletes"}
    assert [(a["kind"], a["dataset"]) for a in value["affected"]] == [("dataset.deleted", world.dataset)]
    assert world.there


def test_it_is_refused_like_the_live_call(door: Door, world: World) -> None:
    for dry_run in (True, False):
        with pytest.raises(Refused) as refused:
            door.call("create_dataset", {"name": world.dataset}, dry_run=dry_run)
        assert refused.value.shape["code"] == "dataset_exists"


def test_the_key_of_a_dry_run_is_free_for_the_live_call(door: Door, world: World) -> None:
    told = door.call("create_dataset", world.new, dry_run=True, idempotency_key=world.dataset).value
    assert (told["affected"][0]["kind"], world.made) == ("dataset.created", False)
    live = door.call("create_dataset", world.new, idempotency_key=world.dataset)
    assert (live.value["name"], live.replayed) == (world.new["name"], False)
    with pytest.raises(Refused) as refused:  # and once it was made, that is what is told, not a stored answer
        door.call("create_dataset", world.new, dry_run=True, idempotency_key=world.dataset)
    assert refused.value.shape["code"] == "dataset_exists"


def test_preview_call_tells_the_same_on_every_door(door: Door, world: World) -> None:
    arguments = {"tool": "delete_dataset", "arguments": json.dumps({"name": world.dataset})}
    told = door.call("preview_call", arguments).value
    assert told == door.call("delete_dataset", {"name": world.dataset}, dry_run=True).value
    assert world.there


@pytest.mark.parametrize("arguments", ["", "[]", "null", '"x"', "{", "{" * 5000, '{"a": NaN}'])
def test_preview_call_refuses_what_are_no_arguments(door: Door, arguments: str) -> None:
    with pytest.raises(Refused) as refused:
        door.call("preview_call", {"tool": "create_dataset", "arguments": arguments})
    assert refused.value.shape["code"] == "invalid_arguments"


# Values of the flag


def dispatch(world: World, value: str | None) -> httpx.Response:
    headers = {"X-API-Key": world.site.owner} | ({} if value is None else {"X-Dry-Run": value})
    address = f"{world.site.url}/api/v1/developer/_dispatch/create_dataset"
    return httpx.post(address, json=world.new, headers=headers)


@pytest.mark.parametrize("value", ["true", "TRUE"])
def test_the_header_says_yes(world: World, value: str) -> None:
    response = dispatch(world, value)
    assert (response.status_code, response.json()["dry_run"], world.made) == (200, True, False)


@pytest.mark.parametrize("value", ["false", "False", None])
def test_the_header_says_no(world: World, value: str | None) -> None:
    assert "dry_run" not in dispatch(world, value).json()
    assert world.made


@pytest.mark.parametrize(
    "value", ["", "yes", "1", "0", "on", "true, false", "tru", "true;x", "{}", "x" * 5000]
)
def test_a_header_that_says_neither_is_refused(world: World, value: str) -> None:
    response = dispatch(world, value)
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_header")
    assert not world.made


def test_the_header_given_twice_never_runs_live(world: World) -> None:
    address = f"{world.site.url}/api/v1/developer/_dispatch/create_dataset"
    key = ("X-API-Key", world.site.owner)
    for values in (("true", "false"), ("true", "true"), ("false", "true")):
        httpx.post(address, json=world.new, headers=[key, *(("X-Dry-Run", value) for value in values)])
        assert not world.made, values


@pytest.mark.parametrize("value", ["yes", "true", "", 1, 0, 1.5, [], [True], {"a": True}], ids=repr)
@pytest.mark.parametrize("door_name", MCP_DOORS)
def test_a_meta_value_that_says_neither_is_refused(world: World, door_name: str, value: Any) -> None:
    door: Any = world.site.door(door_name)
    meta: Any = {f"{NAMESPACE}/dryRun": value}
    result = world.site.portal.call(lambda: door.client.call_tool("create_dataset", world.new, meta=meta))
    assert json.loads(result.content[0].text)["error"]["code"] == "invalid_meta"
    assert not world.made


@pytest.mark.parametrize("door_name", MCP_DOORS)
def test_a_meta_value_of_false_runs_live(world: World, door_name: str) -> None:
    door: Any = world.site.door(door_name)
    meta: Any = {f"{NAMESPACE}/dryRun": False}
    result = world.site.portal.call(lambda: door.client.call_tool("create_dataset", world.new, meta=meta))
    assert (result.is_error, world.made) == (False, True)


@pytest.mark.parametrize("value", ["yes", "false", 1, ["x"]], ids=repr)
def test_a_toolkit_value_that_is_no_bool_never_runs_live_and_is_never_unseen(
    world: World, value: Any
) -> None:
    """Refused, or run dry; in the trail either way."""
    with create_toolkit(api_key=world.site.owner, home=world.site.home) as toolkit:
        try:
            told = toolkit.call("create_dataset", world.new, dry_run=value).value.get("dry_run")
        except TintypeError:
            told = "refused"
    assert told in {True, "refused"}
    assert not world.made
    trail = [c for c in world.studio.audit.list(world.owner, limit=50) if world.new["name"] in c.arguments]
    assert len(trail) == 1


def test_a_value_after_the_flag_is_a_usage_error(world: World) -> None:
    flags = ["--home", str(world.site.home), "--api-key", world.site.owner, "call", "create_dataset"]
    arguments = ["--name", world.new["name"]]
    for flag in (["--dry-run", "no"], ["--dry-run=no"], ["--dryrun"]):
        assert CliRunner().invoke(cli_root, [*flags, *arguments, *flag]).exit_code == 2
        assert not world.made
