"""What all export writers promise: names, times, order, errors, one use."""

from __future__ import annotations

import io
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from PIL import Image

from tintype_studio.errors import Conflict, InvalidInput, UnsupportedFormat
from tintype_studio.formats import WRITERS, writer_for
from tintype_studio.formats.archive import Archive
from tintype_studio.formats.base import ExportClass, member_path

FORMATS = ("pictograph", "coco", "yolo", "cvat", "pascal_voc", "labelme", "csv")
IMAGE_AT = {
    "pictograph": "images/",
    "coco": "images/",
    "yolo": "images/train/",
    "cvat": "images/",
    "pascal_voc": "JPEGImages/",
    "labelme": "images/",
    "csv": "images/",
}
PICTURES = (".jpg", ".png")


def jpeg(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (shade, 40, 90)).save(out, "JPEG")
    return out.getvalue()


def test_the_registry_names_every_format_and_imports_nothing_until_asked():
    script = (
        "import sys\n"
        "from tintype_studio.formats import WRITERS\n"
        f"assert list(WRITERS) == {[*FORMATS, 'edgefirst']!r} and 'coco' in WRITERS\n"
        "heavy = [m for m in sys.modules if m in {'numpy', 'orjson', 'pydantic'} or '.formats.' in m]\n"
        "assert not heavy, heavy\n"
        "assert WRITERS['coco'].format == 'coco'\n"
        "assert 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", FORMATS)
def test_each_writer_carries_its_own_name(name):
    assert writer_for(name) is WRITERS[name]
    assert WRITERS[name].format == name


def test_an_unknown_format_lists_those_there_are():
    with pytest.raises(
        UnsupportedFormat, match="pictograph, coco, yolo, cvat, pascal_voc, labelme, csv"
    ) as caught:
        writer_for("tfrecord")
    assert caught.value.details == {"formats": [*FORMATS, "edgefirst"]}
    assert "coco" in caught.value.fix


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_items_give_the_same_bytes_at_any_time(make, name, monkeypatch):
    items = [
        make.item(
            make.box(1, 2, 3, 4),
            make.polygon([(5, 5), (20, 6), (11, 30)], name="car"),
            make.polygon([(1, 1), (40, 1), (40, 40), (1, 40)], [(9, 9), (20, 9), (20, 20), (9, 20)]),
            make.keypoint(3, 4),
            filename=f"{n:03}.jpg",
            folder=folder,
            split=split,
            image=lambda n=n: jpeg(n),
        )
        for n in range(3)
        for folder, split in (("/", "train"), ("/stop/left", "val"))
    ]
    first = make.export(name, *items)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 2_000_000_000.0)
        patch.setattr(time, "localtime", lambda *_: time.gmtime(0))
        second = make.export(name, *items)
    assert first.data == second.data
    assert first.summary == second.summary


@pytest.mark.parametrize("name", FORMATS)
def test_members_carry_the_time_of_creation_and_a_fixed_mode(make, name):
    exported = make.export(name, make.item(make.box(1, 2, 3, 4), image=lambda: jpeg(7)))
    assert exported.zip.testzip() is None
    for info in exported.zip.infolist():
        assert info.date_time == (2025, 3, 4, 5, 6, 8)
        assert info.create_system == 3
        assert info.external_attr >> 16 == 0o100644
        is_image = info.filename.endswith(PICTURES)
        assert info.compress_type == (zipfile.ZIP_STORED if is_image else zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 8193, 16385, 1 << 20, (1 << 20) + 1])
