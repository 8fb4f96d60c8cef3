"""Archives, XML and JSON that were made to do harm, and folders with links: refused, with nothing read."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import pytest

from tintype_studio.errors import InvalidInput, TintypeError
from tintype_studio.formats.reading import source as source_module
from tintype_studio.formats.reading import zip_source
from tintype_studio.formats.reading.source import open_source


def member(name: str, data: bytes = b"x", **changes) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name
    for key, value in changes.items():
        setattr(info, key, value)
    return info, data


@pytest.fixture
def refused(tmp_path):
    def run(*members, data: bytes | None = None) -> tuple[str, str]:
        path = tmp_path / "bad.zip"
        if data is None:
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
                for info, content in members:
                    archive.writestr(info, content)
            data = out.getvalue()
        path.write_bytes(data)
        with pytest.raises(TintypeError) as error:
            open_source(path)
        assert str(tmp_path) not in error.value.message
        return error.value.code, error.value.message

    return run


@pytest.mark.parametrize(
    "name",
    [
        "../evil.jpg",
        "a/../../evil.jpg",
        "/etc/passwd",
        "C:/evil.jpg",
        "a\\..\\evil.jpg",
        "a//b.jpg",
        "./a.jpg",
        "a/./b.jpg",
        "..",
    ],
)
def test_names_that_lead_elsewhere(refused, name):
    code, message = refused(member("good.jpg"), member(name))
    assert code == "unsafe_archive"
    assert "leads out of" in message or "is no path inside" in message


def test_a_name_that_ends_at_a_nul(refused):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("aXjpg", b"x")
    assert refused(data=out.getvalue().replace(b"aXjpg", b"a\0jpg"))[0] == "unsafe_archive"


@pytest.mark.parametrize("kind", [0o120777, 0o010644, 0o020644, 0o140644])
def test_links_and_special_files(refused, kind):
    assert refused(member("a.jpg", b"/etc/passwd", external_attr=kind << 16))[0] == "unsafe_archive"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("again", ["a.jpg", "é.jpg"])
def test_names_that_occur_twice_even_in_another_spelling(refused, again):
    first = {"é.jpg": "e\u0301.jpg"}.get(again, again)
    code, message = refused(member(first), member(again))
    assert code == "unsafe_archive"
    assert "occurs twice" in message


@pytest.mark.parametrize("name", ["more.zip", "x/more.tar.gz", "more.7Z"])
def test_archives_inside(refused, name):
    assert refused(member("a.jpg"), member(name))[0] == "unsafe_archive"


def test_a_bomb_of_one_member(refused):
    code, message = refused(member("a.json", bytes(300 << 20), compress_type=zipfile.ZIP_DEFLATED))
    assert code == "unsafe_archive"
    assert "times its size" in message


def test_a_bomb_of_many_members(refused, monkeypatch):
    monkeypatch.setattr(zip_source, "MAX_RATIO", 10_000)
    members = [member(f"{n}.json", bytes(1 << 20), compress_type=zipfile.ZIP_DEFLATED) for n in range(40)]
    assert refused(*members)[0] == "unsafe_archive"


def test_members_that_overlap(refused):
    """Several entries of the table point at one compressed body, as the densest bombs do."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", os.urandom(5000))
        archive.writestr("b.txt", os.urandom(5000))
    data = bytearray(out.getvalue())
    second = data.rindex(b"PK\1\2")
    struct.pack_into("<L", data, second + 42, 0)
    code, _ = refused(data=bytes(data))
    assert code == "unsafe_archive"


def test_encryption_and_rare_methods(refused):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", b"x" * 50)
    data = bytearray(out.getvalue())
    struct.pack_into("<H", data, data.index(b"PK\1\2") + 8, 1)
    assert refused(data=bytes(data))[0] == "unsafe_archive"
    assert refused(member("a.txt", b"x", compress_type=zipfile.ZIP_LZMA))[0] == "unsafe_archive"


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip" * 99, b"PK\5\6" + bytes(18)[:10]])
def test_what_is_no_zip(refused, data):
    assert refused(data=data)[0] == "broken_archive"


def test_a_zip_that_is_cut_off(refused):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", os.urandom(5000))
    for end in (10, 3000, len(out.getvalue()) - 5):
        assert refused(data=out.getvalue()[:end])[0] == "broken_archive"


def test_a_table_of_contents_that_is_too_long(refused, monkeypatch):
    monkeypatch.setattr(zip_source, "MAX_DIRECTORY_BYTES", 1000)
    assert refused(*(member(f"{n}.txt") for n in range(50)))[0] == "too_many_files"


def test_too_many_files(refused, monkeypatch, tmp_path):
    for module in (source_module, zip_source):
        monkeypatch.setattr(module, "MAX_FILES", 5)
    assert refused(*(member(f"{n}.txt") for n in range(6)))[0] == "too_many_files"
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(6):
        (folder / f"{n}.txt").write_bytes(b"")
    with pytest.raises(TintypeError, match="holds more than"):
        open_source(folder)


def test_a_member_whose_bytes_are_damaged_fails_alone(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"good" * 100)
        archive.writestr("b.txt", os.urandom(5000))
    data = bytearray(out.getvalue())
    data[data.index(b"b.txt") + 200] ^= 0xFF
    (tmp_path / "x.zip").write_bytes(data)
    with open_source(tmp_path / "x.zip") as source:
        assert source.read("a.txt") == b"good" * 100
        with pytest.raises(InvalidInput) as damaged:
            source.read("b.txt")
    assert damaged.value.code == "unreadable"


