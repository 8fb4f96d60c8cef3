"""Annotated datasets imported as a job: what comes in, what is refused, what crashes and undos leave."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from support.jobs import start, turn
from support.pictures import jpeg

from tintype_studio.annotations.documents import as_text
from tintype_studio.catalog.datasets import ClassAttribute, DatasetClass
from tintype_studio.errors import InvalidInput, NotFound, TintypeError
from tintype_studio.jobs.commits import Commits
from tintype_studio.storage.tables import annotation_revisions, changes, samples

BOX = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 10, 20]}


def coco(**more: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
        "categories": [{"id": 7, "name": "car"}],
        "annotations": [BOX],
        **more,
    }


@pytest.fixture
def put(tmp_path: Path):
    """Writes files into a new folder; dictionaries and lists become JSON."""

    def write(files: dict[str, Any], name: str = "source") -> Path:
        root = tmp_path / name
        for relative, content in files.items():
            path = root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, dict | list):
                content = json.dumps(content)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return root

    return write


class Killed(BaseException):
    """Ends the turn where it stands, as the end of the process would."""


class Importer:
    def __init__(self, studio: Any, owner: Any, pool: Any) -> None:
        self.studio, self.owner, self.pool = studio, owner, pool

    def args(self, path: Path, **changes: Any) -> dict[str, Any]:
        return {
            "dataset": "signs",
            "path": str(path),
            "format": "auto",
            "create": True,
            "skip_existing": True,
            **changes,
        }

    def begin(self, path: Path, **changes: Any) -> Any:
        return start(self.studio, self.owner, self.args(path, **changes), kind="import_files")

    def __call__(self, path: Path, **changes: Any) -> Any:
        job = self.begin(path, **changes)
        turn(self.studio, job, self.pool)
        return self.studio.jobs.get(self.owner, job.id)

    def failures(self, job: Any) -> dict[str, tuple[str, str]]:
        items = self.studio.jobs.items(job, outcome="failed", limit=500)
        return {i.key: (i.error_code, i.error_message) for i in items}

    def images(self, name: str = "signs") -> dict[str, Any]:
        dataset = self.studio.datasets.get(self.owner, name)
        page = self.studio.samples.page(dataset, limit=500)
        return {
            f"{s.folder.rstrip('/')}/{s.filename}": (s.status.value, s.split, docs)
            for s, docs in self.studio.documents.of_samples(page)
        }

    def rows(self) -> tuple[int, int, int]:
        with self.studio.database.read() as connection:
            return tuple(
                connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
                for table in (samples, annotation_revisions, changes)
            )


@pytest.fixture
def run(studio, owner, pool) -> Importer:
    return Importer(studio, owner, pool)


def test_images_come_in_with_annotations_splits_folders_and_classes(run, put, check_counters):
    files = {
        "images/a.jpg": jpeg(64, 48, 1),
        "images/night/b.jpg": jpeg(64, 48, 2),
        "images/c.jpg": jpeg(64, 48, 3),
        "annotations/instances_train.json": coco(
            images=[
                {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48},
                {"id": 2, "file_name": "night/b.jpg", "width": 64, "height": 48},
            ],
            categories=[{"id": 7, "name": "car"}, {"id": 9, "name": "lamp"}],
            annotations=[BOX, {**BOX, "id": 2, "image_id": 2, "segmentation": [[1, 1, 9, 1, 9, 9.5]]}],
        ),
        "annotations/instances_val.json": coco(
            images=[{"id": 1, "file_name": "c.jpg", "width": 64, "height": 48}], annotations=[]
        ),
    }
    job = run(put(files))
    assert (job.status, job.done, job.failed, job.total) == ("completed", 3, 0, 3)
    assert job.result == {
        "format": "coco",
        "notes": [],
        "added": 3,
        "attached": 0,
        "skipped": 0,
        "annotations": 2,
    }
    images = run.images()
    assert {k: (s, split, [a.type for a in docs]) for k, (s, split, docs) in images.items()} == {
        "/a.jpg": ("complete", "train", ["bbox"]),
        "/night/b.jpg": ("complete", "train", ["polygon"]),
        "/c.jpg": ("new", "val", []),
    }
    box = images["/a.jpg"][2][0].bounding_box
    assert (box.x, box.y, box.w, box.h) == (1, 2, 10, 20)
    dataset = check_counters(run.studio, run.owner, "signs")
    assert [c.name for c in dataset.classes] == ["car", "lamp"]


def test_the_rows_are_those_that_a_save_would_have_written(run, put, studio, owner):
    run(put({"a.jpg": jpeg(), "x.json": coco()}))
    dataset = studio.datasets.get(owner, "signs")
    (sample,) = studio.samples.page(dataset, limit=5)
    _, document = studio.documents.get(owner, sample.id)
    with studio.database.read() as connection:
        written = connection.execute(sa.select(annotation_revisions.c.document)).scalar_one()
        from tintype_studio.storage.search_tables import sample_classes

        counts = connection.execute(sa.select(sample_classes.c.name, sample_classes.c.count)).all()
    assert written == as_text(document)
    assert [tuple(row) for row in counts] == [("car", 1)]


def test_what_is_wrong_with_an_image_fails_it_alone(run, put, check_counters):
    image = {"width": 64, "height": 48}
    wrong = {
        "mask": {**BOX, "segmentation": {"size": [5, 5], "counts": [25]}},
        "negative": {**BOX, "bbox": [1, 2, -3, 4]},
        "category": {**BOX, "category_id": 8},
        "twice": BOX,
        "huge": {**BOX, "bbox": [1, 2, 1e9, 4]},
        "ring": {**BOX, "segmentation": [[1, 2, 3]]},
        "text": {**BOX, "segmentation": [["a", 2, 3, 4, 5, 6]]},
        "runs": {**BOX, "segmentation": {"size": [48, 64], "counts": [-5, 64 * 48 + 5]}},
    }
    names = ["good", *wrong, "gone", "torn"]
    files: dict[str, Any] = {f"{name}.jpg": jpeg(64, 48, n) for n, name in enumerate(names) if name != "gone"}
    files["torn.jpg"] = files["torn.jpg"][:200]
    annotations = [
        {**entry, "id": n, "image_id": names.index(name)} for n, (name, entry) in enumerate(wrong.items())
    ]
    annotations += [{**BOX, "id": 3, "image_id": 3 + 1}, {**BOX, "id": 50, "image_id": 0}]
    annotations += [{**BOX, "id": 60 + n, "image_id": 999} for n in range(4)]
    files["x.json"] = coco(
        images=[{"id": n, "file_name": f"{name}.jpg", **image} for n, name in enumerate(names)],
        annotations=annotations,
    )
    job = run(put(files))
    assert job.status == "completed"
    assert list(run.images()) == ["/good.jpg"]
    codes = {key: code for key, (code, _) in run.failures(job).items()}
    assert codes == {
        "mask.jpg": "invalid_annotation",
        "negative.jpg": "invalid_annotation",
        "category.jpg": "invalid_annotation",
        "twice.jpg": "id_twice",
        "huge.jpg": "invalid_annotation",
        "ring.jpg": "invalid_annotation",
        "text.jpg": "invalid_annotation",
        "runs.jpg": "invalid_annotation",
        "gone.jpg": "image_missing",
        "torn.jpg": "truncated_image",
        "x.json (image_id)": "dangling_id",
    }
    assert all(key in message for key, (_, message) in run.failures(job).items() if key.endswith("jpg"))
    check_counters(run.studio, run.owner, "signs")
    assert _stored_images(run.studio) == 1


def _stored_images(studio: Any) -> int:
    """Bytes of refused images are not left behind."""
    return sum(1 for p in (studio.home / "blobs").rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"x.json": b'{"images": [{"id": 1}], "annotations": [NaN], "categories": []}'}, "broken_file"),
        ({"x.json": b'{"images": [{"file_name": "a.jpg"'}, "broken_file"),
        ({"x.json": coco(categories=[{"id": 7, "name": "a"}, {"id": 7, "name": "b"}])}, "broken_file"),
        ({"x.json": coco(categories=[{"id": 7, "name": "a/b"}, {"id": 8, "name": "a-b"}])}, "class_twice"),
        ({"x.json": coco(images=[])}, "nothing_to_import"),
        (
            {"x.json": coco(), "annotations.xml": "<annotations><version>1.1</version></annotations>"},
            "format_ambiguous",
        ),
        ({"a.jpg": jpeg()}, "format_not_found"),
        ({"data.yaml": "names: [", "labels/a.txt": ""}, "broken_file"),
        ({"annotations.xml": "<annotations><image>"}, "broken_file"),
        ({"annotations.xml": '<!DOCTYPE a [<!ENTITY x "y">]><annotations>&x;</annotations>'}, "unsafe_xml"),
        (
            {"a.json": {"version": "1.0", "image": {"filename": "a"}, "dataset": "d", "annotations": []}},
            "darwin_version",
        ),
        ({"a.json": {"version": "3.0", "item": {"name": "a"}, "annotations": []}}, "darwin_version"),
    ],
)
def test_what_cannot_be_understood_is_refused_before_anything_is_written(run, put, files, code):
    path, before = put({"a.jpg": jpeg(), **files}), run.rows()
    try:
        job = run(path)
        found = job.error["code"] if job.error else None
    except TintypeError as error:
        found = error.code
    assert found == code
    assert run.rows() == before
    with pytest.raises(NotFound):
        run.studio.datasets.get(run.owner, "signs")


def test_annotations_alone_go_to_images_that_are_there(run, put, studio, owner, check_counters):
    dataset = studio.datasets.create(owner, name="signs")
    for name in ("a.jpg", "b.jpg"):
        studio.ingest.add_image(owner, dataset, data=jpeg(64, 48, len(name)), filename=name)
    images = [
        {"id": n, "file_name": f"{name}.jpg", "width": 64, "height": 48} for n, name in enumerate("abc")
    ]
    annotations = [{**BOX, "id": n, "image_id": n} for n in range(3)]
    job = run(put({"x.json": coco(images=images, annotations=annotations)}))
    assert (job.result["attached"], job.result["annotations"], job.failed) == (2, 2, 1)
    assert list(run.failures(job)) == ["c.jpg"]
    assert {k: len(docs) for k, (_, _, docs) in run.images().items()} == {"/a.jpg": 1, "/b.jpg": 1}
    check_counters(studio, owner, "signs")
    again = run(put({"x.json": coco(images=images, annotations=annotations)}))
    assert (again.result["skipped"], again.result["attached"], again.failed) == (2, 0, 1)


def test_labels_of_yolo_alone_find_their_image_by_its_stem(run, put, studio, owner):
    dataset = studio.datasets.create(owner, name="signs")
    studio.ingest.add_image(owner, dataset, data=jpeg(64, 48), filename="a.b.jpg")
    job = run(put({"data.yaml": "names: [car]\n", "labels/a.b.txt": "0 0.5 0.5 0.25 0.5\n"}))
    assert job.result["attached"] == 1
    ((_, _, (annotation,)),) = run.images().values()
    box = annotation.bounding_box
    assert (box.x, box.y, box.w, box.h) == (24, 12, 16, 24)


def test_a_second_run_skips_and_one_that_must_not_skip_fails(run, put, check_counters):
    path = put({"a.jpg": jpeg(), "x.json": coco()})
    run(path)
    before = run.images()
    assert run(path).result["skipped"] == 1
    job = run(path, skip_existing=False)
    assert {code for code, _ in run.failures(job).values()} == {"image_exists"}
    assert run.images() == before
    check_counters(run.studio, run.owner, "signs")


def test_declared_classes_refuse_image_by_image(run, put, studio, owner):
    studio.datasets.create(owner, name="signs")
    studio.classes.declare(owner, "signs", [DatasetClass("car", color="#112233")])
    job = run(
        put(
            {
                "a.jpg": jpeg(seed=1),
                "b.jpg": jpeg(seed=2),
                "x.json": coco(
                    images=[{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
                    categories=[{"id": 7, "name": "car"}, {"id": 8, "name": "lamp"}],
                    annotations=[BOX, {**BOX, "id": 2, "image_id": 2, "category_id": 8}],
                ),
            }
        )
    )
    assert {k: code for k, (code, _) in run.failures(job).items()} == {"b.jpg": "unknown_class"}
    assert list(run.images()) == ["/a.jpg"]
    assert studio.datasets.get(owner, "signs").classes == [DatasetClass("car", color="#112233")]


def test_what_is_no_option_is_refused_image_by_image(run, put, studio, owner):
    studio.datasets.create(owner, name="signs")
    car = DatasetClass("car", attributes=(ClassAttribute("colour", ("red", "blue")),))
    studio.classes.declare(owner, "signs", [car])
    told = [{"colour": "blue"}, {"colour": "teal"}]
    job = run(
        put(
            {
                "a.jpg": jpeg(seed=1),
                "b.jpg": jpeg(seed=2),
                "x.json": coco(
                    images=[{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
                    annotations=[
                        {**BOX, "id": n, "image_id": n, "attributes": [option]}
                        for n, option in enumerate(told, 1)
                    ],
                ),
            }
        )
    )
    assert {k: code for k, (code, _) in run.failures(job).items()} == {"b.jpg": "unknown_option"}
    ((_, _, (annotation,)),) = run.images().values()
    assert annotation.attributes == [{"colour": "blue"}]


def test_attributes_that_a_file_lists_become_those_of_the_class(run, put, studio, owner):
    studio.datasets.create(owner, name="signs")
    attributes = [{"name": "colour", "options": ["red", "blue"]}]
    categories = [{"id": 7, "name": "car", "attributes": attributes}]
    box = {**BOX, "attributes": [{"colour": "red"}]}
    job = run(put({"a.jpg": jpeg(), "x.json": coco(categories=categories, annotations=[box])}))
    assert not run.failures(job)
    colour = ClassAttribute("colour", ("red", "blue"))
    assert studio.datasets.get(owner, "signs").classes == [DatasetClass("car", attributes=(colour,))]
    studio.undo.call(owner, job.call_id)
    assert studio.datasets.get(owner, "signs").classes == []


def test_an_undo_takes_all_of_it_back(run, put, studio, owner):
    dataset = studio.datasets.create(owner, name="signs")
    kept = studio.ingest.add_image(owner, dataset, data=jpeg(seed=9), filename="a.jpg")
    files = {f"{n}.jpg": jpeg(seed=n) for n in range(5)}
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(5)] + [{"id": 9, "file_name": "a.jpg"}]
    annotations = [{**BOX, "id": n, "image_id": n} for n in (*range(5), 9)]
    job = run(put({**files, "x.json": coco(images=images, annotations=annotations)}))
    assert len(run.images()) == 6
    studio.undo.call(owner, job.call_id)
    assert list(run.images()) == ["/a.jpg"]
    assert studio.samples.get(owner, kept.id).annotation_count == 0
    assert studio.datasets.get(owner, "signs").classes == []


def test_an_undo_of_an_import_that_made_the_dataset_takes_the_dataset_too(run, put, studio, owner):
    job = run(put({"a.jpg": jpeg(), "x.json": coco()}))
    studio.undo.call(owner, job.call_id)
    with pytest.raises(NotFound):
        studio.datasets.get(owner, "signs")


def test_a_worker_that_dies_between_two_transactions_loses_nothing(
    run, put, studio, owner, pool, monkeypatch
):
    monkeypatch.setattr("tintype_studio.jobs.kinds.import_files.CHUNK", 4)
    count = 11
    files = {f"{n}.jpg": jpeg(seed=n) for n in range(count)}
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(count)]
    annotations = [{**BOX, "id": n, "image_id": n} for n in range(count)]
    job = run.begin(put({**files, "x.json": coco(images=images, annotations=annotations)}))
    real, calls = Commits.items, []

    def dies(self: Any, batch: Any, notes: Any) -> Any:
        calls.append(len(batch))
        if len(calls) == 2:
            raise Killed
        return real(self, batch, notes)

    monkeypatch.setattr(Commits, "items", dies)
    with pytest.raises(Killed):
        turn(studio, job, pool)
    assert len(run.images()) == 4
    monkeypatch.setattr(Commits, "items", real)
    from tintype_studio.jobs.commits import handed_back
    from tintype_studio.storage.job_tables import jobs

    with studio.database.write() as connection:
        row = connection.execute(sa.select(jobs.c.turn, jobs.c.status)).one()
        if row.status == "running":
            connection.execute(sa.update(jobs).values(**handed_back(row.turn)))
    turn(studio, job, pool)
    job = studio.jobs.get(owner, job.id)
    assert (job.status, job.done, job.result["added"], job.result["annotations"]) == ("completed", 11, 11, 11)
    assert len(run.images()) == count


def test_a_transaction_that_is_taken_back_is_written_anew(
    run, put, studio, owner, pool, monkeypatch, check_counters
):
    """A full disk takes back the first try, after every item has been written."""
    from tintype_studio.errors import Unavailable

    count = 6
    files = {f"{n}.jpg": jpeg(seed=n) for n in range(count)}
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(count)]
    annotations = [{**BOX, "id": n, "image_id": n} for n in range(count)]
    real, calls = Commits._note, []

    def fails(self: Any, *arguments: Any) -> None:
        real(self, *arguments)
        calls.append(1)
        if len(calls) == 3:
            raise Unavailable("The disk is full.", code="storage_failed")

    monkeypatch.setattr(Commits, "_note", fails)
    job = run(put({**files, "x.json": coco(images=images, annotations=annotations)}))
    assert len(calls) > 3
    assert (job.status, job.result["added"], job.failed) == ("completed", count, 0)
    assert len(run.images()) == count
    check_counters(studio, owner, "signs")


def test_a_name_that_is_taken_meanwhile_fails_alone(run, put, studio, owner, monkeypatch, check_counters):
    from tintype_studio.annotations.importing import Importing

    dataset = studio.datasets.create(owner, name="signs")
    files = {f"{n}.jpg": jpeg(seed=n) for n in range(5)}
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(5)]
    annotations = [{**BOX, "id": n, "image_id": n} for n in range(5)]
    real = Importing.find

    def find(self: Any, *arguments: Any) -> Any:
        found = real(self, *arguments)
        for n in (0, 3):
            studio.ingest.add_image(owner, dataset, data=jpeg(seed=50 + n), filename=f"{n}.jpg")
        return found

    monkeypatch.setattr(Importing, "find", find)
    job = run(put({**files, "x.json": coco(images=images, annotations=annotations)}))
    assert {k: code for k, (code, _) in run.failures(job).items()} == {
        "0.jpg": "image_exists",
        "3.jpg": "image_exists",
    }
    assert {k: len(docs) for k, (_, _, docs) in run.images().items()} == {
        "/0.jpg": 0,
        "/3.jpg": 0,
        "/1.jpg": 1,
        "/2.jpg": 1,
        "/4.jpg": 1,
    }
    check_counters(studio, owner, "signs")


def test_a_zip_is_imported_like_its_folder(run, put, tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("set/train/a.jpg", jpeg(seed=1))
        archive.writestr("set/valid/a.jpg", jpeg(seed=2))
        for split in ("train", "valid"):
            archive.writestr(f"set/{split}/_annotations.coco.json", orjson.dumps(coco()))
    (tmp_path / "set.zip").write_bytes(out.getvalue())
    job = run(tmp_path / "set.zip")
    assert job.failed == 0
    assert {k: split for k, (_, split, _) in run.images().items()} == {"/a.jpg": "train", "/val/a.jpg": "val"}
    assert job.result["notes"] == [
        "1 image was put into a folder named by its split: its name occurs in others."
    ]


def test_a_link_on_the_way_is_not_followed(run, put, tmp_path):
    real = put({"a.jpg": jpeg(), "x.json": coco()}, "real")
    (tmp_path / "link").symlink_to(real)
    with pytest.raises(InvalidInput) as refused:
        run(tmp_path / "link")
    assert refused.value.code == "source_not_found"
    outside = put({"secret.jpg": jpeg(seed=3)}, "outside")
    (real / "secret.jpg").symlink_to(outside / "secret.jpg")
    (real / "more").symlink_to(outside)
    job = run(real)
    assert list(run.images()) == ["/a.jpg"]
    assert "2 links were not followed." in job.result["notes"]


def test_the_tiers_room_is_used_up_from_the_first_on(run, put, studio, owner, monkeypatch):
    from dataclasses import replace

    from tintype_studio.catalog import ingest

    tier = replace(ingest.tier_of(owner.tier), max_images=3)
    monkeypatch.setattr(ingest, "tier_of", lambda _name: tier)
    files = {f"{n}.jpg": jpeg(seed=n) for n in range(5)}
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(5)]
    job = run(put({**files, "x.json": coco(images=images, annotations=[])}))
    assert list(run.images()) == ["/0.jpg", "/1.jpg", "/2.jpg"]
    assert {code for code, _ in run.failures(job).values()} == {"tier_limit"}