@pytest.mark.parametrize("deflate", [True, False])
def test_members_of_every_size_come_back(size, deflate):
    """Among members that are streamed, whose place in the ZIP is found another way."""
    data = bytes(n * n % 251 for n in range(size))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        archive = Archive(file, datetime(2025, 1, 1))
        archive.write("first.txt", data, deflate=deflate)
        archive.write_chunks("streamed.txt", [b"head", data])
        archive.write("é/last.txt", data, deflate=deflate)
        for path in ("first.txt", "streamed.txt"):
            with pytest.raises(Conflict):
                archive.write(path, b"")
        file.writestr("by others.txt", "text")
    read = zipfile.ZipFile(out)
    assert read.testzip() is None
    assert read.namelist() == ["first.txt", "streamed.txt", "é/last.txt", "by others.txt"]
    assert read.read("first.txt") == read.read("é/last.txt") == data
    assert read.read("streamed.txt") == b"head" + data


def test_the_bytes_do_not_depend_on_the_system(monkeypatch):
    def written():
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            Archive(archive, datetime(2025, 1, 1)).write("a.txt", b"text")
        return out.getvalue()

    here = written()
    monkeypatch.setattr(sys, "platform", "win32")
    assert written() == here


@pytest.mark.parametrize(
    ("moment", "stamp"),
    [
        (datetime(2025, 3, 4, 5, 6, 8), (2025, 3, 4, 5, 6, 8)),  # naive: UTC
        (datetime(2025, 3, 4, 1, 6, 8, tzinfo=timezone(timedelta(hours=-4))), (2025, 3, 4, 5, 6, 8)),
        (datetime(1970, 1, 1, tzinfo=UTC), (1980, 1, 1, 0, 0, 0)),
        (datetime(2500, 1, 1, tzinfo=UTC), (2107, 12, 31, 0, 0, 0)),
    ],
)
def test_the_stamp_is_utc_and_within_what_a_zip_can_hold(make, moment, stamp):
    exported = make.export("pictograph", make.item(), created_at=moment)
    assert {info.date_time for info in exported.zip.infolist()} == {stamp}


@pytest.mark.parametrize("name", FORMATS)
def test_one_filename_in_two_folders_stays_two_images(make, name):
    pictures = {"/": jpeg(1), "/stop": jpeg(2), "/stop/left": jpeg(3)}
    exported = make.export(
        name, *(make.item(folder=folder, image=lambda d=data: d) for folder, data in pictures.items())
    )
    root = IMAGE_AT[name]
    assert exported.summary.images == 3
    assert len(set(exported.names)) == len(exported.names)
    assert exported.zip.read(f"{root}001.jpg") == pictures["/"]
    assert exported.zip.read(f"{root}stop/001.jpg") == pictures["/stop"]
    assert exported.zip.read(f"{root}stop/left/001.jpg") == pictures["/stop/left"]


@pytest.mark.parametrize("name", FORMATS)
def test_names_beyond_ascii_survive(make, name):
    item = make.item(
        make.box(1, 2, 3, 4, name="交通标志"),
        filename="žluťoučký 🐴.jpg",
        folder="/日本",
        image=lambda: jpeg(1),
    )
    exported = make.export(name, item, classes=("交通标志",), name="Straße")
    assert f"{IMAGE_AT[name]}日本/žluťoučký 🐴.jpg" in exported.names
    listing = {
        "pictograph": "dataset.json",
        "coco": "annotations.json",
        "yolo": "data.yaml",
        "cvat": "annotations.xml",
        "pascal_voc": "Annotations/日本/žluťoučký 🐴.xml",
        "labelme": "images/日本/žluťoučký 🐴.json",
        "csv": "annotations.csv",
    }[name]
    assert "交通标志" in exported.text(listing)
    assert "Straße" in exported.text(listing) or name in {"labelme", "csv"}  # which name no dataset


@pytest.mark.parametrize("name", FORMATS)
def test_without_images_only_text_is_written(make, name):
    exported = make.export(name, make.item(make.box(1, 2, 3, 4)))
    assert exported.names
    assert not any(path.endswith(PICTURES) for path in exported.names)


