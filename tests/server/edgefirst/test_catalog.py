"""Projects, datasets, annotation sets, labels and groups in the dialect: good input, and bad."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.edgefirst_rpc import Spoken, open_spoken
from support.pictures import scene

from tintype_studio.annotations.labels import NewLabel
from tintype_studio.catalog.samples import Sample

_names = itertools.count(1)
NO_ID = 10**12


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoken]:
    with open_spoken(tmp_path_factory.mktemp("catalog") / "home") as opened:
        yield opened


def project(spoken: Spoken, bearer: str = "owner") -> int:
    return int(spoken.ok("project.list", bearer=bearer)[0]["id"])


def make(spoken: Spoken, bearer: str = "owner") -> tuple[int, str]:
    name = f"signs {next(_names)}"
    params = {"project_id": f"p-{project(spoken, bearer):x}", "name": name}
    return int(spoken.ok("dataset.create", params, bearer=bearer)["id"]), name


def picture(spoken: Spoken, name: str) -> Sample:
    studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
    dataset = studio.datasets.get(owner, name)
    return studio.ingest.add_image(owner, dataset, data=scene(), filename="a.png")


def labels(spoken: Spoken, dataset: int) -> dict[str, int]:
    return {each["name"]: each["index"] for each in spoken.ok("label.list", {"dataset_id": dataset})}


def label_id(spoken: Spoken, dataset: int, name: str) -> int:
    found = spoken.ok("label.list", {"dataset_id": dataset})
    return next(int(each["id"]) for each in found if each["name"] == name)


def update(spoken: Spoken, dataset: int, name: str, index: int, new_name: str | None = None) -> Any:
    params = {
        "dataset_id": dataset,
        "label_id": label_id(spoken, dataset, name),
        "label_name": new_name or name,
        "label_index": index,
    }
    return spoken.ok("label.update", params)


def test_the_organization(spoken: Spoken) -> None:
    found = spoken.ok("org.get")
    assert set(found) == {"id", "name", "latest_credit"}
    assert type(found["latest_credit"]) is int
    assert found["id"] != spoken.ok("org.get", bearer="elsewhere")["id"]


def test_projects_and_what_is_in_them(spoken: Spoken) -> None:
    owner = spoken.rest.owner
    road = spoken.rest.runtime.studio.projects.create(owner, name="road")
    listed = spoken.ok("project.list")
    assert [(each["name"], each["description"]) for each in listed] == [("default", ""), ("road", "")]
    assert spoken.ok("project.get", {"project_id": road.row_id}) == listed[1]
    params = {"project_id": f"p-{road.row_id:x}", "name": "inside", "description": "d"}
    made = spoken.ok("dataset.create", params)["id"]
    (inside,) = spoken.ok("dataset.list", {"project_id": road.row_id})
    assert inside == spoken.ok("dataset.get", {"dataset_id": made})
    assert (inside["id"], inside["project_id"], inside["name"], inside["description"]) == (
        made,
        road.row_id,
        "inside",
        "d",
    )
    assert inside["cloud_key"]
    assert inside["createdAt"].endswith("Z")
    assert spoken.ok("dataset.delete", {"id": made}) == "ok"
    assert spoken.ok("dataset.list", {"project_id": road.row_id}) == []


def test_a_version_is_told(spoken: Spoken) -> None:
    dataset, name = make(spoken)
    version = spoken.rest.runtime.studio.versions.create(
        spoken.rest.owner, name, name="v1", description="first"
    )
    found = spoken.ok("dataset.get", {"dataset_id": dataset})
    assert (found["tag_id"], found["tag"], found["tag_description"]) == (version.row_id, "v1", "first")


def test_labels_and_sets_at_a_version(spoken: Spoken) -> None:
    dataset, name = make(spoken)
    spoken.ok("label.add2", {"dataset_id": dataset, "labels": [{"name": "car", "index": 4}]})
    now = spoken.ok("label.list", {"dataset_id": dataset})
    sets = spoken.ok("annset.list", {"dataset_id": dataset})
    spoken.rest.runtime.studio.versions.create(spoken.rest.owner, name, name="v1")
    spoken.ok("label.del", {"label_id": now[0]["id"]})
    spoken.ok("annset.add", {"dataset_id": dataset, "name": "model", "operator": "x"})
    assert spoken.ok("label.list", {"dataset_id": dataset}) == []
    (then,) = spoken.ok("label.list", {"dataset_id": dataset, "tag": "v1"})
    assert (then["name"], then["index"]) == ("car", 4)
    assert spoken.ok("annset.list", {"dataset_id": dataset, "tag": "v1"}) == sets
    assert spoken.no("label.list", {"dataset_id": dataset, "tag": "no such"})[0] == 101
    assert spoken.no("annset.list", {"dataset_id": dataset, "tag": "no such"})[0] == 101


def test_annotation_sets(spoken: Spoken) -> None:
    dataset, _ = make(spoken)
    params = {"dataset_id": dataset, "name": "model", "operator": "somebody else", "description": "d"}
    made = spoken.ok("annset.add", params)["id"]
    first, second = spoken.ok("annset.list", {"dataset_id": dataset})
    assert (first["name"], first["description"]) == ("default", "")
    assert second == spoken.ok("annset.get", {"annotation_set_id": made})
    assert (second["id"], second["dataset_id"], second["name"], second["description"]) == (
        made,
        dataset,
        "model",
        "d",
    )
    assert spoken.ok("annset.del", {"id": made}) == "ok"
    assert spoken.no("annset.get", {"annotation_set_id": made})[0] == 101
    code, text = spoken.no("annset.del", {"id": first["id"]})
    assert code == 3
    assert "delete" in text.lower()


def test_labels_are_added_once(spoken: Spoken) -> None:
    dataset, _ = make(spoken)
    asked = {
        "dataset_id": dataset,
        "labels": [{"name": "a", "index": 7}, {"name": "b"}, {"name": "c", "index": None}],
    }
    for _ in range(2):
        assert spoken.ok("label.add2", asked) == "ok"
    assert labels(spoken, dataset) == {"a": 7, "b": 8, "c": 9}
    assert spoken.ok("label.add2", {"dataset_id": dataset, "labels": []}) == "ok"


def test_a_colour_is_a_number(spoken: Spoken) -> None:
    dataset, name = make(spoken)
    blue = NewLabel("a", color="#0000ff")
    spoken.rest.runtime.studio.labels.change(spoken.rest.owner, name, add=[blue])
    (label,) = spoken.ok("label.list", {"dataset_id": dataset})
    assert (label["color"], label["dataset_id"]) == (255, dataset)


def test_the_two_passes_of_a_swap(spoken: Spoken) -> None:
    dataset, _ = make(spoken)
    spoken.ok("label.add2", {"dataset_id": dataset, "labels": [{"name": "a"}, {"name": "b"}]})
    for name, index in (("a", 100_001), ("b", 100_000), ("a", 1), ("b", 0)):
        assert update(spoken, dataset, name, index) == "ok"
    assert labels(spoken, dataset) == {"b": 0, "a": 1}


def test_a_swap_that_collides_on_its_way(spoken: Spoken) -> None:
    """Step by step one index may be had twice; a label that is added cannot take one that is taken."""
    dataset, _ = make(spoken)
    spoken.ok("label.add2", {"dataset_id": dataset, "labels": [{"name": "a"}, {"name": "b"}]})
    update(spoken, dataset, "a", 1)
    assert labels(spoken, dataset) == {"a": 1, "b": 1}
    code, text = spoken.no(
        "label.add2", {"dataset_id": dataset, "labels": [{"name": "c"}, {"name": "d", "index": 1}]}
    )
    assert code == 3
    assert "index 1" in text
    assert set(labels(spoken, dataset)) == {"a", "b"}
    update(spoken, dataset, "b", 0)
    assert labels(spoken, dataset) == {"b": 0, "a": 1}


def test_a_label_gets_another_name(spoken: Spoken) -> None:
    dataset, _ = make(spoken)
    spoken.ok("label.add2", {"dataset_id": dataset, "labels": [{"name": "a"}, {"name": "b"}]})
    before = label_id(spoken, dataset, "a")
    update(spoken, dataset, "a", 5, "c")
    assert label_id(spoken, dataset, "c") == before
    assert labels(spoken, dataset) == {"b": 1, "c": 5}
    code, text = spoken.no("label.update", {"label_id": before, "label_name": "b", "label_index": 5})
    assert (code, "'b'" in text) == (3, True)
    assert spoken.ok("label.del", {"label_id": before}) == "ok"
    assert spoken.no("label.del", {"label_id": before})[0] == 101


def test_groups_are_made_once(spoken: Spoken) -> None:
    dataset, _ = make(spoken)
    asked = {"dataset_id": dataset, "group_names": ["train"], "group_splits": [0]}
    first = spoken.ok("groups.create", asked)
    assert first == spoken.ok("groups.create", asked) == spoken.ok("groups.list", {"dataset_id": dataset})
    with ThreadPoolExecutor(6) as threads:
        asked = {"dataset_id": dataset, "group_names": ["val"], "group_splits": [0]}
        answers = list(threads.map(lambda _: spoken.ok("groups.create", asked), range(12)))
    assert all(answer == answers[0] for answer in answers)
    assert [group["name"] for group in answers[0]] == ["train", "val"]


def test_a_sample_gets_a_group(spoken: Spoken) -> None:
    _, name = make(spoken)
    _, other = make(spoken)
    image = picture(spoken, name)
    studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
    (group,) = studio.groups.create(owner, name, ["train"])
    (foreign,) = studio.groups.create(owner, other, ["train"])
    for _ in range(2):
        asked = {"image_id": image.row_id, "group_id": group.row_id}
        assert spoken.ok("image.set_group_id", asked) == "ok"
    assert studio.samples.get(owner, image.id).split == "train"
    code, text = spoken.no("image.set_group_id", {"image_id": image.row_id, "group_id": foreign.row_id})
    assert (code, other in text) == (3, True)


BAD: list[tuple[str, dict[str, Any]]] = [
    ("dataset.create", {"project_id": "p-1", "name": "a/b"}),
    ("dataset.create", {"project_id": "p-1"}),
    ("dataset.create", {"project_id": "P-1", "name": "x"}),
    ("dataset.create", {"project_id": -1, "name": "x"}),
    ("dataset.create", {"project_id": "p-1", "name": 7}),
    ("dataset.create", {"project_id": "p-1", "name": "x", "description": ["d"]}),
    ("dataset.create", {"project_id": "p-1", "name": "x" * 5_000}),
    ("dataset.get", {}),
    ("dataset.get", {"dataset_id": "ds-zz"}),
    ("dataset.get", {"dataset_id": 1.5}),
    ("dataset.get", {"dataset_id": True}),
    ("label.list", {"dataset_id": None}),
    ("label.add2", {"dataset_id": "$", "labels": "car"}),
    ("label.add2", {"dataset_id": "$", "labels": ["car"]}),
    ("label.add2", {"dataset_id": "$", "labels": [{}]}),
    ("label.add2", {"dataset_id": "$", "labels": [{"name": ""}]}),
    ("label.add2", {"dataset_id": "$", "labels": [{"name": "a", "index": -1}]}),
    ("label.add2", {"dataset_id": "$", "labels": [{"name": "a", "index": 2**62}]}),
    ("label.add2", {"dataset_id": "$", "labels": [{"name": "a", "index": "1"}]}),
    ("label.add2", {"dataset_id": "$", "labels": [{"name": "a"}, {"name": "a", "index": 3}]}),
    ("annset.add", {"dataset_id": "$", "name": ".."}),
    ("annset.add", {"dataset_id": "$", "name": "default"}),
    ("groups.create", {"dataset_id": "$", "group_names": "train"}),
    ("groups.create", {"dataset_id": "$", "group_names": [""]}),
    ("groups.create", {"dataset_id": "$", "group_names": ["a#b"]}),
]


@pytest.mark.parametrize(("method", "params"), BAD, ids=lambda value: str(value)[:60])
def test_what_cannot_be(spoken: Spoken, method: str, params: dict[str, Any]) -> None:
    dataset, _ = make(spoken)
    before = len(spoken.ok("dataset.list", {"project_id": project(spoken)}))
    sent = {name: dataset if value == "$" else value for name, value in params.items()}
    code, text = spoken.no(method, sent)
    assert code == 3
    assert len(text) > 20
    assert len(spoken.ok("dataset.list", {"project_id": project(spoken)})) == before
    assert labels(spoken, dataset) == {}
    assert len(spoken.ok("annset.list", {"dataset_id": dataset})) == 1


def test_of_others_nothing_is_known_or_changed(spoken: Spoken) -> None:
    dataset, name = make(spoken)
    studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
    spoken.ok("label.add2", {"dataset_id": dataset, "labels": [{"name": "car"}]})
    (group,) = studio.groups.create(owner, name, ["train"])
    image = picture(spoken, name)
    second = spoken.ok("annset.add", {"dataset_id": dataset, "name": "model", "operator": "x"})["id"]
    label = label_id(spoken, dataset, "car")
    own_dataset, _ = make(spoken, "elsewhere")
    own_params = {"dataset_id": own_dataset, "group_names": ["train"], "group_splits": [0]}
    own_group = spoken.ok("groups.create", own_params, bearer="elsewhere")[0]["id"]
    tries: list[tuple[str, dict[str, Any]]] = [
        ("project.get", {"project_id": project(spoken)}),
        ("dataset.list", {"project_id": project(spoken)}),
        ("dataset.create", {"project_id": f"p-{project(spoken):x}", "name": "theirs"}),
        ("dataset.get", {"dataset_id": dataset}),
        ("dataset.delete", {"id": dataset}),
        ("label.list", {"dataset_id": dataset}),
        ("label.add2", {"dataset_id": dataset, "labels": [{"name": "x"}]}),
        ("label.update", {"label_id": label, "label_name": "x", "label_index": 9}),
        ("label.del", {"label_id": label}),
        ("annset.list", {"dataset_id": dataset}),
        ("annset.get", {"annotation_set_id": second}),
        ("annset.add", {"dataset_id": dataset, "name": "x", "operator": "x"}),
        ("annset.del", {"id": second}),
        ("groups.list", {"dataset_id": dataset}),
        ("groups.create", {"dataset_id": dataset, "group_names": ["x"], "group_splits": [0]}),
        ("image.set_group_id", {"image_id": image.row_id, "group_id": group.row_id}),
        ("image.set_group_id", {"image_id": image.row_id, "group_id": own_group}),
    ]
    for method, params in tries:
        code, text = spoken.no(method, params, bearer="elsewhere")
        missing = {
            key: f"p-{NO_ID:x}" if isinstance(value, str) and value.startswith("p-") else NO_ID
            for key, value in params.items()
            if key.endswith("id")
        }
        unknown, told = spoken.no(method, params | missing, bearer="elsewhere")
        assert code == unknown == 101, method
        assert text.partition(".")[2] == told.partition(".")[2], "an id of others is told from none"
    assert labels(spoken, dataset) == {"car": 0}
    assert len(spoken.ok("annset.list", {"dataset_id": dataset})) == 2
    assert [each["name"] for each in spoken.ok("groups.list", {"dataset_id": dataset})] == ["train"]
    assert studio.samples.get(owner, image.id).split is None


def test_roles_hold(spoken: Spoken) -> None:
    dataset, name = make(spoken)
    assert spoken.ok("dataset.get", {"dataset_id": dataset}, bearer="viewer")["name"] == name
    for method, params in (
        ("label.add2", {"dataset_id": dataset, "labels": [{"name": "x"}]}),
        ("annset.add", {"dataset_id": dataset, "name": "x", "operator": "x"}),
        ("groups.create", {"dataset_id": dataset, "group_names": ["x"], "group_splits": [0]}),
        ("dataset.create", {"project_id": "p-1", "name": "x"}),
    ):
        assert spoken.no(method, params, bearer="viewer")[0] == 403
    second = spoken.ok("annset.add", {"dataset_id": dataset, "name": "m", "operator": "x"}, bearer="member")
    assert spoken.no("annset.del", {"id": second["id"]}, bearer="member")[0] == 403
    assert spoken.no("dataset.delete", {"id": dataset}, bearer="member")[0] == 403
