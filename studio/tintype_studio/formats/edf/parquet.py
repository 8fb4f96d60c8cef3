"""Parquet as Arrow, unpacked in a process of its own.

What a Parquet file claims cannot be looked at beforehand as that of an Arrow file can, and the library
that reads it may give up on the whole process where a file lies. So a child reads it, which has only so
much memory, and the Arrow file that it writes is checked like any other.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tintype_studio.errors import InvalidInput, TooLarge

SECONDS = 600
_CHILD = """
import resource, sys
source, target, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
resource.setrlimit(resource.RLIMIT_AS, (most + (4 << 30), most + (4 << 30)))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from arro3.io import read_parquet, write_ipc
write_ipc(read_parquet(source, batch_size=1 << 16), target)
"""


_TYPES = b"ARROW:schema"


def _forget_types(path: Path) -> None:
    """Hide which Arrow types the columns were: the library does not read all that others write from."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 8, 0))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(size - 8 - length, 0))
        footer = file.read()
        file.seek(-len(footer), os.SEEK_END)
        file.write(footer.replace(_TYPES, b"arrow:schema"))


@contextmanager
def unpacked(file: IO[bytes], size: int, max_bytes: int) -> Iterator[IO[bytes]]:
    """A temporary Arrow file of a Parquet file of ``size`` bytes.

    Raises:
        TooLarge: it has more than ``max_bytes`` (``file_too_large``).
        InvalidInput: it cannot be read, or unpacks to more than that (``broken_file``).
    """
    if size > max_bytes:
        raise TooLarge(
            f"The Parquet file has more than {max_bytes >> 30} GiB.",
            code="file_too_large",
            fix="Split the dataset into several files.",
        )
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.parquet", Path(folder) / "out.arrow"
        with source.open("wb") as copy:
            file.seek(0)
            shutil.copyfileobj(file, copy)
        _forget_types(source)
        command = [sys.executable, "-c", _CHILD, str(source), str(target), str(max_bytes)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)  # noqa: S603
            failed = done.returncode != 0
        except subprocess.TimeoutExpired:
            failed = True
        if failed:
            raise InvalidInput(
                "The Parquet file cannot be read: it is damaged, or unpacks to more than is taken.",
                code="broken_file",
                fix="Check that it was copied whole, or write it again as .arrow.",
            )
        with target.open("rb") as arrow:
            yield arrow
