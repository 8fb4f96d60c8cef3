"""Puts the skill that ships with Tintype where Claude finds it."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from tintype_studio.errors import InvalidInput, NotFound, Unavailable
from tintype_studio.names import printable

NAME = "tintype-cv"
OLDEST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


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
    """Copy the skill into a folder of skills; an older copy is replaced, anything else is refused.

    Raises ``InvalidInput`` (``not_a_skill``) where something else has its name, and ``Unavailable``
    (``write_failed``).
    """
    return _written(folder, _copy)


def install_zip(folder: Path) -> Path:
    """Write the skill as a ZIP, as claude.ai takes it: one folder with the skill's name."""
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
        raise InvalidInput(
            f"{printable(str(target))!r} is there and is no copy of the skill.",
            code="not_a_skill",
            fix="Move it away, or name another folder with --output.",
        )
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tintype-") as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        shutil.copytree(skill_path(), new, ignore=shutil.ignore_patterns("__pycache__"))
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    return target


def _zip(folder: Path) -> Path:
    target, source = folder / f"{NAME}.zip", skill_path()
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
