"""What a connector is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from tintype_studio.errors import InvalidInput, NotFound
from tintype_studio.names import printable

if TYPE_CHECKING:
    from tintype_studio.connectors.web import Web
    from tintype_studio.formats.reading.base import Reader

MAX_KEY_LENGTH = 512
MAX_ARCHIVE_BYTES = 100 << 30
MOST = 10**12
"""Images that a provider may say it has."""


@dataclass(frozen=True, slots=True)
class RemoteDataset:
    """A dataset of a provider. ``slug`` names it in the provider's addresses."""

    id: str
    name: str
    slug: str
    image_count: int = 0
    version: int | None = None
    """Roboflow's; None for the newest."""


@dataclass(frozen=True, slots=True)
class Account:
    """What a key can read."""

    workspace: str
    datasets: tuple[RemoteDataset, ...]

    def find(self, wanted: RemoteDataset, title: str) -> RemoteDataset:
        """The dataset that is meant, by id or else by slug.

        Raises:
            NotFound: there is none (``connector_dataset_not_found``).
        """
        for found in self.datasets:
            if wanted.id in {found.id, found.slug}:
                return found
        for found in self.datasets:
            if wanted.slug in {found.id, found.slug}:
                return found
        raise NotFound(
            f"{title} has no dataset {printable(wanted.name)[:120]!r} that this key can read.",
            code="connector_dataset_not_found",
            fix="Call validate_connector, and send the datasets as it tells them.",
        )


@dataclass(frozen=True, slots=True)
class Fetching:
    """What a connector needs of the job that it fetches for."""

    target: Path
    """Where to put the archive; its name ends in ``.zip``."""
    progress: Callable[[str], None]
    pause: Callable[[float], None]
    """Waits so many seconds; raises when the job shall stop."""


class Connector(ABC):
    """Reads datasets of one provider with one key; ``web`` is the way there."""

    name: ClassVar[str]
    title: ClassVar[str]
    default_url: ClassVar[str]

    def __init__(self, web: Web) -> None:
        self._web = web

    @staticmethod
    @abstractmethod
    def headers(key: str) -> Mapping[str, str]:
        """How the key is sent."""

    @abstractmethod
    def account(self) -> Account:
        """What the key can read.

        Raises:
            InvalidInput: the key does not work (``connector_key_refused``).
            Unavailable, RateLimited: the provider cannot tell now.
        """

    @abstractmethod
    def fetch(self, account: Account, found: RemoteDataset, version: int | None, job: Fetching) -> Reader:
        """A reader of a dataset, whose archive was put at ``job.target``. The caller closes its source.

        Raises as ``account`` does; ``NotFound`` when there is nothing to fetch.
        """

    def expect(self, value: Any, kind: type[Any]) -> Any:
        """``value`` if it is of the kind that the API documents; ``connector_answer`` otherwise."""
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self._web.nonsense()
        return value

    def member(self, value: Any, key: str, kind: type[Any]) -> Any:
        """A member of an object of an answer, in the same way."""
        return self.expect(self.expect(value, dict).get(key), kind)


def segment(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="") if text not in {".", ".."} else "-"


def whole(value: object) -> int:
    """A count, or 0 for what is none."""
    return min(value, MOST) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def require_key(key: str) -> str:
    """The key without outer spaces; ``InvalidInput`` for text that no key is. It is not repeated."""
    key = key.strip()
    if not key or len(key) > MAX_KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidInput(
            "api_key is no key of a provider.",
            code="invalid_connector_key",
            fix="Copy the key from the provider's settings, as one word of ASCII characters.",
        )
    return key
