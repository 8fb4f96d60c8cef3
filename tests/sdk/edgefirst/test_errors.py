"""What the published client shows of our refusals: the sentence and the way out, wherever it shows any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.edgefirst import VERSIONS, EdgeFirstSdk, open_edgefirst_server
from support.pictures import jpeg
from support.sdk import Server

MADE = """
project = client.projects("default")[0]
dataset = client.create_dataset(str(project.id), name)
annotation_set = client.create_annotation_set(dataset, "truth")
sample = Sample()
sample.set_image_name("a.jpg")
sample.add_file(SampleFile("image", picture))
client.populate_samples(dataset, annotation_set, [sample])
(found,) = client.samples(dataset, annotation_set)
client.add_label(dataset, "car")
return {
    "project": str(project.id), "dataset": dataset, "annotation_set": annotation_set,
    "sample": str(found.id), "label": client.labels(dataset)[0].id,
    "group": client.get_or_create_group(dataset, "train"),
}
"""


@pytest.fixture(scope="module")
def made(edgefirst_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Ids of one dataset with a sample, by what they are of."""
    from support.edgefirst import open_edgefirst

    picture = tmp_path_factory.mktemp("errors") / "a.jpg"
    picture.write_bytes(jpeg())
    with open_edgefirst(edgefirst_server, VERSIONS[0]) as sdk:
        yield sdk.run(MADE, name="errors", picture=str(picture)) | {"picture": str(picture)}


REACHING = {
    "project": "client.project(project)",
    "datasets": "client.datasets(project)",
    "experiments": "client.experiments(project)",
    "validation sessions": "client.validation_sessions(project)",
    "create": "client.create_dataset(project, 'stolen')",
    "dataset": "client.dataset(dataset)",
    "delete": "client.delete_dataset(dataset)",
    "labels": "client.labels(dataset)",
    "add_label": "client.add_label(dataset, 'mine')",
    "remove_label": "client.remove_label(label)",
    "groups": "client.groups(dataset)",
    "group": "client.get_or_create_group(dataset, 'mine')",
    "assign": "client.set_sample_group_id(sample, group)",
    "annotation sets": "client.annotation_sets(dataset)",
    "annotation set": "client.annotation_set(annotation_set)",
    "create set": "client.create_annotation_set(dataset, 'mine')",
    "delete set": "client.delete_annotation_set(annotation_set)",
    "annotations": "client.annotations(annotation_set)",
    "samples": "client.samples(dataset)",
    "count": "client.samples_count(dataset)",
    "names": "client.sample_names(dataset)",
    "frame": "client.samples_dataframe(dataset)",
    "sizes": "client.update_sample_dimensions(dataset, [(sample, 1, 1)])",
    "download": "client.download_dataset(dataset, output='/tmp/nowhere')",
    "snapshot": "client.create_snapshot_from_dataset(dataset, 'mine', annotation_set)",
}


@pytest.mark.parametrize("call", REACHING)
def test_another_organization_s_ids_do_not_exist(sdk: EdgeFirstSdk, made: dict[str, Any], call: str) -> None:
    failure = sdk.as_("elsewhere").fails(f"return {REACHING[call]}", **made)
    assert "RpcError(101" in failure["message"], failure["message"]
    assert failure["message"].count(".") >= 2, "a sentence, and what to do"


def test_nothing_of_it_was_done(sdk: EdgeFirstSdk, made: dict[str, Any]) -> None:
    told = sdk.run(
        """
        groups = sorted(each.name for each in client.groups(dataset))
        labels = [each.name for each in client.labels(dataset)]
        return groups, labels, client.samples_count(dataset).total, client.samples(dataset)[0].group
        """,
        **made,
    )
    assert told == [["train"], ["car"], 1, None]


WRITES = [
    "client.create_dataset(project, 'viewed')",
    "client.add_label(dataset, 'viewed')",
    "client.delete_dataset(dataset)",
    "client.create_annotation_set(dataset, 'viewed')",
    "client.get_or_create_group(dataset, 'viewed')",
]


@pytest.mark.parametrize("call", WRITES)
def test_a_viewer_changes_nothing(sdk: EdgeFirstSdk, made: dict[str, Any], call: str) -> None:
    failure = sdk.as_("viewer").fails(f"return {call}", **made)
    assert ("PermissionDenied" if sdk.newest else "RpcError(403") in failure["message"], failure["message"]
    assert sdk.as_("viewer").run("return client.dataset(dataset).name", **made) == "errors"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("client.dataset('ds-ffffff')", "RpcError(101"),
        ("client.dataset(2**63 + 5)", "RpcError(101"),
        ("client.task_info('task-ffffff')", "101"),
        ("client.job_stop('task-ffffff')", "TaskNotFound"),
        ("client.snapshot('ss-ffffff')", "RpcError(101"),
        ("client.training_session('t-ffffff')", "RpcError(101"),
        ("client.validation_session('v-ffffff')", "RpcError(101"),
        ("client.create_dataset(project, 'errors')", "RpcError(3"),
        ("client.create_dataset(project, 'a/b')", "RpcError(3"),
        ("client.create_annotation_set(dataset, 'truth')", "RpcError(3"),
        ("client.job_run('no such app', 'x')", "RpcError(101"),
        ("client.samples(dataset, groups=['no such group'])", None),
        ("client.remove_label(999999)", "RpcError(101"),
        ("client.update_sample_dimensions(dataset, [(sample, 0, 0)])", "RpcError(3"),
    ],
)
def test_refusals_say_what_to_do(
    sdk: EdgeFirstSdk, made: dict[str, Any], call: str, words: str | None
) -> None:
    if words is None:
        assert sdk.run(f"return {call}", **made) == []
        return
    failure = sdk.fails(f"return {call}", **made)
    assert words in failure["message"], failure["message"]


def test_a_file_that_is_no_picture(sdk: EdgeFirstSdk, made: dict[str, Any], tmp_path: Path) -> None:
    """The upload fails with a text, and leaves a sample without a picture, which can be sent again."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    failure = sdk.fails(
        """
        one = Sample()
        one.set_image_name(name)
        one.add_file(SampleFile("image", bad))
        client.populate_samples(dataset, annotation_set, [one])
        """,
        **made,
        bad=str(bad),
        name=f"bad-{sdk.version}.jpg",
    )
    assert failure["type"] == "RuntimeError"


def test_a_server_that_changes_nothing(tmp_path: Path) -> None:
    """``--read-only``: reads work, writes are refused."""
    from support.doors import serve, stop
    from support.edgefirst import open_edgefirst

    with open_edgefirst_server(tmp_path) as server:
        process, url = serve(server.home, "--read-only")
        closed = Server(server.home, url, server.keys, server.elsewhere, server.provider)
        try:
            with open_edgefirst(closed, VERSIONS[0]) as sdk:
                assert sdk.run("return [each.name for each in client.projects()]") == ["default"]
                failure = sdk.fails("client.create_dataset(str(client.projects()[0].id), 'x')")
                assert "RpcError(3" in failure["message"] or "PermissionDenied" in failure["message"]
        finally:
            stop(process)
