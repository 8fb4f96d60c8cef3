"""Every method of both versions of the client that speaks with a server, each answered once, in one story.

The record of what returned is kept inside the client's interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from support.edgefirst import USERNAME, VERSIONS, EdgeFirstSdk, open_edgefirst, use_tool
from support.edgefirst_story import NEWER, STORY
from support.pictures import jpeg
from support.sdk import SdkError, Server

HEAD = """
import recorded, time, os
global client
client = recorded.Recorded(client)

def project():
    return client.projects(named)[0]

def dataset():
    return project().datasets(data)[0]

def labels():
    return {each.name: each for each in dataset().labels()}

def until(look, seconds=60):
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "it did not come to its end"
        time.sleep(0.2)

def ended(task, seconds=60):
    until(lambda: client.task_info(task).status in ("complete", "failed", "cancelled"), seconds)
    return client.task_info(task).status

def fails(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except RuntimeError as error:
        return str(error)
    raise AssertionError("it did not fail")
"""


@pytest.fixture(scope="module", params=VERSIONS)
def told(
    request: pytest.FixtureRequest, edgefirst_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[EdgeFirstSdk, Path]]:
    """A client with an interpreter of its own, a project and an experiment, and files to send."""
    folder = tmp_path_factory.mktemp("story")
    for number in range(6):
        (folder / f"m{number}.jpg").write_bytes(jpeg(64, 48, seed=number))
    (folder / "cloud.pcd").write_bytes(PCD)
    (folder / "notes.txt").write_text("notes")
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 40)
    with open_edgefirst(edgefirst_server, request.param) as sdk:
        yield sdk, folder


PCD = b"""# .PCD v0.7
VERSION 0.7
FIELDS x y z
SIZE 4 4 4
TYPE F F F
COUNT 1 1 1
WIDTH 2
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 2
DATA ascii
1 2 3
4 5 6
"""


def test_every_method(told: tuple[EdgeFirstSdk, Path]) -> None:
    sdk, folder = told
    named, data = f"story {sdk.version}", f"data {sdk.version}"
    use_tool(sdk.server, "create_project", name=named)
    experiment = use_tool(sdk.server, "create_experiment", project=named, name="runs", description="told")
    values = {"folder": str(folder), "username": USERNAME, "newest": sdk.newest, "named": named, "data": data}
    failures = []
    for part, code in [*STORY.items(), *(NEWER.items() if sdk.newest else ())]:
        try:
            if part.startswith("experiments"):  # which only the newer client can begin
                asked = {"experiment_id": experiment["id"], "dataset_name": data, "annotation_set": "truth"}
                use_tool(sdk.server, "create_session", name="mine", model="small", val_group="test", **asked)
            sdk.run(HEAD + dedent(code), **values)
        except AssertionError as error:
            failures.append(f"{part}: {error}")
        except SdkError as error:
            lines = re.findall(r'File "script".*\n(?:    .*\n)*', error.shape["trace"])
            failures.append(f"{part}: {error.shape['type']}: {error.shape['message']}\n{''.join(lines)}")
    returned, wanted = sdk.run(
        "import recorded; return sorted(recorded.returned), sorted(recorded.methods())"
    )
    missing = sorted(set(wanted) - set(returned))
    assert not failures, "\n".join([*failures, f"without an answer: {missing}"])
    assert missing == []
    assert len(wanted) == (151 if sdk.newest else 114)
