"""What may be asked of a video before anything is made of it. Files are opened in a child only."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tintype_studio.errors import NotFound, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.pool import POLL_SECONDS, Pool
from tintype_studio.names import printable
from tintype_studio.storage.uploads import Uploads
from tintype_studio.video.probe import VideoInfo

PROBE_SECONDS = 25.0
"""Below the half minute after which common clients give the call up."""
CHILDREN = 3
"""One for an organization at a time: a file that takes long holds up nobody else's."""


class Videos:
    """Describes videos: uploads, and files of this machine. Thread-safe."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._busy: set[str] = set()

    @contextmanager
    def open(self, principal: Principal, upload: str | None, local: str | None) -> Iterator[Path]:
        """A video as a file, for the time of the block: an upload by its path, or the local one.

        ``NotFound`` (``upload_not_found``) as ``Uploads.open``.
        """
        if upload is None:
            file = Path(local or "")
            # The path was judged when it held no link; one put there since may lead anywhere.
            if not file.is_file() or os.path.realpath(file) != str(file):
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
        (``damaged_video``) for what is no video that can be read, ``Unavailable`` (``probes_busy``) while
        the organization's other videos take long.
        """
        with self.open(principal, upload, local) as file:
            info: VideoInfo = self.in_child(
                principal, "tintype_studio.video.probe:probe", str(file), deadline=PROBE_SECONDS, check=check
            )
            return info

    def in_child(
        self,
        principal: Principal,
        function: str,
        *arguments: Any,
        deadline: float,
        check: Callable[[], None] = lambda: None,
    ) -> Any:
        """Run ``module:function``, which opens one video, as ``Pool.call`` does: one for an organization at a
        time. Raises ``Unavailable`` (``probes_busy``) while its other videos take long.
        """
        with self._turn(principal.organization_uuid, check):
            return self._children().call(function, *arguments, deadline=deadline, check=check)

    @contextmanager
    def _turn(self, organization: str, check: Callable[[], None]) -> Iterator[None]:
        until = time.monotonic() + PROBE_SECONDS
        while not self._begin(organization):
            check()
            if time.monotonic() > until:
                raise Unavailable(
                    "Other videos of the organization are being looked at.",
                    code="probes_busy",
                    fix="Call again when they are done, one video after the other.",
                )
            time.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(organization)

    def _begin(self, organization: str) -> bool:
        with self._lock:
            if organization in self._busy:
                return False
            self._busy.add(organization)
            return True

    def close(self) -> None:
        """End the children."""
        with self._lock:
            if self._pool is not None:
                self._pool.close()
                self._pool = None

    def _children(self) -> Pool:
        with self._lock:
            if self._pool is None:
                self._pool = Pool(CHILDREN)
            return self._pool
