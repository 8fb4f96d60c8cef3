"""The examples of the client's documentation, with both published versions, in a world that they speak of."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from support.edgefirst import PASSWORD, USERNAME, VERSIONS, EdgeFirstSdk, open_edgefirst, use_tool
from support.edgefirst_examples import EXAMPLES
from support.pictures import jpeg
from support.ready_models import png, scene
from support.recordings import camera, gps, write
from support.sdk import Server

NAME = "edgefirst-client-api.txt"

WORLD = """
import os
made = client.projects(named)[0]
dataset_id = client.create_dataset(str(made.id), named)
annotation_set_id = client.create_annotation_set(dataset_id, "truth")
def sample(number):
    one = Sample()
    one.set_image_name(f"m{number}.jpg")
    one.set_group("train")
    one.add_file(SampleFile("image", f"{folder}/m{number}.jpg"))
    box = Annotation()
    box.set_label("sign")
    box.set_box2d(Box2d(0.25, 0.25, 0.5, 0.5))
    one.add_annotation(box)
    return one
client.populate_samples(dataset_id, annotation_set_id, [sample(number) for number in range(3)])
return str(made.id), dataset_id, annotation_set_id
"""
SESSIONS = """
import os, time
def until(look):
    end = time.monotonic() + 60
    while not look():
        assert time.monotonic() < end, "it did not come to its end"
        time.sleep(0.2)
(experiment,) = client.experiments(project_id)
(session,) = experiment.training_sessions()
session.upload_artifact("labels.txt", f"{folder}/labels.txt")
session.upload_checkpoint("best.pt", f"{folder}/best.pt")
check = client.start_validation_session(project_id, "check", session.id, "labels.txt", "user", is_local=True,
    dataset_id=dataset_id, annotation_set_id=annotation_set_id)
kept = client.create_snapshot_from_dataset(dataset_id, "kept", annotation_set_id).id
until(lambda: client.snapshot(kept).status == "available")
client.download_snapshot(kept, f"{folder}/kept")
for name in os.listdir(f"{folder}/kept"):
    os.rename(f"{folder}/kept/{name}", f"{folder}/dataset.{name.rpartition('.')[2]}")
return str(experiment.id), str(session.id), str(check.session_id), str(kept)
"""
HEAD = """
import os, time
os.chdir(folder)
os.environ["XDG_CONFIG_HOME"] = folder
global client
dataset, annotation_set = client.dataset(dataset_id), client.annotation_set(annotation_set_id)
sample_id = client.samples(dataset_id)[0].id
experiment = client.experiment(experiment_id) if experiment_id else None
training_session = client.training_session(session_id) if session_id else None
validation_session = client.validation_session(check_id) if check_id else None

def until(look, seconds=60):
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "it did not come to its end"
        time.sleep(0.2)

def ended(task):
    until(lambda: client.task_info(task).status in ("complete", "failed", "cancelled"))
    return client.task_info(task).status

def fails(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except RuntimeError as error:
        return str(error)
    raise AssertionError("it did not fail")

logged_in = client
def example():
    client = logged_in
"""


@dataclass
class Seen:
    """A client, and what its examples speak of."""

    sdk: EdgeFirstSdk
    values: dict[str, Any]


@pytest.fixture(scope="module", params=VERSIONS)
def seen(
    request: pytest.FixtureRequest, edgefirst_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("examples")
    for number in range(3):
        (folder / f"m{number}.jpg").write_bytes(jpeg(64, 48, seed=number))
    (folder / "path" / "to").mkdir(parents=True)
    (folder / "path" / "to" / "test.png").write_bytes(png(scene(64, 48)))
    (folder / "data.mcap").write_bytes(write([camera("/camera/image", 3), gps()]))
    (folder / "labels.txt").write_bytes(b"car")
    (folder / "best.pt").write_bytes(b"weights")
    with open_edgefirst(edgefirst_server, request.param) as sdk:
        named = f"seed {sdk.version}"
        use_tool(sdk.server, "create_project", name=named)
        experiment = use_tool(sdk.server, "create_experiment", project=named, name="runs")
        values: dict[str, Any] = {"folder": str(folder), "named": named}
        made = sdk.run(WORLD, **values)
        values |= dict(zip(("project_id", "dataset_id", "annotation_set_id"), made, strict=True))
        asked = {"experiment_id": experiment["id"], "dataset_name": named, "annotation_set": "truth"}
        use_tool(sdk.server, "create_session", name="mine", model="small", **asked)
        more = sdk.run(SESSIONS, **values)
        values |= dict(zip(("experiment_id", "session_id", "check_id", "snapshot_id"), more, strict=True))
        values |= {"username": USERNAME, "password": PASSWORD, "url": f"{sdk.server.url}/edgefirst"}
        yield Seen(sdk, values | {"newest": sdk.newest, "version": sdk.version})


@pytest.mark.parametrize("number", range(1, len(EXAMPLES) + 1))
def test_example(seen: Seen, number: int) -> None:
    code = dedent(EXAMPLES[number - 1].code).strip("\n")
    body = "\n".join(f"    {line}" for line in code.splitlines())
    seen.sdk.run(f"{HEAD}{body}\nreturn example()", **seen.values)


def document() -> Path:
    """The documentation, which is not part of this repository."""
    told = os.environ.get("TEST_SEEDS")
    folder = Path(told) if told else Path(__file__).parents[4] / "shared" / "seeds"
    if not (folder / NAME).is_file():
        pytest.skip("the seed documentation is not here; set TEST_SEEDS to its folder")
    return folder / NAME


def examples_of(text: str) -> list[str]:
    """The examples, in order: one line after ``Example``, or the lines with prompts after ``Examples:``."""
    lines, found = text.splitlines(), []
    ends = {"property", "See Also", "Note", "Example", "Examples:"}
    for number, line in enumerate(lines):
        if line == "Example":
            found.append(lines[number + 1])
        elif line == "Examples:":
            code = []
            for each in lines[number + 1 : number + 45]:
                if each in ends or re.match(r"[a-z_]+\(", each):
                    break
                code += [each] if each.startswith((">>>", "...")) else []
            found.append("\n".join(code))
    return found


def calls_of(code: str) -> set[str]:
    """Methods that a piece of code calls."""
    return set(re.findall(r"\.(\w+)\(", re.sub(r"# .*", "", code)))


def test_every_example_is_here_and_makes_its_calls() -> None:
    examples = examples_of(document().read_text())
    assert len(examples) == len(EXAMPLES)
    for number, (theirs, ours) in enumerate(zip(examples, EXAMPLES, strict=True), 1):
        absent = calls_of(theirs) - calls_of(ours.code) - {"write"}
        assert absent == set(ours.cannot) & absent, (number, absent)


def test_what_cannot_run_has_a_reason() -> None:
    for example in EXAMPLES:
        assert not example.cannot or example.why
