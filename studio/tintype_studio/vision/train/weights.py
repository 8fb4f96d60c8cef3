"""The weights that a run starts from: kept with the run when it is planned, opened in its child process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tintype_studio.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from tintype_studio.vision.train.config import TrainConfig
    from tintype_studio.vision.train.session import Order

FOLDER = "weights"
"""In the run's work folder."""

LONGEST_NAME = 200
"""Bytes of a file name; file systems take 255."""

_PRETRAINED, _MODEL = "pretrained: ", "model "


@dataclass(frozen=True, slots=True)
class Weights:
    """What ``config.pretrained`` stands for."""

    kind: Literal["hub", "model", "local"]
    name: str
    """The hub id, the model's name and version, or the path as the caller gave it."""
    model_id: str | None = None
    sha256: str | None = None
    """Of the model's weights, in ``Blobs``."""
    path: str | None = None
    """Where a local path really leads. For the child process only: it is told to nobody."""

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Weights:
        """What ``as_json`` gave."""
        return cls(**found)

    def told(self) -> dict[str, Any]:
        """What a model's card says of it."""
        about = {"kind": self.kind, "name": self.name}
        return about if self.model_id is None else {**about, "model_id": self.model_id}

    def called(self, initialization: str) -> str:
        """A trainer's word on how it began; a model of the registry is called what it is, and no file."""
        if self.kind != "model":
            return initialization
        return initialization.replace(f"{_PRETRAINED}{_MODEL}", f"from {_MODEL}", 1)


@contextmanager
def opened(order: Order) -> Iterator[TrainConfig]:
    """The run's configuration, its ``pretrained`` as a trainer can read it while this is open.

    Trainers tell callers the name of the file, so it is called as the caller knows the weights.

    Raises ``Unavailable`` (``needs_weights``) when they are gone.
    """
    weights = order.weights
    if weights is None:
        yield order.config
        return
    folder = (Path(order.work_dir) / FOLDER).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if weights.kind == "hub":
        # Trainers, and the library too, look for a folder of that name first: here is none.
        with chdir(folder):
            yield order.config
    else:
        path = _of_model(order, weights, folder) if weights.kind == "model" else _link(order, weights, folder)
        yield replace(order.config, pretrained=str(path))


def _of_model(order: Order, weights: Weights, folder: Path) -> Path:
    from tintype_studio.storage.blobs import Blobs

    path = folder / _file_name(f"{_MODEL}{weights.name}")
    if not path.exists():
        half = folder / "half"
        try:
            with half.open("wb") as file:
                for chunk in Blobs(order.blob_url).stream(str(weights.sha256)):
                    file.write(chunk)
        except NotFound as error:
            raise needs_weights(f"The weights of model {weights.name} are gone.", order.pipeline) from error
        half.rename(path)
    return path


def _link(order: Order, weights: Weights, folder: Path) -> Path:
    real = Path(str(weights.path))
    # Resolved when the caller's right to it was checked: what leads elsewhere now was not.
    if not real.exists() or real.resolve() != real:
        raise needs_weights(
            f"{weights.name[:100]!r} is not there any more, or not on this machine.",
            order.pipeline,
        )
    link = folder / _file_name(Path(weights.name).name)
    link.unlink(missing_ok=True)
    link.symlink_to(real)
    return link


def _file_name(name: str) -> str:
    short = name.encode()[:LONGEST_NAME].decode(errors="ignore").strip()
    return "weights" if short in {"", ".", ".."} else short


def needs_weights(problem: str, pipeline: str) -> Unavailable:
    """The one answer to weights that are not there or do not fit."""
    return Unavailable(
        problem,
        code="needs_weights",
        fix="Leave out pretrained to start at random, which needs nothing; or name the id of a ready "
        f"{pipeline} model (list_models), or a local file that download_model wrote (format checkpoint).",
        retryable=False,
    )
