"""The session's functions: one run stays in memory; whatever is missing comes from its checkpoint."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tintype_studio.errors import InvalidInput, Unavailable
from tintype_studio.extras import install_command
from tintype_studio.storage.blobs import Blobs
from tintype_studio.vision.train.prepare import prepare_data
from tintype_studio.vision.train.prepared import PreparedData
from tintype_studio.vision.train.session import EpochReport, Finished, HeadsReport, Order

if TYPE_CHECKING:
    from tintype_studio.vision.train.heads_loop import HeadsLoop
    from tintype_studio.vision.train.loop import Loop

GENTLER = 0.1
"""Of the learning rate, when a loss was not a number."""


class _Memory:
    """What this process keeps between calls."""

    run_id: str | None = None
    data: PreparedData | None = None
    loop: Loop | None = None
    heads: HeadsLoop | None = None


_memory = _Memory()


def prepared_data(order: Order) -> PreparedData:
    """The run's images; from memory, from its folder, or prepared now."""
    if _memory.run_id != order.run_id:
        _memory.run_id, _memory.data, _memory.loop, _memory.heads = order.run_id, None, None, None
    if _memory.data is None:
        _memory.data = prepare_data(order)
    return _memory.data


def load_ahead(order: Order) -> None:
    """Load the trainer's libraries, so that the first epoch's time goes into training. Nothing happens where
    they are not installed: ``run_epoch`` says so.
    """
    with suppress(Unavailable, ImportError):
        require_torch()
        from tintype_studio.vision.train.loop import trainer_of

        trainer_of(order)


def run_epoch(
    order: Order, number: int, checkpoint: str | None, seconds_left: float, batch_size: int
) -> EpochReport:
    """``session.epoch``."""
    require_torch()
    started = time.perf_counter()
    data = prepared_data(order)
    loop = _memory.loop
    if loop is None or loop.number != number - 1:
        loop = _begin(order, data, number, checkpoint)
    _memory.loop = None  # whatever happens on the way, half an epoch is not gone on with
    notes: list[str] = []
    from tintype_studio.vision.train.loop import Diverged

    try:
        left = seconds_left - (time.perf_counter() - started)
        trained, batch_size = loop.train(number, left, batch_size)
    except Diverged:
        factor = loop.rate_factor * GENTLER
        if loop.rate_factor < 1:
            raise _diverged(number) from None
        loop = _begin(order, data, number, checkpoint)
        loop.rate_factor = factor
        notes.append(
            f"The loss of epoch {number} was not a number; from it on, the learning rate is a tenth."
        )
        try:
            left = seconds_left - (time.perf_counter() - started)
            trained, batch_size = loop.train(number, left, batch_size)
        except Diverged:
            raise _diverged(number) from None
    loop.number = number
    over = trained.out_of_time or number == order.config.epochs
    metrics, best = trained.metrics(), False
    if loop.due(number, trained.seconds, last=over):
        told, best = loop.validate(number)
        metrics |= {f"val_{name}": value for name, value in told.items()}
    patience = order.config.patience
    tired = bool(patience) and loop.since_best >= patience
    if tired and not over:
        notes.append(f"Training stopped early: {loop.since_best} epochs brought nothing better.")
    seconds = time.perf_counter() - started
    loop.spent += seconds
    loop.history.append(metrics)
    from tintype_studio.vision.train import checkpoint as checkpoints

    key = checkpoints.store(Blobs(order.blob_url), order.run_id, number, loop.state())
    _memory.loop = loop
    return EpochReport(
        number=number,
        metrics=metrics,
        seconds=time.perf_counter() - started,
        images_per_second=trained.images / max(trained.seconds, 1e-9),
        data_share=trained.waited / max(trained.seconds, 1e-9),
        batch_size=batch_size,
        best=best,
        stop=over or tired,
        out_of_time=trained.out_of_time,
        checkpoint=key,
        initialization=loop.initialization,
        architecture=loop.architecture,
        parameters=loop.parameters,
        device=loop.device_name,
        peak_memory_bytes=loop.peak_memory(),
        notes=(*trained.notes, *notes),
    )


def _begin(order: Order, data: PreparedData, number: int, checkpoint: str | None) -> Loop:
    from tintype_studio.vision.train.loop import Loop

    return Loop(order, data, _kept(order, number, checkpoint))


def _kept(order: Order, number: int, checkpoint: str | None) -> dict[str, Any] | None:
    """The state to go on from; None before the first epoch."""
    from tintype_studio.vision.train import checkpoint as checkpoints

    if number == 1:
        return None
    if checkpoint is None:
        raise Unavailable(
            "The training cannot go on: its last checkpoint is not known.",
            code="checkpoint_missing",
            fix="Start the training again.",
            retryable=False,
        )
    return checkpoints.load(Blobs(order.blob_url), checkpoint)


def _diverged(number: int) -> InvalidInput:
    return InvalidInput(
        f"Training diverged: the loss of epoch {number} is not a number, nor is it at a tenth of the rate.",
        code="training_diverged",
        fix="Set a smaller learning_rate, such as a tenth of the one used, and train again.",
        details={"epoch": number},
    )


def run_heads_epoch(
    order: Order, number: int, checkpoint: str | None, seconds_left: float, batch_size: int
) -> HeadsReport:
    """``session.heads_epoch``."""
    require_torch()
    started = time.perf_counter()
    data = prepared_data(order)
    from tintype_studio.vision.train import checkpoint as checkpoints
    from tintype_studio.vision.train.heads_loop import HeadsLoop
    from tintype_studio.vision.train.loop import out_of_memory

    _memory.loop = None  # the network that finds is trained, and takes room
    loop, _memory.heads = _memory.heads, None
    if loop is None or loop.number != number - 1:
        loop = HeadsLoop(order, data, _kept(order, number, checkpoint))
    try:
        out_of_time = loop.train(number, seconds_left - (time.perf_counter() - started), batch_size)
        best = loop.validate(number)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise Unavailable(
            f"There is not enough memory to learn attributes from {batch_size} objects at a time.",
            code="out_of_memory",
            fix="Train on a machine with more memory.",
            retryable=False,
        ) from error
    key = checkpoints.store(Blobs(order.blob_url), order.run_id, f"heads-{number}", loop.state())
    _memory.heads = loop
    return HeadsReport(
        number=number,
        metrics=loop.metrics,
        seconds=time.perf_counter() - started,
        batch_size=batch_size,
        best=best,
        stop=out_of_time or loop.tired,
        checkpoint=key,
    )


def finish_run(order: Order, checkpoint: str, heads_checkpoint: str | None) -> Finished:
    """``session.finish``."""
    require_torch()
    from tintype_studio.vision.train.finishing import finish_training

    data = prepared_data(order)
    finished = finish_training(order, data, checkpoint)
    if heads_checkpoint is None:
        return finished
    from tintype_studio.vision.train.heads_finishing import with_heads

    return with_heads(order, data, finished, heads_checkpoint)


def require_torch() -> None:
    """Raise ``Unavailable`` (``extra_missing``) where the training extra is not installed."""
    # Read when torch is loaded. Threads that wait by spinning hold the cores that the others wait for: on a
    # machine that does anything else, training was measured to be eight times slower by it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import onnx  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise Unavailable(
            "Training needs the extra that brings PyTorch, which is not installed here.",
            code="extra_missing",
            fix=f"Ask the operator to run {install_command('train')}, then train again.",
            retryable=False,
        ) from error
