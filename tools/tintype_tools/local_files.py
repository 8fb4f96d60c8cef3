"""The gate to the server's own disk: which local paths a tool may read or write.

Paths are judged by where they really lead, after links.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tintype_studio.errors import InvalidInput, PathNotAllowed
from tintype_studio.names import printable


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """Allowed roots and forbidden folders (already resolved). Relative paths start at ``base``."""

    roots: tuple[Path, ...]
    base: Path
    forbidden: tuple[Path, ...] = ()
    """Never touched, even under a root: the workspace's own files."""

    @classmethod
    def under(cls, *roots: Path, base: Path | None = None, forbidden: tuple[Path, ...] = ()) -> LocalFiles:
        """Allow everything below ``roots`` but what lies in ``forbidden``."""
        return cls(
            roots=tuple(root.expanduser().resolve() for root in roots),
            base=(base or Path.cwd()).resolve(),
            forbidden=tuple(folder.expanduser().resolve() for folder in forbidden),
        )

    def allows(self, real: Path) -> bool:
        """Whether a resolved path lies under an allowed root and in no forbidden folder."""
        return any(real.is_relative_to(root) for root in self.roots) and not any(
            real.is_relative_to(folder) for folder in self.forbidden
        )

    def _resolve(self, path: str) -> Path:
        if not self.roots:
            raise PathNotAllowed(
                "This server reads and writes no local paths for callers over the network.",
                fix="Use the signed URLs in the results, or ask the operator to allow a folder "
                "with `tintype serve --root FOLDER`.",
            )
        if "\0" in path or not path.strip():
            raise InvalidInput("The path is empty or holds a NUL character.", code="invalid_path")
        try:
            real = (self.base / Path(path).expanduser()).resolve()
            real.exists()  # raises for a name that no file can have
        except (OSError, RuntimeError, ValueError):
            raise InvalidInput("The path cannot be resolved.", code="invalid_path") from None
        if not self.allows(real):
            raise PathNotAllowed(
                f"{printable(path[:200])!r} lies outside the folders that this server may touch.",
                fix="Use a path under the working folder, or ask the operator to add it to TINTYPE_ROOTS.",
            )
        return real

    def file(self, path: str) -> Path:
        """An existing regular file to read."""
        real = self._resolve(path)
        if not real.is_file():
            if real.is_dir():
                raise InvalidInput(
                    f"{printable(path[:200])!r} is a folder, not a file.",
                    code="file_not_found",
                    fix="Name one file in it.",
                )
            raise InvalidInput(
                f"There is no file at {printable(path[:200])!r}.",
                code="file_not_found",
                fix="Check the path; it must name one file.",
            )
        return real

    def existing(self, path: str) -> Path:
        """An existing regular file or folder to read."""
        real = self._resolve(path)
        if not real.is_file() and not real.is_dir():
            raise InvalidInput(
                f"There is no file or folder at {printable(path[:200])!r}.",
                code="file_not_found",
                fix="Check the path.",
            )
        return real

    def folder(self, path: str) -> Path:
        """An existing folder to read."""
        real = self._resolve(path)
        if not real.is_dir():
            if real.is_file():
                raise InvalidInput(
                    f"{printable(path[:200])!r} is a file, not a folder.",
                    code="folder_not_found",
                    fix="Name the folder that it lies in.",
                )
            raise InvalidInput(
                f"There is no folder at {printable(path[:200])!r}.",
                code="folder_not_found",
                fix="Check the path; it must name a folder.",
            )
        return real

    def target(self, path: str) -> Path:
        """A file to write; its folder must exist and nothing else may stand there."""
        real = self._resolve(path)
        if real.is_dir():
            raise InvalidInput(
                f"{printable(path[:200])!r} is a folder, not a file.",
                code="invalid_path",
                fix="Name a file in it, such as export.zip.",
            )
        if real.exists() and not real.is_file():
            raise InvalidInput(f"{printable(path[:200])!r} is not a file.", code="invalid_path")
        if not real.parent.is_dir():
            raise InvalidInput(
                f"The folder of {printable(path[:200])!r} does not exist.",
                code="folder_not_found",
                fix="Make the folder first, or choose an existing one.",
            )
        return real
