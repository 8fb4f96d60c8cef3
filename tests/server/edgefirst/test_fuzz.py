"""Whatever is sent to a method: status 200, an envelope, text that says what to do, and never a defect.

The parameters are those whose names stand in the handler; in half of them, values are ids and names of things
that exist. ``TINTYPE_FUZZ_EXAMPLES`` sets how many calls each method gets.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.edgefirst_rpc import Spoken, open_spoken
from support.pictures import jpeg

from tintype_server.edgefirst.methods import FORMS, GETS, METHODS

EXAMPLES = int(os.environ.get("TINTYPE_FUZZ_EXAMPLES", "12"))
GENTLE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="TINTYPE_FUZZ_EXAMPLES" not in os.environ,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
ENDS = {"auth.logout"}
"""What would end the token that the others come with."""

WORDS = (
    "name",
    "box2d",
    "mask",
    "image",
    "lidar.pcd",
    "train",
    "default",
    "car",
    "",
    "ä№",
    "\0",
    "p-1",
    "ds-1",
    "v1",
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.sampled_from([2**31, 2**53, 2**63, -(2**63), 2**64 - 1]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(WORDS),
    st.text(max_size=12),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=3),
    ),
    max_leaves=6,
)


@dataclass
class World:
    """A workspace with something in it, and which ids and names mean something there."""

    spoken: Spoken
    known: dict[str, list[Any]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_spoken(tmp_path_factory.mktemp("fuzz") / "home") as spoken:
        studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
        studio.jobs.supervisor.enabled = False
        studio.jobs.alone.enabled = False
        dataset = studio.datasets.create(owner, name="signs")
        for number in range(3):
            studio.ingest.add_image(owner, dataset, data=jpeg(seed=number), filename=f"{number}.jpg")
        project = spoken.ok("project.list")[0]["id"]
        (made,) = spoken.ok("dataset.list", {"project_id": project})
        spoken.ok(
            "label.add2", {"dataset_id": made["id"], "labels": [{"name": "car"}, {"name": "bus", "index": 7}]}
        )
        annset = spoken.ok("annset.add", {"dataset_id": made["id"], "name": "truth", "operator": "owner"})[
            "id"
        ]
        spoken.ok("groups.create", {"dataset_id": made["id"], "group_names": ["train"], "group_splits": [0]})
        listed = spoken.ok("samples.list", {"dataset_id": made["id"]})["samples"]
        ids = [each["id"] for each in listed]
        spoken.ok("version.tag.create", {"dataset_id": made["id"], "name": "v1"})

        def tool(name: str, /, **arguments: Any) -> dict[str, Any]:
            found: dict[str, Any] = spoken.rest.ok("POST", f"/_dispatch/{name}", json=arguments)
            return found

        experiment = tool("create_experiment", name="runs")["id"]
        tool("create_session", experiment_id=experiment, name="mine", model="small", dataset_name="signs")
        known: dict[str, list[Any]] = {
            "project_id": [project, f"p-{project:x}"],
            "dataset_id": [made["id"]],
            "annotation_set_id": [annset],
            "image_id": ids,
            "image_ids": [ids],
            "sample_ids": [ids],
            "label_id": [each["id"] for each in spoken.ok("label.list", {"dataset_id": made["id"]})],
            "group_id": [each["id"] for each in spoken.ok("groups.list", {"dataset_id": made["id"]})],
            "id": [1, made["id"], annset],
            "name": ["signs", "truth", "fresh"],
            "labels": [[{"name": "x"}], [{"name": "car", "index": 9}]],
            "samples": [
                [{"id": ids[0], "width": 64, "height": 48}],
                [
                    {
                        "image_name": "n.jpg",
                        "annotations": [{"label_name": "car", "box2d": {"x": 0, "y": 0, "w": 1, "h": 1}}],
                    }
                ],
                [{"uuid": listed[0]["uuid"], "files": {"image": "a.jpg"}}],
            ],
            "types": [["box2d"], ["image"], ["mask", "lidar.pcd"]],
            "params": [{"params": {"a": 1}}, {}],
            "keys": [["a.arrow", "a.zip"]],
            "file_sizes": [[10, 20]],
            "continue_token": ["", "x", "1"],
            "snapshot_id": [1],
            **{
                name: [1]
                for name in ("task_id", "docker_task_id", "session_id", "trainer_id", "trainer_session_id")
            },
            **{name: [1] for name in ("training_session_id", "validate_session_id")},
            "session_ids": [[1]],
            "metrics": [{"loss": 0.5}, {"a": {"b": [1, "x"]}}],
            "stages": [[{"load": "Loading"}]],
            "tag": ["v1"],
            "tag_name": ["v1"],
            "annotation_types": [["box"]],
            "updates": [[]],
        }
        yield World(spoken, known)


def names_of(name: str) -> list[str]:
    """The words of a handler, most of them parameters."""
    handler = METHODS.get(name) or FORMS.get(name) or GETS[name]
    found = re.findall(r'"([a-z_0-9]+)"', inspect.getsource(handler))
    return sorted({*found, "dataset_id", "id"})


def drawn(data: Any, names: list[str], known: dict[str, list[Any]]) -> dict[str, Any]:
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True, max_size=len(names)))
    meant = data.draw(st.booleans())
    params = {}
    for name in chosen:
        if meant and name in known and data.draw(st.integers(0, 4)):
            params[name] = data.draw(st.sampled_from(known[name]))
        else:
            params[name] = data.draw(VALUES)
    return params


def require_envelope(name: str, sent: Any, response: Any) -> None:
    """Raise unless the answer is one that clients can read."""
    told = f"{name} {sent!r}: {response.status_code} {response.text[:500]}"
    assert response.status_code == 200, told
    if response.headers["content-type"] != "application/json":
        return
    body = response.json()
    assert isinstance(body["id"], str), told
    assert isinstance(body["jsonrpc"], str), told
    if "result" in body:
        assert body["result"] is not None, told
        return
    error = body["error"]
    assert isinstance(error["code"], int), told
    assert error["message"].strip(), told
    assert (error.get("data") or {}).get("code") != "internal", told


def ask(world: World, name: str) -> None:
    """Call a method as hypothesis says; raises what it found."""
    names = names_of(name)

    @GENTLE
    @given(data=st.data())
    def attempt(data: Any) -> None:
        params = drawn(data, names, world.known)
        require_envelope(name, params, world.spoken.post(name, params))

    attempt()


def fill(world: World, name: str) -> None:
    """Send a form as hypothesis says; raises what it found."""
    names = [
        each for each in (*names_of(name), "params", "folder", "session_id", "task_id") if each != "file"
    ]

    @GENTLE
    @given(data=st.data())
    def attempt(data: Any) -> None:
        params = drawn(data, names, world.known)
        fields = {
            key: value if isinstance(value, str) else json.dumps(value) for key, value in params.items()
        }
        filename = data.draw(st.sampled_from(["a", "../a", "a/b", "ä", "artifacts/x", ""]))
        headers = {"Authorization": f"Bearer {world.spoken.token('owner')}"}
        sent = world.spoken.rest.client.post(
            "/edgefirst/api",
            params={"method": name},
            data=fields,
            files=[("file", (filename, b"x"))],
            headers=headers,
        )
        require_envelope(name, fields, sent)

    attempt()


@pytest.mark.parametrize("shard", range(4))
def test_no_call_breaks_the_server(world: World, shard: int) -> None:
    broken = []
    for name in sorted(set(METHODS) - ENDS)[shard::4]:
        try:
            ask(world, name)
        except Exception as error:
            broken.append(f"{type(error).__name__}: {error}")
    assert not broken, "\n\n".join(broken)


def test_no_form_breaks_the_server(world: World) -> None:
    broken = []
    for name in sorted(FORMS):
        try:
            fill(world, name)
        except Exception as error:
            broken.append(f"{type(error).__name__}: {error}")
    assert not broken, "\n\n".join(broken)


def test_no_address_breaks_the_server(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.spoken.token('owner')}"}
    for name in GETS:
        for query in (
            "",
            "?training_session_id=1&file=x",
            "?training_session_id=-1",
            "?file=../x&training_session_id=ä",
        ):
            response = world.spoken.rest.client.get(f"/edgefirst/{name}{query}", headers=headers)
            assert 400 <= response.status_code < 500, (name, query, response.text)


IDS = re.compile(r"(_id|^id)$")
OWN = {
    *("version", "auth.refresh", "auth.verify_token", "accounting.get_usage_summary", "org.get"),
    *("project.list", "snapshots.list", "task.list", "job.list", "recycle.list"),
    *("trainer.server.schema", "validate.schema"),
}
"""Methods that tell of the caller's own organization alone, and take no id of anything."""


def test_ids_of_another_organization_do_not_exist(world: World) -> None:
    """Every method that takes an id of something refuses those that somebody elsewhere has."""
    wrong = []
    for name in sorted(set(METHODS) - ENDS - OWN):
        fitting = {key: values[0] for key, values in world.known.items() if key in names_of(name)}
        if not any(IDS.search(key) for key in fitting):
            continue
        body = world.spoken.post(
            name, {**fitting, "project_id": world.known["project_id"][0]}, bearer="elsewhere"
        ).json()
        if "result" in body:
            wrong.append((name, body["result"]))
    assert not wrong, "\n".join(f"{name}: {result}" for name, result in wrong)
