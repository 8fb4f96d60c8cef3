"""Which local paths a tool may touch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tintype_studio.errors import InvalidInput, PathNotAllowed
from tintype_tools.local_files import LocalFiles


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "inner").mkdir(parents=True)
    (tmp_path / "root" / "file.txt").write_text("x")
    (tmp_path / "secret.txt").write_text("s")
    (tmp_path / "root" / "link.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "root" / "up").symlink_to(tmp_path)
    return tmp_path / "root"


@pytest.fixture
def files(root: Path) -> LocalFiles:
    return LocalFiles.under(root, base=root)


def test_paths_under_a_root_are_allowed(files: LocalFiles, root: Path) -> None:
    assert files.file("file.txt") == files.file(str(root / "file.txt")) == root / "file.txt"
    assert files.folder("inner") == root / "inner"
    assert files.existing("inner") == root / "inner"
    assert files.existing("file.txt") == root / "file.txt"
    assert files.target("inner/new.zip") == root / "inner" / "new.zip"


@pytest.mark.parametrize(
    "path", ["../secret.txt", "/etc/passwd", "link.txt", "up/secret.txt", "inner/../../secret.txt", "~/x"]
)
def test_paths_that_lead_outside_are_refused(files: LocalFiles, path: str) -> None:
    for use in (files.file, files.folder, files.existing, files.target):
        with pytest.raises(PathNotAllowed):
            use(path)


def test_what_is_neither_file_nor_folder_is_not_there(files: LocalFiles, root: Path) -> None:
    os.mkfifo(root / "pipe")
    for path in ("nothing", "pipe"):
        with pytest.raises(InvalidInput) as refused:
            files.existing(path)
        assert refused.value.code == "file_not_found"


@pytest.mark.parametrize("path", ["", "  ", "a\0b", "x" * 5000])
def test_paths_that_are_no_paths_are_refused(files: LocalFiles, path: str) -> None:
    with pytest.raises(InvalidInput):
        files.file(path)


def test_no_roots_means_no_local_files() -> None:
    with pytest.raises(PathNotAllowed, match="over the network"):
        LocalFiles.under().file("x")


def test_a_target_is_a_new_or_existing_file_in_an_existing_folder(files: LocalFiles) -> None:
    assert files.target("file.txt")
    for path in ("inner", "nowhere/x.zip"):
        with pytest.raises(InvalidInput):
            files.target(path)


def test_a_sibling_with_the_same_prefix_is_outside(tmp_path: Path, root: Path, files: LocalFiles) -> None:
    (tmp_path / "root-2").mkdir()
    with pytest.raises(PathNotAllowed):
        files.folder("../root-2")


def test_the_workspaces_own_files_are_never_touched(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "secret.key").write_text("x")
    (tmp_path / "way-in").symlink_to(home)
    files = LocalFiles.under(tmp_path, base=tmp_path, forbidden=(home,))
    for path in ("home/secret.key", "way-in/secret.key"):
        for use in (files.file, files.target):
            with pytest.raises(PathNotAllowed):
                use(path)
    assert not files.allows(home / "secret.key")


def test_a_file_and_a_folder_are_not_mixed_up(files: LocalFiles) -> None:
    for ask, path, told in (
        (files.file, "inner", "'inner' is a folder, not a file."),
        (files.folder, "file.txt", "'file.txt' is a file, not a folder."),
        (files.target, "inner", "'inner' is a folder, not a file."),
    ):
        with pytest.raises(InvalidInput) as refused:
            ask(path)
        assert refused.value.message == told
