"""What the snapshot tools share: a snapshot as agents see it, its uploads, local files that become one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tintype_studio.errors import Conflict, InvalidInput
from tintype_studio.names import printable
from tintype_studio.snapshots.receiving import MAX_FILES, Upload
from tintype_studio.snapshots.snapshot import Snapshot
from tintype_studio.snapshots.uploads import PART_BYTES
from tintype_tools.call import Call
from tintype_tools.spec import Result

SnapshotRef = Annotated[
    str,
    Field(description="The snapshot's UUID, its ss-… id, or its name if no other has it.", max_length=200),
]

MAX_LISTED_FILES = 20


class TopicShape(Result):
    """A topic of a recording. ``meaning``: camera, points, location and attitude become samples, other stays
    in the snapshot.
    """

    topic: str
    meaning: str
    messages: int
    type: str
    encoding: str


class SnapshotFileShape(Result):
    """A file of a snapshot. Size in bytes; ``complete`` once all of its bytes are there."""

    path: str
    size: int
    complete: bool


class FileUploadShape(Result):
    """A file to put: PUT the bytes of each part, ``part_bytes`` at a time, to the link of that place."""

    path: str
    size: int
    upload_id: str
    part_links: list[str]


class SnapshotShape(Result):
    """A snapshot. Size in bytes, of all files; of many files the first are listed."""

    id: str
    wire_id: str
    name: str
    description: str | None = None
    type: str
    status: str
    error_message: str | None = None
    dataset_name: str | None = None
    size: int
    file_count: int
    files: list[SnapshotFileShape] | None = None
    topics: list[TopicShape] | None = None
    seconds: float | None = None
    samples: int | None = None
    labels: list[str] | None = None
    created_at: datetime
    completed_at: datetime | None = None
    job_id: str | None = None
    part_bytes: int | None = None
    uploads: list[FileUploadShape] | None = None

    @classmethod
    def of(cls, snapshot: Snapshot, *, whole: bool = True) -> SnapshotShape:
        """From the platform's snapshot; without files and topics where it is one of a list."""
        facts = snapshot.facts
        files = [
            SnapshotFileShape(path=f.path, size=f.size, complete=f.sha256 is not None) for f in snapshot.files
        ]
        topics = [
            TopicShape(
                topic=each["topic"],
                meaning=each["meaning"],
                messages=each["messages"],
                type=each["schema"],
                encoding=each["encoding"],
            )
            for each in facts.get("topics", [])
        ]
        return cls(
            id=snapshot.id,
            wire_id=snapshot.wire_id,
            name=snapshot.name,
            description=snapshot.description,
            type=snapshot.type.value,
            status=snapshot.status.value,
            error_message=snapshot.error_message,
            dataset_name=snapshot.dataset_name,
            size=snapshot.size,
            file_count=len(files),
            files=files[:MAX_LISTED_FILES] if whole and files else None,
            topics=topics if whole and topics else None,
            seconds=facts.get("seconds"),
            samples=facts.get("samples"),
            labels=facts.get("labels") if whole else None,
            created_at=snapshot.created_at,
            completed_at=snapshot.completed_at,
            job_id=snapshot.job_id,
        )

    @classmethod
    def begun(cls, upload: Upload, call: Call) -> SnapshotShape:
        """With the links of an upload; ``Conflict`` where no HTTP server could take its files."""
        if call.base_url is None:
            raise Conflict(
                "This caller reaches no HTTP server that files could be put to.",
                code="no_http_server",
                fix="Name local files in paths, or have the operator set TINTYPE_BASE_URL.",
            )
        shape = cls.of(upload.snapshot)
        shape.part_bytes = PART_BYTES
        shape.uploads = [
            FileUploadShape(
                path=file.path,
                size=file.size,
                upload_id=file.upload_id,
                part_links=[f"{call.base_url}/_part/{token}" for token in file.tokens],
            )
            for file in upload.files
        ]
        return shape


def local_snapshot_files(call: Call, paths: Sequence[str]) -> list[tuple[str, str]]:
    """Each file under some paths, with its name in the snapshot and where it really is.

    Folders are read with all subfolders, without hidden files; links are followed only to where this call
    may read. Names begin below the folder.
    """
    found: list[tuple[str, str]] = []
    for path in paths:
        real = call.files.existing(path)
        if real.is_file():
            found.append((real.name, str(real)))
            continue
        for file in _walk(real):
            inner = file.resolve()
            if call.files.allows(inner) and inner.is_file():
                found.append((printable(file.relative_to(real).as_posix()), str(inner)))
            if len(found) > MAX_FILES:
                raise InvalidInput(
                    f"There are more than {MAX_FILES:,} files.",
                    code="invalid_files",
                    fix="Put many small files into one ZIP.",
                )
    if not found:
        raise InvalidInput(
            "There is no file in what was named.",
            code="invalid_files",
            fix="Name a file, or a folder with files.",
        )
    return found


def _walk(folder: Path) -> list[Path]:
    found: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            found += _walk(entry)
        elif not entry.is_dir():
            found.append(entry)
        if len(found) > MAX_FILES:
            break
    return found
