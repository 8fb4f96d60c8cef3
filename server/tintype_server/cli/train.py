"""``tintype train``: start, follow and stop trainings."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import click

from tintype_server.cli.calling import Caller, CallOptions, calling
from tintype_server.cli.progress import shown_progress
from tintype_server.cli.resource import (
    ResourceGroup,
    as_json_option,
    choices,
    wait_options,
    word_options,
)
from tintype_server.cli.showing import BAD_ENDS, finish, show
from tintype_server.cli.tool_commands import does
from tintype_server.cli.waiting import ENDED, wait_until_ended
from tintype_server.settings import Settings

FOLLOW_SECONDS = 5
"""Between looks at a run that is followed; its end is told at once."""
MOST_LINES = 50
DAYS = 30 * 24 * 3600.0


@click.group("train", cls=ResourceGroup)
def command() -> None:
    """Start, follow and stop trainings."""


@command.command("start")
@does("train_pipeline")
@click.argument("dataset")
@click.option("--pipeline", "-p", required=True, type=choices("train_pipeline", "pipeline"))
@click.option("--gpu", type=choices("train_pipeline", "gpu"), default="a10g", show_default=True)
@click.option("--name", help="Of the run and the model; a repeated name counts versions.")
@click.option("--config", metavar="JSON", help="Such as '{\"epochs\": 50}'.")
@click.option("--export", "export_name", help="Train on this pictograph export instead of a new one.")
@wait_options(timeout=7200)
@word_options
@as_json_option
@click.pass_obj
def start(
    settings: Settings,
    dataset: str,
    pipeline: str,
    gpu: str,
    name: str | None,
    config: str | None,
    export_name: str | None,
    wait: bool,
    timeout: float,
    options: CallOptions,
    as_json: bool,
) -> None:
    """Train a model on a DATASET. Paid by the minute; a failed run is refunded."""
    arguments = {
        "dataset_name": dataset,
        "pipeline": pipeline,
        "gpu": gpu,
        "name": name,
        "config": _config(config),
        "export_name": export_name,
        "wait": False,
    }
    with shown_progress(quiet=as_json) as progress, calling(settings, progress) as caller:
        outcome = caller.call("train_pipeline", arguments, options)
        if outcome.dry_run:
            finish(outcome, as_json=as_json)
            return
        run_id = outcome.value["training_run"]["id"]
        if not as_json:
            click.echo(f"run {run_id}", err=True)
        run = _wait_for(caller, run_id, wait=wait, timeout=timeout)
    told = {
        "run_id": run["id"],
        "status": run["status"],
        "progress": run["progress"],
        "model_id": run.get("model_id"),
    }
    finish(outcome, told, as_json=as_json, job=run)


@command.command("list")
@does("list_training_runs")
@click.option("--limit", "-n", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--dataset", help="Only runs on this dataset.")
@click.option("--status", type=choices("list_training_runs", "status"), help="Only runs of this status.")
@as_json_option
@click.pass_obj
def list_runs(settings: Settings, limit: int, dataset: str | None, status: str | None, as_json: bool) -> None:
    """List the runs, newest first. With --json: an array."""
    from tintype_server.cli.tables import print_json, print_table

    asked = {"limit": limit, "dataset_name": dataset, "status": status}
    with calling(settings) as caller:
        found = caller.read("list_training_runs", asked)["training_runs"]
    if as_json:
        print_json(found)
        return
    names = ("name", "id", "dataset_name", "pipeline_type", "status", "progress")
    print_table(
        ("name", "id", "dataset", "pipeline", "status", "%"),
        [tuple(run.get(name) for name in names) for run in found],
    )


@command.command("status")
@does("get_training_status")
@click.argument("run_id")
@click.option(
    "--wait/--no-wait", default=False, help="Stay until it has ended, and do it if nobody else does."
)
@as_json_option
@click.pass_obj
def status(settings: Settings, run_id: str, wait: bool, as_json: bool) -> None:
    """Tell how a run is doing. With --wait, a run that failed or was cancelled is exit code 1."""
    from tintype_server.cli.tables import print_json

    with shown_progress(quiet=as_json) as progress, calling(settings, progress) as caller:
        run = _wait_for(caller, run_id, wait=True, timeout=DAYS) if wait else _status(caller, run_id, 0)
    if as_json:
        print_json(run)
    else:
        show(run)
    if wait and run["status"] in BAD_ENDS:
        sys.exit(1)


@command.command("cancel")
@does("cancel_training")
@click.argument("run_id")
@word_options
@as_json_option
@click.pass_obj
def cancel(settings: Settings, run_id: str, options: CallOptions, as_json: bool) -> None:
    """Stop a run. Minutes that were trained stay charged, the rest is free again."""
    if not (options.yes or options.dry_run):
        click.confirm("Stop the training? No model comes of it.", abort=True, err=True)
    with calling(settings) as caller:
        outcome = caller.call("cancel_training", {"run_id": run_id}, options)
    if outcome.dry_run:
        finish(outcome, as_json=as_json)
        return
    run = outcome.value["training_run"]
    finish(outcome, {"run_id": run["id"], "status": run["status"]}, as_json=as_json)


@command.command("logs")
@click.argument("run_id")
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(1, MOST_LINES),
    default=MOST_LINES,
    show_default=True,
    help="Last epochs, and last remarks, to begin with.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on as they come, until the run has ended.")
@as_json_option
@click.pass_obj
def logs(settings: Settings, run_id: str, lines: int, follow: bool, as_json: bool) -> None:
    """Show a run's epochs with their metrics, and what its worker remarked; on stderr, how it stands.

    With --json: one object per line; an epoch has {epoch, metrics, …}, a remark {at, level, text}.
    """
    log = _Log(as_json=as_json)
    with calling(settings) as caller:
        run = log.show(caller, run_id, lines, 0)
        while follow and run["status"] not in ENDED:
            run = log.show(caller, run_id, MOST_LINES, FOLLOW_SECONDS)
    click.echo(_summary(run), err=True)


class _Log:
    """Prints epochs and remarks of a run, each once."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._shown: set[tuple[object, ...]] = set()

    def show(self, caller: Caller, run_id: str, lines: int, seconds: int) -> dict[str, Any]:
        """Print what is new after so many seconds, or at the run's end; the run."""
        asked = {"run_id": run_id, "epochs": lines, "wait_seconds": seconds}
        found = caller.read("get_training_status", asked)
        run: dict[str, Any] = found["training_run"]
        for epoch in found["history"]:
            self._line(("epoch", epoch["epoch"]), epoch, _epoch_text(epoch, run))
        if "job_id" in run:
            job = caller.read("get_job", {"job_id": run["job_id"], "log_lines": lines, "failures": 0})
            for line in job["log"]:
                text = f"{datetime.fromisoformat(line['at']):%H:%M:%S} {line['level']}  {line['text']}"
                self._line((line["at"], line["text"]), line, text)
        sys.stdout.flush()
        return run

    def _line(self, mark: tuple[object, ...], value: dict[str, Any], text: str) -> None:
        from tintype_server.cli.audit import visible

        if mark not in self._shown:
            self._shown.add(mark)
            click.echo(json.dumps(value) if self._as_json else visible(text))