@pytest.mark.parametrize("name", FORMATS)
def test_a_class_that_is_not_listed_is_an_error_and_writes_nothing(make, name):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        writer = WRITERS[name](
            archive, dataset_name="d", classes=[ExportClass("stop")], created_at=datetime(2025, 1, 1)
        )
        with writer, pytest.raises(InvalidInput, match="'Stop'") as caught:
            writer.add(make.item(make.box(1, 2, 3, 4), make.box(1, 2, 3, 4, name="Stop"), image=lambda: b"x"))
        assert archive.namelist() == []
    assert caught.value.details["class"] == "Stop"
    assert writer.images == 0


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "where",
    [
        {"filename": "../../etc/cron.d/x"},
        {"filename": ".."},
        {"filename": ""},
        {"filename": "a\\..\\b.jpg"},
        {"filename": "a\x00.jpg"},
        {"filename": "a\n.jpg"},
        {"filename": "\ud800.jpg"},
        {"folder": "/stop/../../up"},
        {"folder": "/./x"},
        {"folder": "C:\\temp"},
    ],
)
def test_unsafe_names_never_reach_the_zip(make, name, where):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        writer = WRITERS[name](archive, dataset_name="d", classes=[], created_at=datetime(2025, 1, 1))
        with writer, pytest.raises(InvalidInput):
            writer.add(make.item(image=lambda: b"x", **where))
        assert archive.namelist() == []


def test_a_folder_with_odd_slashes_is_still_relative():
    from tintype_studio.formats.base import folder_segments

    for folder in ("//stop//left/", "/stop/left", "stop/left"):
        assert member_path("images", folder_segments(folder), "a.jpg") == "images/stop/left/a.jpg"


def test_a_path_too_long_for_a_zip_is_refused():
    with pytest.raises(InvalidInput, match="65,535"):
        member_path("images", ["é" * 40_000], "a.jpg")


@pytest.mark.parametrize("name", ["pictograph", "coco", "cvat", "csv"])
def test_the_same_image_twice_is_a_conflict(make, name):
    item = make.item(image=lambda: jpeg(1))
    with pytest.raises(Conflict, match=r"001\.jpg"):
        make.export(name, item, item)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("change", "says"),
    [({"width": 0}, "0 x 48"), ({"height": -3}, "64 x -3")],
)
def test_senseless_items_are_refused(make, name, change, says):
    with pytest.raises(InvalidInput, match=says):
        make.export(name, replace(make.item(), **change))


def test_classes_must_differ(make):
    with pytest.raises(InvalidInput, match="'stop' is listed twice"):
        make.export("coco", classes=("stop", "car", "stop"))


@pytest.mark.parametrize("name", FORMATS)
def test_a_writer_is_used_once(make, name):
    with zipfile.ZipFile(io.BytesIO(), "w") as archive:
        writer = WRITERS[name](archive, dataset_name="d", classes=[], created_at=datetime(2025, 1, 1))
        writer.finish()
        with pytest.raises(RuntimeError, match="finished"):
            writer.add(make.item())
        with pytest.raises(RuntimeError, match="finished"):
            writer.finish()
        writer.close()


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_dataset_is_a_whole_export(make, name):
    exported = make.export(name, classes=())
    assert exported.summary.images == exported.summary.annotations == 0
    assert exported.summary.notes == []
    assert exported.zip.testzip() is None
    assert len(exported.names) == 1


@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_that_cannot_seek_will_do(make, name):
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.data = bytearray()

        def writable(self):
            return True

        def write(self, piece):
            self.data += piece
            return len(piece)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        writer = WRITERS[name](
            archive, dataset_name="d", classes=[ExportClass("stop")], created_at=datetime(2025, 1, 1)
        )
        writer.add(make.item(make.box(1, 2, 3, 4), image=lambda: jpeg(5)))
        writer.finish()
    written = zipfile.ZipFile(io.BytesIO(bytes(pipe.data)))
    assert written.testzip() is None
    assert any(written.read(path) == jpeg(5) for path in written.namelist())
