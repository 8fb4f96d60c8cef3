"""The story of ``tests/sdk/edgefirst/test_methods.py``: parts of one program, for both clients.

``NEWER`` is for the newer one alone. Each part sees ``client``, ``project()``, ``dataset()``, ``labels()``,
``until()``, ``ended()`` and ``fails()`` of the test.
"""

from __future__ import annotations

STORY = {
    "client": """
        own = client.with_server(client.url).with_login(username, "correct horse battery")
        own.verify_token()
        own.renew_token()
        assert own.token().count(".") == 2
        assert own.version()
        own.save_token()
        own.logout()
        assert client.organization().name
    """,
    "projects and datasets": """
        assert client.project(project().id).name == named
        assert named in [each.name for each in client.projects()]
        made = client.create_dataset(str(project().id), data, "told")
        assert made.startswith("ds-"), made
        assert client.dataset(made).description == "told"
        assert [each.name for each in client.datasets(project().id)] == [data]
        assert client.datasets(project().id, "DATA")[0].name == data
        assert "exists" in fails(client.create_dataset, str(project().id), data)
    """,
    "labels": """
        ds = dataset()
        client.add_label(ds.id, "person")
        client.add_labels(ds.id, ["car", "truck"], [7, None])
        ds.add_label("bus", index=3)
        client.add_label(ds.id, "person")
        assert {name: each.index for name, each in labels().items()}.items() >= {"car": 7, "bus": 3}.items()
        found = labels()
        found["bus"].set_name(client, "coach")
        found["truck"].set_index(client, 90)
        assert labels()["truck"].index == 90 and "bus" not in labels()
        client.update_label(labels()["coach"])
        # The two passes of a swap.
        client.add_labels(ds.id, ["car", "coach"], [3, 7])
        assert (labels()["car"].index, labels()["coach"].index) == (3, 7)
        client.remove_label(labels()["truck"].id)
        ds.remove_label("coach")
        ds.add_label("bike")
        labels()["bike"].remove(client)
        assert sorted(each.name for each in client.labels(ds.id)) == ["car", "person"]
    """,
    "annotation sets": """
        ds = dataset()
        first = client.create_annotation_set(ds.id, "truth", "told")
        second = ds.create_annotation_set("other")
        assert {"truth", "other"} <= {each.name for each in client.annotation_sets(ds.id)}
        assert client.annotation_set(first).description == "told"
        assert client.annotation_set(first).created.year >= 2026
        client.delete_annotation_set(second)
        third = ds.create_annotation_set("other")
        client.annotation_set(third).delete()
        assert "other" not in [each.name for each in ds.annotation_sets()]
    """,
    "samples": """
        ds = dataset()
        truth = next(each for each in ds.annotation_sets() if each.name == "truth")
        def sample(number, group, sequence=None):
            made = Sample()
            made.set_image_name(f"m{number}.jpg")
            made.set_group(group)
            if sequence:
                made.set_sequence_name(sequence)
                made.set_frame_number(number)
            made.add_file(SampleFile("image", f"{folder}/m{number}.jpg"))
            if number == 0:
                made.add_file(SampleFile("lidar.pcd", f"{folder}/cloud.pcd"))
            box = Annotation()
            box.set_label("car")
            box.set_object_id(f"o{number}")
            box.set_box2d(Box2d(0.25, 0.125, 0.5, 0.25))
            made.add_annotation(box)
            outline = Annotation()
            outline.set_label("new")
            outline.set_polygon(Polygon([[(0.1, 0.1), (0.5, 0.1), (0.5, 0.5)]]))
            made.add_annotation(outline)
            solid = Annotation()
            solid.set_label("car")
            solid.set_box3d(Box3d(1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
            made.add_annotation(solid)
            return made
        done = client.populate_samples(ds.id, truth.id, [sample(0, "train"), sample(1, "val")])
        assert len(done) == 2
        more = [sample(2, "train", "road"), sample(3, "train", "road")]
        client.populate_samples_with_concurrency(ds.id, more, truth.id, concurrency=2)
        assert client.samples_count(ds.id).total == ds.samples_count().total == 4
        assert client.samples_count(ds.id, groups=["train"]).total == 3
        found = {each.name: each for each in client.samples(ds.id, truth.id)}
        assert set(found) == {"m0", "m1", "m2", "m3"}, set(found)
        assert len(ds.samples(truth.id, groups=["val"])) == 1
        assert (found["m0"].width, found["m0"].height, found["m0"].group) == (64, 48, "train")
        assert (found["m3"].sequence_name, found["m3"].frame_number) == ("road", 3)
        marks = found["m0"].annotations
        assert len(marks) == 3, len(marks)
        (box,) = [each.box2d for each in marks if each.box2d is not None and each.label == "car"]
        assert (box.left, box.top, box.width, box.height) == (0.25, 0.125, 0.5, 0.25)
        (solid,) = [each.box3d for each in marks if each.box3d is not None]
        assert (solid.cx, solid.cy, solid.cz) == (1.0, 2.0, 3.0)
        assert found["m0"].download() == open(f"{folder}/m0.jpg", "rb").read()
        (cloud,) = [each for each in client.samples(ds.id, types=[FileType.LidarPcd]) if each.name == "m0"]
        assert cloud.download(FileType.LidarPcd) == open(f"{folder}/cloud.pcd", "rb").read()
        assert client.sample_names(ds.id) == {"m0", "m1", "m2", "m3"}
        assert len(client.annotations(truth.id)) == 12
        assert len(truth.annotations(groups=["val"], annotation_types=[AnnotationType.Box2d])) >= 1
        frame = client.samples_dataframe(ds.id, truth.id)
        assert frame.height == 12 and {"name", "label", "box2d", "box3d", "polygon"} <= set(frame.columns)
        # What a picture tells of its own size stays.
        assert client.update_sample_dimensions(ds.id, [(found["m0"].id, 640, 480)]) == 0
        assert client.backfill_sample_dimensions(ds.id) == 0
    """,
    "groups": """
        ds = dataset()
        first = client.get_or_create_group(ds.id, "test")
        assert client.get_or_create_group(ds.id, "test") == first
        assert {"train", "val", "test"} <= {each.name for each in client.groups(ds.id)}
        assert len(ds.groups()) == len(client.groups(ds.id))
        found = {each.name: each for each in client.samples(ds.id)}
        client.set_sample_group_id(found["m0"].id, first)
        found["m1"].assign_group(first)
        assert {each.name for each in client.samples(ds.id, groups=["test"])} == {"m0", "m1"}
    """,
    "downloads": """
        ds = dataset()
        client.download_dataset(ds.id, output=f"{folder}/nested")
        ds.download(output=f"{folder}/flat", flatten=True)
        nested = sorted(os.path.relpath(os.path.join(at, name), f"{folder}/nested")
            for at, _, names in os.walk(f"{folder}/nested") for name in names)
        assert len(nested) == 4 and sum(name.startswith("road/") for name in nested) == 2, nested
        assert len(os.listdir(f"{folder}/flat")) == 4, os.listdir(f"{folder}/flat")
        client.download_dataset(ds.id, types=[FileType.LidarPcd], output=f"{folder}/clouds")
        clouds = [name for _, _, names in os.walk(f"{folder}/clouds") for name in names]
        assert clouds == ["m0.lidar.pcd"], clouds
    """,
    "snapshots": """
        ds = dataset()
        truth = next(each for each in ds.annotation_sets() if each.name == "truth")
        before = len(client.snapshots())
        made = client.create_snapshot_from_dataset(ds.id, "kept", truth.id)
        if made.task_id:
            assert ended(made.task_id) == "complete"
        until(lambda: client.snapshot(made.id).status == "available")
        kept = client.snapshot(made.id)
        assert kept.description == "kept" and len(client.snapshots()) == before + 1
        client.download_snapshot(made.id, f"{folder}/snapshot")
        kept.download(f"{folder}/again")
        files = sorted(os.listdir(f"{folder}/snapshot"))
        assert sorted(os.listdir(f"{folder}/again")) == files
        (arrow,) = [f"{folder}/snapshot/{name}" for name in files if name.endswith(".arrow")]
        (archive,) = [f"{folder}/snapshot/{name}" for name in files if name.endswith(".zip")]
        sent = client.create_snapshot_edgefirst_format(arrow, archive, "sent")
        assert client.snapshot(sent.id).status == "available"
        whole = client.create_snapshot(f"{folder}/snapshot")
        for number, restored in enumerate((
            client.restore_snapshot(project().id, sent.id, [], [], False, f"restored {data}", "from files"),
            kept.restore(project().id, [], [], False, f"again {data}"),
        )):
            if restored.task_id:
                assert ended(restored.task_id) == "complete", client.task_info(restored.task_id).description
            got = client.samples(restored.dataset_id, restored.annotation_set_id)
            assert {each.name for each in got} == {"m0", "m1", "m2", "m3"}
            assert sum(len(each.annotations) for each in got) == 12
        client.delete_snapshot(sent.id)
        client.snapshot(whole.id).delete()
        assert len(client.snapshots()) == before + 1
    """,
    "experiments and training sessions": """
        (experiment,) = project().experiments()
        assert client.experiment(experiment.id).description == "told"
        assert [each.name for each in client.experiments(project().id, "runs")] == ["runs"]
        (session,) = [each for each in experiment.training_sessions() if each.name == "mine"]
        assert [each.name for each in client.training_sessions(experiment.id, "mine")] == ["mine"]
        session = client.training_session(session.id)
        session.set_metrics({"loss": Parameter.real(0.5), "epoch": Parameter.integer(3)})
        assert float(session.metrics()["loss"]) == 0.5 and int(session.metrics()["epoch"]) == 3
        session.upload_artifact("model.onnx", f"{folder}/weights.bin")
        session.upload_checkpoint("last.pt", f"{folder}/weights.bin")
        session.upload([("metrics/notes.txt", f"{folder}/notes.txt")])
        weights = open(f"{folder}/weights.bin", "rb").read()
        assert session.download_artifact("model.onnx") == weights
        assert session.download_checkpoint("last.pt") == weights
        assert session.download("metrics/notes.txt") == "notes"
        assert "model.onnx" in [each.name for each in session.artifacts()]
        assert "model.onnx" in [each.name for each in client.artifacts(session.id)]
        client.download_artifact(session.id, "model.onnx", f"{folder}/model.onnx")
        client.download_checkpoint(session.id, "last.pt", f"{folder}/last.pt")
        assert open(f"{folder}/model.onnx", "rb").read() == open(f"{folder}/last.pt", "rb").read() == weights
        assert session.dataset_params and session.model_params is not None and session.task
    """,
    "validation sessions": """
        (experiment,) = project().experiments()
        (session,) = [each for each in experiment.training_sessions() if each.name == "mine"]
        ds = dataset()
        truth = next(each for each in ds.annotation_sets() if each.name == "truth")
        made = client.start_validation_session(project().id, "check", session.id, "model.onnx", "user",
            params={"iou": 0.5}, is_local=True, dataset_id=ds.id, annotation_set_id=truth.id)
        found = client.validation_session(made.session_id)
        assert found.name == "check" and found.training_session_id == session.id
        assert str(found.id) in [str(each.id) for each in client.validation_sessions(project().id)]
        assert len(project().validation_sessions()) == 1
        found.set_metrics({"map": Parameter.real(0.75)})
        assert float(found.metrics()["map"]) == 0.75
        found.upload_data(client, [("notes.txt", f"{folder}/notes.txt")], "more")
        (name,) = found.data_list(client)
        found.download_data(client, name, f"{folder}/back.txt")
        assert open(f"{folder}/back.txt").read() == "notes"
        weights = open(f"{folder}/weights.bin", "rb").read()
        assert found.download_artifact("model.onnx") == found.download_checkpoint("last.pt") == weights
        assert "model.onnx" in [each.name for each in found.artifacts()]
        if newest:
            found.set_platform({"name": "board", "cores": 4})
        client.delete_validation_sessions([found.id])
        assert client.validation_sessions(project().id) == []
    """,
    "tasks": """
        (experiment,) = project().experiments()
        (session,) = [each for each in experiment.training_sessions() if each.name == "mine"]
        task = session.task
        info = client.task_info(task.id)
        info.set_status(client, "running")
        info.set_stages(client, [("load", "Loading"), ("train", "Training")])
        info.update_stage(client, "load", "running", "half", 50)
        assert client.task_info(task.id).stages["load"].percentage == 50
        client.set_stages(task.id, [("load", "Loading"), ("train", "Training")])
        client.update_stage(task.id, "train", "running", "begun", 5)
        client.task_status(task.id, "complete")
        assert client.task_info(task.id).status.startswith("complete")
        assert str(task.id) in [str(each.id) for each in client.tasks()]
        assert client.tasks(workflow=task.workflow)
        info.upload_data(client, f"{folder}/notes.txt", "logs")
        assert "notes.txt" in str(info.data_list(client).data)
        info.download_data(client, "notes.txt", f"{folder}/log.txt", "logs")
        assert open(f"{folder}/log.txt").read() == "notes"
        info.add_chart(client, "loss", "train", Parameter.array([1, 0.5]))
        assert "train" in str(info.list_charts(client).data)
        assert info.get_chart(client, "loss", "train").as_array() is not None
    """,
    "jobs": """
        ds = dataset()
        job = client.job_run("export", "out", data={
            "dataset_id": Parameter.integer(ds.id.value), "format": Parameter.string("coco"),
            "name": Parameter.string("out")})
        task = job.task_id()
        assert str(task) in [str(each.task_id()) for each in client.jobs()]
        assert ended(task) == "complete"
        name = f"looked at {data}"
        long = client.job_run("verify", name, data={"dataset_id": Parameter.integer(ds.id.value)})
        assert [str(each.task_id()) for each in client.jobs(name)] == [str(long.task_id())]
        client.job_stop(long.task_id())
        assert ended(long.task_id()) in ("complete", "cancelled")
    """,
    "endings": """
        project().datasets("again ")[0].delete()
        client.delete_dataset(project().datasets("restored ")[0].id)
        assert [each.name for each in project().datasets()] == [data]
    """,
}