def _epoch_text(epoch: dict[str, Any], run: dict[str, Any]) -> str:
    metrics = [f"{name} {value:.4g}" for name, value in epoch["metrics"].items() if value is not None]
    best = "  (best)" if epoch.get("best") else ""
    total = run.get("total_epochs") or "?"
    return f"epoch {epoch['epoch']}/{total}  {epoch['seconds']:.1f} s  {', '.join(metrics)}{best}"


def _wait_for(caller: Caller, run_id: str, *, wait: bool, timeout: float) -> dict[str, Any]:
    """A run, once it has ended or the time is up."""
    return wait_until_ended(
        lambda seconds: _status(caller, run_id, seconds),
        wait=wait,
        timeout=timeout,
        again=f"tintype train status {run_id} --wait",
    )


def _status(caller: Caller, run_id: str, seconds: int) -> dict[str, Any]:
    asked = {"run_id": run_id, "epochs": 0, "wait_seconds": seconds}
    run: dict[str, Any] = caller.read("get_training_status", asked)["training_run"]
    return run


def _summary(run: dict[str, Any]) -> str:
    from tintype_server.cli.audit import visible

    epochs = f"epoch {run['current_epoch']}/{run.get('total_epochs') or '?'}"
    text = f"{run['name']}: {run['status']}, {run['progress']} %, {epochs}"
    if run.get("error_message"):
        text += f": {run['error_message']}"
    return visible(text)


def _config(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        raise click.UsageError("--config is not valid JSON.") from None
    if not isinstance(config, dict):
        raise click.UsageError("--config must be a JSON object.")
    return config
