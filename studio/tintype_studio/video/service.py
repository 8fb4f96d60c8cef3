"""What may be asked of a video before anything is made of it. Files are opened in a child only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tintype_studio.errors import NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.pool import Pool
from tintype_studio.names import printable
from tintype_studio.storage.uploads import Uploads
from tintype_studio.video.probe import VideoInfo

PROBE_SECONDS = 25.0
"""Below the half minute after which common clients give the call up."""


class Videos:
    """Describes videos: uploads, and files of this machine. Thread-safe."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._lock = threading.Lock()
        self._pool: Pool | None = None

    @contextmanager
    def open(self, principal: Principal, upload: str | None, local: str | None) -> Iterator[Path]:
        """A video as a file, for the time of the block: an upload by its path, or the local one.

        ``NotFound`` (``upload_not_found``) as ``Uploads.open``.
        """
        if upload is None:
            file = Path(local or "")
            if not file.is_file():
                raise NotFound(
                    f"The video {printable(file.name)!r} is not there any more.",
                    code="file_not_found",
                    fix="Put it back where it was, or extract from where it is now.",
                )
            yield file
            return
        with self._uploads.open(principal, upload) as file:
            yield file

    def probe(
        self,
        principal: Principal,
        *,
        upload: str | None = None,
        local: str | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> VideoInfo:
        """Length, rate and size. Raises as ``open``, and ``UnsupportedFormat`` or ``InvalidInput``
        (``damaged_video``) for what is no video that can be read.
        """
        with self.open(principal, upload, local) as file:
            info: VideoInfo = self._children().call(
                "tintype_studio.video.probe:probe", str(file), deadline=PROBE_SECONDS, check=check
            )
            return info

    def close(self) -> None:
        """End the child."""
        with self._lock:
            if self._pool is not None:
                self._pool.close()
                self._pool = None

    def _children(self) -> Pool:
        with self._lock:
            if self._pool is None:
                self._pool = Pool(1)
            return self._pool