NEWER = {
    "versions": """
        ds = dataset()
        made = client.version_tag_create(ds.id, "v1", "first")
        assert (made.name, made.image_count) == ("v1", 4)
        assert client.version_tag_get(ds.id, "v1").description == "first"
        assert [each.name for each in ds.version_tag_list()] == ["v1"]
        client.add_label(ds.id, "later")
        ds.version_tag_create("v2")
        assert len(client.version_tag_list(ds.id)) == 2
        assert ds.version_tag_get("v2").label_count == ds.version_tag_get("v1").label_count + 1
        assert "later" not in [each.name for each in client.labels(ds.id, version="v1")]
        assert len(ds.samples(version="v1")) == 4
        assert client.version_changelog(ds.id).entries and ds.version_changelog(limit=1).entries
        assert client.version_changelog_count(ds.id) == ds.version_changelog_count() > 0
        assert client.version_current(ds.id).latest_tag and ds.version_current().tags
        assert client.version_summary(ds.id).image_count == ds.version_summary().image_count == 4
        labels_now = client.version_summary_recalculate(ds.id).label_count
        assert ds.version_summary_recalculate().label_count == labels_now
        assert {each.name for each in client.dataset_tags(ds.id)} == {"v1", "v2"}
        assert client.version_tag_restore(ds.id, "v1").success
        assert "later" not in labels()
        assert ds.version_tag_restore("v2").success
        assert "later" in labels()
        client.version_tag_delete(ds.id, "v2")
        ds.version_tag_delete("v1")
        assert client.version_tag_list(ds.id) == []
    """,
    "annotations in bulk and samples": """
        ds = dataset()
        truth = next(each for each in ds.annotation_sets() if each.name == "truth")
        found = {each.name: each for each in client.samples(ds.id, truth.id)}
        one = ServerAnnotation("box", 0.5, 0.5, 0.25, 0.25, None, found["m1"].id.value, truth.id.value,
            label_id=labels()["car"].id)
        client.add_annotations_bulk(truth.id, [one])
        assert len(client.annotations(truth.id)) == 13
        client.delete_annotations_bulk(truth.id, ["box"], [found["m1"].id])
        assert len(client.annotations(truth.id)) < 13
        assert client.download(found["m0"].image_url) == open(f"{folder}/m0.jpg", "rb").read()
        client.delete_samples(ds.id, [found["m2"].id])
        ds.delete_samples([found["m3"].id])
        assert client.samples_count(ds.id).total == 2
    """,
    "sessions": """
        (experiment,) = project().experiments()
        ds = dataset()
        truth = next(each for each in ds.annotation_sets() if each.name == "truth")
        assert client.usage_summary().total >= 0
        schemas = client.trainer_schemas()
        assert schemas and client.trainer_schema(schemas[0].schema_type)
        assert client.validator_schemas()
        client.version_tag_create(ds.id, "learned from")
        made = client.start_training_session(project().id, "outside", experiment.id, schemas[0].schema_type,
            ds.id, truth.id, train_group="train", val_group="test", session_name="outside", is_local=True)
        changed = client.update_training_session(made.session_id, "renamed", "told again")
        assert (changed.name, changed.description) == ("renamed", "told again")
        check = client.start_validation_session(project().id, "check", made.session_id, "model.onnx", "user",
            is_local=True, dataset_id=ds.id, annotation_set_id=truth.id)
        assert client.update_validation_session(check.session_id, "renamed", "told").description == "told"
        client.delete_validation_sessions([check.session_id])
        client.delete_training_sessions([made.session_id])
        assert [each.name for each in experiment.training_sessions()] == ["mine"]
    """,
    "bin": """
        gone = client.create_dataset(str(project().id), f"gone {data}")
        client.delete_dataset(gone)
        (item,) = [each for each in client.recycle_bin() if each.name == f"gone {data}"]
        client.purge_recycle_bin([item.id])
        assert f"gone {data}" not in [each.name for each in client.recycle_bin()]
    """,
}
