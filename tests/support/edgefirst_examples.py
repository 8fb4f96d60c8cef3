"""Every example of the EdgeFirst client's documentation, as its published versions can run it.

The document is not part of this repository. An example is named by its ordinal there. Ids, names and
addresses are those of the test's own server; ``cannot`` names the calls that no published version has, with
the reason. Where the two versions differ, ``newest`` tells.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """``code`` makes the calls of the document's example, but those in ``cannot``."""

    code: str
    cannot: tuple[str, ...] = ()
    why: str = ""


def id_example(name: str, text: str) -> Example:
    """One of the classes of ids."""
    number = int(text.partition("-")[2], 16)
    return Example(f"""
        found = [{name}("{text}"), {name}({number}), {name}.from_str("{text}")]
        assert [int(each) for each in found] == [{number}] * 3
        assert [str(each) for each in found] == ["{text}"] * 3
    """)


STUB = "Only in the type stubs: the published classes have no such attribute, in either version."
LOGIN = Example(
    """
        client = Client().with_memory_storage().with_server(url).with_login(username, password)
        assert not hasattr(client, "login")
    """,
    ("login",),
    STUB + " `with_login` does it.",
)

EXAMPLES = [
    Example("""
        annotations = annotation_set.annotations(groups=["train"])
        assert len(annotations) == 3
    """),
    Example("""
        annotation_set = client.annotation_set(dataset.create_annotation_set("to go"))
        annotation_set.delete()
    """),
    id_example("AnnotationSetID", "as-3d2c1b"),
    Example(
        """
        box_2d = AnnotationType.Box2d
        polygon = AnnotationType.Polygon
        assert not hasattr(dataset, "get_annotations_by_type")
        assert len(annotation_set.annotations(annotation_types=[box_2d])) == 3
    """,
        ("get_annotations_by_type",),
        STUB + " `AnnotationSet.annotations` takes types.",
    ),
    id_example("AppId", "app-2e1d0c"),
    Example(
        """
        assert not hasattr(client, "login")
        if newest:
            again = Client(token=client.token()).with_url(url)
        else:
            again = Client(server=url, username=username, password=password, use_token_file=False)
        org = again.organization()
        projects = again.projects()
        filtered = again.projects(named)
        assert len(filtered) == 1 and len(projects) > 1
        assert again.dataset(dataset_id).name == named
        assert len(client.datasets(filtered[0].id)) >= 1
        try:
            client.datasets()
        except TypeError as error:
            assert "project_id" in str(error)
    """,
        ("login",),
        STUB + " `datasets` needs a project; in 2.11 a token goes with no address of one's own.",
    ),
    Example("""
        client.add_label(dataset_id, "person")
        client.add_label(dataset_id, "car", index=3)
        assert {label.name: label.index for label in client.labels(dataset_id)}["car"] == 3
    """),
    Example("""
        client.add_labels(dataset_id, ["person", "car", "truck"])
        client.add_labels(dataset_id, ["person", "car"], indices=[1, 3])
        found = {label.name: label.index for label in client.labels(dataset_id)}
        assert (found["person"], found["car"]) == (1, 3)
        # 2.11 refuses this where "a" would come to stand on 5 by itself.
        made = client.create_dataset(str(project_id), f"labels {named}")
        client.add_labels(made, ["a", "b"], indices=[None, 5])
        assert {label.name: label.index for label in client.labels(made)}["b"] == 5
    """),
    Example("""
        updated = client.backfill_sample_dimensions(
            dataset_id, lambda curr, total, status: print(f"[{curr}/{total}] {status}"))
        assert updated == 0
    """),
    Example("""
        told = []
        snapshot = client.create_snapshot(
            "data.mcap", lambda cur, tot, s: told.append(f"{cur}/{tot} bytes — {s}"))
        assert snapshot.status == "available" and told
    """),
    Example("""
        snapshot = client.create_snapshot_edgefirst_format(
            "dataset.arrow", "dataset.zip", description="Training batch 42",
            progress=lambda c, t, s: print(f"{c}/{t} bytes — {s}"))
        assert client.snapshot(snapshot.id).description == "Training batch 42"
    """),
    Example(
        """
        result = client.create_snapshot_from_dataset(dataset_id, "My Backup")
        assert str(result.id).startswith("ss-")
        if result.task_id:
            assert ended(result.task_id) == "complete"
        assert not hasattr(client, "with_token_path") and not hasattr(client, "task")
    """,
        ("with_token_path", "task"),
        "In no published version: `with_no_storage` keeps no token, `task_info` follows a task.",
    ),
    Example(
        """
        samples = client.samples(dataset_id)
        assert not hasattr(client, "download_sample")
        for sample in samples[:5]:
            data = sample.download()
            if data:
                with open(f"{sample.name}.jpg", "wb") as f:
                    f.write(data)
        assert os.path.exists("m0.jpg")
    """,
        ("download_sample",),
        STUB + " `Sample.download` does it.",
    ),
    Example("""
        client.download_snapshot(snapshot_id, "./output", lambda cur, tot, s: print(f"{cur}/{tot} bytes"))
        assert os.listdir("./output")
    """),
    Example("""
        train_id = client.get_or_create_group(dataset_id, "train")
        val_id = client.get_or_create_group(dataset_id, "val")
        test_id = client.get_or_create_group(dataset_id, "test")
        id1 = client.get_or_create_group(dataset_id, "train")
        id2 = client.get_or_create_group(dataset_id, "train")
        assert id1 == id2 == train_id and len({train_id, val_id, test_id}) == 3
        for sample in client.samples(dataset_id):
            client.set_sample_group_id(sample.id, train_id)
    """),
    Example("""
        groups = client.groups(dataset_id)
        for group in groups:
            print(f"{group.name} (id={group.id})")
        assert "train" in [g.name for g in groups]
    """),
    Example("""
        client = Client().with_memory_storage().with_server(url).with_login(username, password)
        client.logout()
    """),
    Example(
        """
        sample = Sample()
        sample.set_image_name("test.png")
        sample.add_file(SampleFile("image", "path/to/test.png"))
        annotation = Annotation()
        annotation.set_label("car")
        annotation.set_box2d(Box2d(10.0, 20.0, 100.0, 50.0))
        sample.add_annotation(annotation)
        made = client.create_dataset(str(project_id), f"boxes {named}")
        annotation_set_id = client.create_annotation_set(made, "truth")
        results = client.populate_samples(
            made, annotation_set_id, [sample], lambda curr, total: print(f"{curr}/{total}"))
        assert len(results) == 1
        (back,) = client.samples(made, annotation_set_id)
        (box,) = [each.box2d for each in back.annotations]
        assert (box.left, box.top, box.width, box.height) == (10.0, 20.0, 100.0, 50.0)
    """
    ),
    Example("""
        samples = [Sample() for _ in range(3)]
        for number, sample in enumerate(samples):
            sample.set_image_name(f"more{number}.jpg")
            sample.add_file(SampleFile("image", "m0.jpg"))
        made = client.create_dataset(str(project_id), f"more {named}")
        results = client.populate_samples_with_concurrency(
            made, samples, concurrency=8, progress=lambda cur, tot, s: print(f"{cur}/{tot} — {s}"))
        assert len(results) == 3 == client.samples_count(made).total
    """),
    Example(
        """
        result = client.restore_snapshot(
            project_id, snapshot_id, [], [], False, f"Highway {named}", "Collected on I-95")
        if result.task_id:
            assert ended(result.task_id) == "complete"
        assert client.dataset(result.dataset_id).name == f"Highway {named}"
        # What it cannot do is told before anything is made.
        told = fails(
            client.restore_snapshot, project_id, snapshot_id, [], ["person"], True, f"Deep {named}", None)
        assert "depth" in told.lower(), told
        assert f"Deep {named}" not in [each.name for each in client.datasets(project_id)]
    """,
        ("with_token_path",),
        "In no published version. Depth of pictures alone needs an engine with weights.",
    ),
    Example("""
        names = client.sample_names(
            dataset_id, groups=["train"], progress=lambda cur, tot, s: print(f"{cur}/{tot} — {s}"))
        assert len(names) == 3
    """),
    Example("""
        client = Client().with_server(url).with_login(username, password)
        client.save_token()
        assert os.path.exists(os.path.join(os.environ["XDG_CONFIG_HOME"], "edgefirststudio", "token"))
    """),
    Example("""
        train_id = client.get_or_create_group(dataset_id, "train")
        client.set_sample_group_id(sample_id, train_id)
        val_id = client.get_or_create_group(dataset_id, "val")
        samples = client.samples(dataset_id)
        for sample in samples[:2]:
            client.set_sample_group_id(sample.id, train_id)
        for sample in samples[2:]:
            client.set_sample_group_id(sample.id, val_id)
        assert client.samples_count(dataset_id, groups=["val"]).total == 1
        for sample in samples:
            client.set_sample_group_id(sample.id, train_id)
    """),
    Example("""
        updates = [(each.id, 1920, 1080) for each in client.samples(dataset_id)]
        updated = client.update_sample_dimensions(dataset_id, updates)
        assert updated == 0, "pictures tell their own size"
    """),
    Example("""
        client = (Client().with_memory_storage()
            .with_server(url)
            .with_login(username, password))
        assert client.organization().name
    """),
    LOGIN,
    Example("""
        client = Client().with_no_storage()
    """),
    Example("""
        client = Client().with_memory_storage().with_server("test")
        assert client.url == "https://test.edgefirst.studio"
    """),
    Example("""
        storage = FileTokenStorage.with_path(os.path.abspath("custom-token"))
        client = Client().with_storage(storage)
        class MyStorage:
            def __init__(self):
                self._token = None
            def store(self, token):
                self._token = token
            def load(self):
                return self._token
            def clear(self):
                self._token = None
        mine = MyStorage()
        client = Client().with_storage(mine).with_server(url).with_login(username, password)
        assert mine.load().count(".") == 2
        assert client.organization().name
    """),
    Example("""
        token = client.token()
        other = Client().with_memory_storage().with_token(token)
        assert other.username == username
        assert other.url.startswith("https://tintype.invalid/")
    """),
    Example("""
        found = client.dataset(dataset_id)
        print(f"Dataset: {found.name}, {found.created}, {found.description}")
        samples = client.samples(found.id)
        annotations = client.annotation_sets(found.id)
        found.add_label(client, "training")
        labels = found.labels(client)
        assert "training" in [label.name for label in labels] and samples and annotations
        found.remove_label(client, "training")
    """),
    Example("""
        annotation_sets = dataset.annotation_sets()
        assert "truth" in [each.name for each in annotation_sets]
    """),
    Example("""
        as_id = dataset.create_annotation_set("my-annotations")
        assert as_id.startswith("as-")
    """),
    Example("""
        dataset = client.dataset(client.create_dataset(str(project_id), f"to go {named}"))
        dataset.delete()
    """),
    Example("""
        dataset.download("./data", ["train"], [FileType.Image])
        assert len(os.listdir("./data")) == 3
    """),
    Example("""
        for group in dataset.groups():
            print(group.name, group.id)
    """),
    Example("""
        samples = dataset.samples(groups=["train"])
        assert len(samples) == 3
    """),
    Example("""
        count = dataset.samples_count(groups=["train"])
        assert count.total == 3
    """),
    id_example("DatasetID", "ds-456def"),
    Example("""
        sessions = experiment.training_sessions()
        assert [each.name for each in sessions] == ["mine"]
    """),
    id_example("ExperimentID", "exp-456def"),
    Example("""
        storage = FileTokenStorage()
        assert str(storage.path).startswith(os.environ["XDG_CONFIG_HOME"])
        storage = FileTokenStorage.with_path(os.path.abspath("path-token"))
        storage.store("my-token")
        token = storage.load()
        assert token == "my-token"
        storage.clear()
    """),
    Example("""
        storage = FileTokenStorage.with_path(os.path.abspath("my_token"))
        storage.store("test-token")
    """),
    Example(
        """
        image_type = FileType.Image
        lidar_type = FileType.LidarPcd
        assert not hasattr(dataset, "get_files_by_type")
        assert len(dataset.samples(types=[image_type])) == 3
    """,
        ("get_files_by_type",),
        STUB + " `Dataset.samples` takes types.",
    ),
    Example(
        """
        groups = client.groups(dataset_id)
        for group in groups:
            print(f"{group.name}: {group.id}")
        train_group = next(g for g in groups if g.name == "train")
        train_samples = client.samples(dataset_id, groups=[train_group.name])
        assert len(train_samples) == 3
        try:
            client.samples(dataset_id, group_id=train_group.id)
        except TypeError as error:
            assert "group_id" in str(error)
    """,
        (),
        "`samples` has no argument `group_id`: it takes the names of groups.",
    ),
    id_example("ImageId", "im-4c3b2a"),
    Example("""
        storage = MemoryTokenStorage()
        storage.store("my-token")
        token = storage.load()
        assert token == "my-token"
        storage.clear()
        assert storage.load() is None
    """),
    Example("""
        org = client.organization()
        print(f"Organization: {org.name} (ID: {org.id}), {org.credits}")
        assert str(org.id).startswith("org-") and org.credits >= 0
    """),
    id_example("OrganizationID", "org-abc123"),
    Example("""
        p_int = Parameter.integer(42)
        p_real = Parameter.real(3.14)
        p_bool = Parameter.boolean(True)
        p_str = Parameter.string("hello")
        p_array = Parameter.array([1, 2, 3])
        p_obj = Parameter.object({"key": "value"})
        assert (int(p_int), float(p_int), float(p_real), int(p_real)) == (42, 42.0, 3.14, 3)
        assert p_real.is_real() and p_real.type_name() == "Real"
        p_real = Parameter.real(0.75)
        assert p_real == 0.75
        values = {"a": p_int, "b": p_real, "c": p_bool, "d": p_str, "e": p_array, "f": p_obj}
        training_session.set_metrics(values)
        back = training_session.metrics()
        told = {name: value.to_pyobject() for name, value in values.items()}
        assert {name: value.to_pyobject() for name, value in back.items()} == told
    """),
    Example("""
        assert repr(Parameter.string("hello")) == "String(hello)"
        assert repr(Parameter.integer(42)) == "Integer(42)"
    """),
    Example(
        """
        assert str(Parameter.string("hello")) == "hello"
        assert str(Parameter.integer(42)) == "Integer(42)"
    """,
        (),
        "`str` of a number is its `repr` in both published versions.",
    ),
    Example("""
        p = Parameter.array([Parameter.integer(1), Parameter.real(2.5), Parameter.string("test")])
        assert p.as_array() == [1, 2.5, "test"]
        assert Parameter.integer(42).as_array() is None
    """),
    Example("""
        p = Parameter.boolean(True)
        assert p.as_boolean() is True
        assert Parameter.integer(1).as_boolean() is None
    """),
    Example("""
        p = Parameter.integer(42)
        assert p.as_integer() == 42
        assert Parameter.real(3.14).as_integer() is None
    """),
    Example("""
        p = Parameter.object({"count": Parameter.integer(42), "ratio": Parameter.real(3.14)})
        assert p.as_object() == {"count": 42, "ratio": 3.14}
        assert Parameter.integer(42).as_object() is None
    """),
    Example("""
        p = Parameter.real(3.14)
        assert p.as_real() == 3.14
        assert Parameter.integer(42).as_real() is None
    """),
    Example("""
        p = Parameter.string("hello")
        assert p.as_string() == "hello"
        assert Parameter.integer(42).as_string() is None
    """),
    Example("""
        obj = Parameter.object({"model": Parameter.string("yolo")})
        assert (obj.get("model"), obj.get("missing")) == ("yolo", None)
        assert obj.get("missing", "default") == "default"
    """),
    Example("""
        obj = Parameter.object({"a": Parameter.integer(1), "b": Parameter.integer(2)})
        assert sorted(obj.items()) == [("a", 1), ("b", 2)]
    """),
    id_example("ProjectID", "p-def456"),
    Example("""
        groups = client.groups(dataset_id)
        train_group = next(g for g in groups if g.name == "train")
        sample = client.samples(dataset_id)[0]
        sample.assign_group(train_group.id)
    """),
    id_example("SampleID", "s-6c5b4a"),
    id_example("SequenceId", "se-7f6e5d"),
    Example("""
        snapshot = client.snapshot(client.create_snapshot_from_dataset(dataset_id, "to go").id)
        until(lambda: client.snapshot(snapshot.id).status == "available")
        snapshot.delete()
    """),
    Example("""
        recorded = client.create_snapshot("data.mcap")
        result = recorded.restore(
            project_id=str(project_id), topics=["/camera/image"], autolabel=[], autodepth=False,
            dataset_name=f"Restored {named}")
        if result.task_id:
            assert ended(result.task_id) == "complete", client.task_info(result.task_id).description
        assert client.samples_count(result.dataset_id).total > 0
    """),
    id_example("SnapshotID", "ss-abc123"),
    id_example("TaskID", "task-abc123"),
    id_example("TrainingSessionID", "t-abc123"),
    Example("""
        data = validation_session.download_artifact("labels.txt")
        assert data == b"car"
    """),
    Example("""
        data = validation_session.download_checkpoint("best.pt")
        assert data == b"weights"
    """),
    id_example("ValidationSessionID", "v-deadbeef"),
    Example("""
        import edgefirst_client as ec
        assert ec.is_polars_enabled()
        df = client.samples_dataframe(dataset_id)
        annotations = client.annotations(annotation_set_id)
        assert df.height == len(annotations) == 3
    """),
    Example("""
        import edgefirst_client as ec
        assert ec.version() == version
    """),
]