def test_what_systems_leave_beside_files_is_left_out(tmp_path, read):
    del read
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("a.jpg", "._a.jpg", "._b.jpg", "__MACOSX/._a.jpg", ".DS_Store", ".hidden.jpg", "d/"):
            archive.writestr(name, b"")
    (tmp_path / "x.zip").write_bytes(out.getvalue())
    with open_source(tmp_path / "x.zip") as source:
        assert source.paths == ["._b.jpg", ".hidden.jpg", "a.jpg"]


def test_a_folder_is_read_without_its_links(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "deep").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.txt").write_bytes(b"secret")
    (root / "deep" / "a.txt").write_bytes(b"a")
    (root / "link.txt").symlink_to(outside / "secret.txt")
    (root / "folder").symlink_to(outside)
    os.mkfifo(root / "pipe.txt")
    with open_source(root) as source:
        assert source.paths == ["deep/a.txt"]
        assert sorted(source.links) == ["folder", "link.txt"]
        assert source.read("deep/a.txt") == b"a"


@pytest.mark.parametrize("part", ["deep", "deep/a.txt"])
def test_a_link_that_is_put_in_the_way_later_is_not_followed(tmp_path, part):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "deep").mkdir(parents=True)
    outside.mkdir()
    for folder in (root / "deep", outside):
        (folder / "a.txt").write_bytes(folder.name.encode())
    with open_source(root) as source:
        (root / part).rename(tmp_path / "moved")
        (root / part).symlink_to(outside if part == "deep" else outside / "a.txt")
        with pytest.raises(InvalidInput) as refused:
            source.read("deep/a.txt")
    assert refused.value.code == "unreadable"


def test_many_folders_keep_few_open(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "MAX_OPEN", 4)
    for n in range(30):
        folder = tmp_path / "root" / f"d{n}" / "e"
        folder.mkdir(parents=True)
        (folder / "a.txt").write_bytes(str(n).encode())
    with open_source(tmp_path / "root") as source:
        for _ in range(2):
            assert [source.read(path) for path in source.paths] == [
                path.split("/")[0][1:].encode() for path in source.paths
            ]
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        assert len(source._open) <= 4
    assert len(os.listdir("/proc/self/fd")) < before  # noqa: PTH208


@pytest.mark.parametrize("name", ["x.tar", "x", "none"])
def test_paths_that_are_no_source(tmp_path, name):
    if name != "none":
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InvalidInput) as refused:
        open_source(tmp_path / name)
    assert refused.value.code == "source_not_found"


def test_a_link_to_a_source_is_none(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.zip").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for path in (tmp_path / "link", tmp_path / "link" / "x.zip"):
        with pytest.raises(InvalidInput) as refused:
            open_source(path)
        assert refused.value.code == "source_not_found"


IMAGE = (
    '<image id="0" name="a.jpg" width="64" height="48">'
    '<box label="&x;" xtl="1" ytl="1" xbr="2" ybr="2"/></image>'
)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotations>{}</annotations>', "unsafe_xml"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations>{}</annotations>', "unsafe_xml"),
        ('<?xml version="1.0" encoding="cp037"?><annotations>{}</annotations>', "broken_file"),
        ('<?xml version="1.0" encoding="utf-7"?><annotations>{}</annotations>', "broken_file"),
        ("<annotations>{}</annotations>", "broken_file"),
        ("<annotations><meta>" + "<a>" * 100 + "</a>" * 100 + "</meta></annotations>", "broken_file"),
    ],
)
def test_xml_with_entities_or_in_disguise(refuse_all, text, code):
    assert refuse_all({"annotations.xml": text.replace("{}", IMAGE)}, "cvat") == code


def test_billion_laughs_and_utf16(refuse_all):
    laughs = '<!DOCTYPE l [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)
    )
    text = f"{laughs}]><annotations>{IMAGE.replace('&x;', '&j;')}</annotations>"
    assert refuse_all({"annotations.xml": text}, "cvat") == "unsafe_xml"
    assert refuse_all({"annotations.xml": text.encode("utf-16")}, "cvat") in {
        "broken_file",
        "format_not_found",
    }


def test_a_document_type_across_the_border_of_two_chunks():
    from tintype_studio.formats.reading.safe_xml import CHUNK, stream_xml

    for shift in range(12):
        start = "<!-- x -->" + " " * (CHUNK - 10 - shift)
        text = start + '<!DOCTYPE a [<!ENTITY x "y">]><annotations>&x;</annotations>'
        with pytest.raises(InvalidInput) as refused:
            list(stream_xml(io.BytesIO(text.encode()), "x.xml"))
        assert refused.value.code == "unsafe_xml"


@pytest.fixture
def refuse_all(read):
    """The code with which a file is refused, at the latest when its images are counted."""

    def run(files, format: str) -> str:
        with pytest.raises(TintypeError) as refused:
            read(files, format)
        return refused.value.code

    return run


def test_json_that_is_nested_too_deep(refuse_all):
    deep = b'{"images": [], "categories": [], "annotations": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert refuse_all({"x.json": deep}, "coco") == "broken_file"


def test_json_that_is_too_large(refuse_all, monkeypatch):
    from tintype_studio.formats.reading import coco

    monkeypatch.setattr(coco, "MAX_JSON_BYTES", 100)
    text = b'{"images": [], "categories": [], "annotations": []' + b" " * 200 + b"}"
    assert refuse_all({"x.json": text}, "coco") == "file_too_large"


def test_a_source_knows_no_path_of_the_machine(tmp_path):
    with pytest.raises(TintypeError) as refused:
        open_source(Path(tmp_path) / "nothing")
    assert str(tmp_path) not in refused.value.message
