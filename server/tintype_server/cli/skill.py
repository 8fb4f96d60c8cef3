"""Puts the skill that ships with Tintype where Claude finds it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from tintype_studio.errors import InvalidInput, NotFound, Unavailable
from tintype_studio.names import printable

NAME = "tintype-cv"
OLDEST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
INSTALLED = ".tintype.json"
"""In a copy of the skill: its files with their digests, by which the next one knows what was changed."""


def skill_path() -> Path:
    """Where the skill lies: beside the package when installed, at the repository's top in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "skills" / NAME, package.parents[1] / "skills" / NAME):
        if (folder / "SKILL.md").is_file():
            return folder
    raise NotFound(
        "The skill is not part of this installation.",
        code="skill_not_found",
        fix="Take the folder skills/tintype-cv of Tintype's repository.",
    )


def install_folder(folder: Path) -> Path:
    """Copy the skill into a folder of skills. In an older copy, other files are kept, and those of the skill
    that somebody changed stay beside the new ones as ``<name>.bak``; anything else is refused.

    Raises ``InvalidInput`` (``not_a_skill``) where something else has its name, and ``Unavailable``
    (``write_failed``).
    """
    return _written(folder, _copy)


def install_zip(folder: Path) -> Path:
    """Write the skill as a ZIP, as claude.ai takes it: one folder with the skill's name.

    Only an older one is replaced. Raises as ``install_folder``.
    """
    return _written(folder, _zip)


def _written(folder: Path, write: Callable[[Path], Path]) -> Path:
    from tintype_server.cli.files import make_folder

    make_folder(folder)
    try:
        return write(folder)
    except OSError as error:
        raise Unavailable(
            f"The skill could not be written: {error.strerror or type(error).__name__}.",
            code="write_failed",
            fix="Name another folder with --output.",
            retryable=False,
        ) from error


def _copy(folder: Path) -> Path:
    target = folder / NAME
    if target.is_symlink() or (target.exists() and not (target / "SKILL.md").is_file()):
        raise _not_a_skill(target)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tintype-") as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        shutil.copytree(skill_path(), new, ignore=shutil.ignore_patterns("__pycache__"))
        digests = {name: _digest(file) for name, file in _files(new)}
        (new / INSTALLED).write_bytes(orjson.dumps(digests, option=orjson.OPT_INDENT_2))
        if target.exists():
            _keep(target, new)
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    return target


def _keep(old: Path, new: Path) -> None:
    """Copy into ``new`` what somebody put into ``old`` or changed there."""
    ours = _installed(old)
    shipped = {name for name, _ in _files(new)}
    # First what is only theirs, so that no changed file takes one of those names.
    for name, file in sorted(_files(old), key=lambda each: (each[0] in shipped, each)):
        if name == INSTALLED or (name in ours and not file.is_symlink() and ours[name] == _digest(file)):
            continue
        copy = new / name
        if copy.is_file() and not file.is_symlink() and _digest(copy) == _digest(file):
            continue
        number = 0
        while copy.exists() or copy.is_symlink():
            number += 1
            copy = new / f"{name}.bak{number if number > 1 else ''}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy, follow_symlinks=False)


def _installed(folder: Path) -> dict[str, str]:
    try:
        found = orjson.loads((folder / INSTALLED).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):  # from before there was one, or no longer one
        return {}
    return found if isinstance(found, dict) else {}


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(folder.rglob("*")):
        if (file.is_symlink() or not file.is_dir()) and "__pycache__" not in file.parts:
            yield file.relative_to(folder).as_posix(), file


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _not_a_skill(target: Path) -> InvalidInput:
    return InvalidInput(
        f"{printable(str(target))!r} is there and is no copy of the skill.",
        code="not_a_skill",
        fix="Move it away, or name another folder with --output.",
    )


def _is_our_zip(file: Path) -> bool:
    """Whether all in it is of the skill, with the one date that archives of others do not have."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, IsADirectoryError):
        return False
    return bool(entries) and all(
        entry.filename.startswith(f"{NAME}/") and entry.date_time == OLDEST_ZIP_DATE for entry in entries
    )


def _zip(folder: Path) -> Path:
    target, source = folder / f"{NAME}.zip", skill_path()
    if target.is_symlink() or (target.exists() and not _is_our_zip(target)):
        raise _not_a_skill(target)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tintype-") as scratch:
        part = Path(scratch) / target.name
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(source.rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    # The same files make the same archive, whenever they were checked out.
                    name = f"{NAME}/{file.relative_to(source).as_posix()}"
                    entry = zipfile.ZipInfo(name, OLDEST_ZIP_DATE)
                    entry.external_attr = (file.stat().st_mode & 0o777) << 16
                    archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
        part.replace(target)
    return target
