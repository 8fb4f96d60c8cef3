"""Pictures of evaluations and of training: PNG files that can be read at 800 to 1000 pixels.

Drawn with matplotlib's Agg canvas and no window system; nothing of its global state is touched, so threads
may draw at the same time.
"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from tintype_studio.vision.evaluate.evaluation import BACKGROUND, Confusion, Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100
NAMED = 10
"""Classes with a colour and an entry in the legend; the others are thin and grey."""
COUNTED = 14
"""Sides of a confusion matrix up to which every cell shows its number."""
SHOWN = 40
"""Sides of a confusion matrix at most."""
BARS = 24
"""Classes in a comparison."""
GRID, INK, QUIET = "#e3e3e3", "#222222", "#b5b5b5"
GOOD, BAD, FIRST, SECOND = "#2f8f4e", "#c8403a", "#8aa4c8", "#1f5fb0"
SHARES = (
    "mAP", "mAP_50", "mAP_75", "box_mAP", "box_mAP_50", "mIoU", "pixel_accuracy", "accuracy",
    "top_5_accuracy", "f1", "precision", "recall",
)  # fmt: skip
"""Figures from 0 to 1, in the order in which they are drawn."""


def pr_curves(evaluation: Evaluation, title: str = "") -> bytes | None:
    """Precision over recall of each class, and their mean; None where there are no such curves."""
    curves: dict[str, list[float]] = evaluation.curves.get("precision", {})
    if not curves:
        return None
    recall: list[float] = evaluation.curves["recall"]
    figure, axes = _canvas(title or "Precision and recall")
    told = {each["name"]: each.get("AP_50", each.get("AP")) for each in evaluation.per_class}
    best = sorted(curves, key=lambda name: -(told.get(name) or 0))
    named, colors = set(best[:NAMED]), cycle(_colors())
    for name in best:
        if name in named:
            label = f"{_short(name)}  {told.get(name) or 0:.2f}"
            axes.plot(recall, curves[name], color=next(colors), linewidth=1.8, label=label)
        else:
            axes.plot(recall, curves[name], color=QUIET, linewidth=0.8, zorder=1)
    if len(curves) > 1:
        mean = [sum(curve[i] for curve in curves.values()) / len(curves) for i in range(len(recall))]
        label = f"mean of {len(curves)}  {sum(told.get(n) or 0 for n in curves) / len(curves):.2f}"
        axes.plot(recall, mean, color=INK, linewidth=3, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.grid(color=GRID)
    legend = axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=11, title="average precision"
    )
    legend.set_alignment("left")
    return _png(figure)


def confusion(evaluation: Evaluation, title: str = "") -> bytes | None:
    """What was taken for what: shaded by the share of each row; None where there is no such matrix."""
    found = evaluation.confusion
    if found is None:
        return None
    kept, left_out = _most_telling(found)
    labels = [_short(found.labels[i]) for i in kept]
    rows = [[found.matrix[i][j] for j in kept] for i in kept]
    sums = [max(1, sum(found.matrix[i])) for i in kept]
    if found.unit == "objects":
        # There is no number of objects that are not there; one false alarm among many is not all of them.
        sums[-1] = max(sums)
    shares = [[value / total for value in row] for row, total in zip(rows, sums, strict=True)]
    heading = title or "What was taken for what"
    if left_out:
        heading += f" ({left_out} further classes left out)"
    figure, axes = _canvas(heading, width=9.0, height=8.0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    small = 11 if len(kept) <= COUNTED else max(6, round(300 / len(kept)))
    axes.set_xticks(range(len(kept)), labels, rotation=45, ha="right", fontsize=small)
    axes.set_yticks(range(len(kept)), labels, fontsize=small)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(kept) <= COUNTED:
        for i, row in enumerate(rows):
            for j, value in enumerate(row):
                if value:
                    text = f"{shares[i][j]:.0%}" if found.unit == "pixels" else f"{value:,}"
                    ink = "white" if shares[i][j] > 0.55 else INK
                    axes.text(j, i, text, ha="center", va="center", color=ink, fontsize=11)
    about = found.unit if found.score is None else f"{found.unit}, scores from {found.score:.2f}"
    shown = "shares of a row's pixels" if found.unit == "pixels" else f"numbers of {about}"
    axes.set_title(f"{shown}; shaded by row", fontsize=10, color="#555555", loc="left")
    return _png(figure)


def training_curves(history: Sequence[Mapping[str, Any]], title: str = "") -> bytes | None:
    """Losses, and the figures on the validation images, epoch by epoch; None for an empty history.

    Each entry is an epoch's metrics: ``train_loss``, ``losses`` (its parts by name), figures of ``SHARES``.
    """
    if not history:
        return None
    from matplotlib.ticker import MaxNLocator

    figure, (losses, shares) = _canvases(title or "Training", 2, width=10.0, height=4.8)
    epochs = list(range(1, len(history) + 1))
    colors = cycle(_colors())
    for name in dict.fromkeys(name for entry in history for name in entry.get("losses") or {}):
        values = [_number((entry.get("losses") or {}).get(name)) for entry in history]
        label, color = _short(_plain(name.removesuffix("_loss"))), next(colors)
        losses.plot(epochs, values, color=color, linewidth=1.2, label=label, marker=_dot(epochs))
    total = [_number(entry.get("train_loss")) for entry in history]
    losses.plot(epochs, total, color=INK, linewidth=2.5, label="all", marker=_dot(epochs))
    losses.set(xlabel="epoch", title="loss")
    losses.legend(frameon=False, fontsize=10)
    colors = cycle(_colors())
    for name in SHARES:
        values = [_number(entry.get(name)) for entry in history]
        if not all(math.isnan(value) for value in values):
            shares.plot(
                epochs, values, color=next(colors), linewidth=2, label=_plain(name), marker=_dot(epochs)
            )
    shares.set(xlabel="epoch", title="on the validation images", ylim=(0, 1.02))
    if shares.get_legend_handles_labels()[0]:
        shares.legend(frameon=False, fontsize=10)
    for axes in (losses, shares):
        axes.grid(color=GRID)
        axes.set_xlim(min(1, len(epochs) - 1), max(2, len(epochs)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _png(figure)


def comparison(
    names: tuple[str, str], first: Evaluation, second: Evaluation, figure_of: str, title: str = ""
) -> bytes:
    """Two models side by side: their metrics, and by class how much ``figure_of`` (a key of ``per_class``)
    differs, second minus first.
    """
    figure, (left, right) = _canvases(title or "Comparison", 2, width=10.0, height=6.2)
    shared = [
        name for name in SHARES if first.metrics.get(name) is not None or second.metrics.get(name) is not None
    ]
    places = list(range(len(shared)))
    for offset, evaluation, color, name in ((-0.2, first, FIRST, names[0]), (0.2, second, SECOND, names[1])):
        values = [evaluation.metrics.get(metric) or 0.0 for metric in shared]
        bars = left.barh([p + offset for p in places], values, 0.38, color=color, label=_short(name, 34))
        left.bar_label(bars, [f"{value:.2f}" for value in values], padding=3, fontsize=9)
    left.set_yticks(places, [_plain(name) for name in shared])
    left.invert_yaxis()
    left.set_xlim(0, 1.15)
    left.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.07), fontsize=10)
    changes = differences(first, second, figure_of)
    largest = sorted(changes, key=lambda name: -abs(changes[name]))[:BARS]
    order = sorted(largest, key=lambda name: -changes[name])
    values = [changes[name] for name in order]
    bars = right.barh(range(len(order)), values, color=[GOOD if value >= 0 else BAD for value in values])
    right.bar_label(bars, [f"{value:+.2f}" for value in values], padding=3, fontsize=9)
    right.set_yticks(range(len(order)), [_short(name) for name in order], fontsize=10)
    right.invert_yaxis()
    reach = max([0.1, *(abs(value) for value in values)]) * 1.35
    right.set_xlim(-reach, reach)
    right.axvline(0, color=INK, linewidth=1)
    left_out = len(changes) - len(order)
    right.set_title(
        f"{figure_of} by class, second minus first" + (f"; {left_out} smaller left out" if left_out else ""),
        fontsize=11,
    )
    for axes in (left, right):
        axes.grid(color=GRID, axis="x")
        axes.set_axisbelow(True)
    return _png(figure)


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height, which stand at the same place in every PNG file."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def differences(first: Evaluation, second: Evaluation, figure_of: str) -> dict[str, float]:
    """By class that both have such a figure for: second minus first."""
    before = {each["name"]: each.get(figure_of) for each in first.per_class}
    after = {each["name"]: each.get(figure_of) for each in second.per_class}
    changes = {}
    for name, value in before.items():
        now = after.get(name)
        if value is not None and now is not None:
            changes[name] = now - value
    return changes


def _most_telling(found: Confusion) -> tuple[list[int], int]:
    """The classes to show, those with most mistakes where they are too many, and how many are left out."""
    sides = len(found.labels)
    if sides <= SHOWN:
        return list(range(sides)), 0
    mistakes = [
        sum(found.matrix[i]) + sum(row[i] for row in found.matrix) - 2 * found.matrix[i][i]
        for i in range(sides)
    ]
    if found.labels[-1] == BACKGROUND:
        mistakes[-1] = max(mistakes) + 1
    kept = sorted(sorted(range(sides), key=lambda i: -mistakes[i])[:SHOWN])
    return kept, sides - len(kept)


def _canvas(title: str, *, width: float = 9.0, height: float = 6.0) -> tuple[Figure, Axes]:
    figure, (axes,) = _canvases(title, 1, width=width, height=height)
    return figure, axes


def _canvases(title: str, number: int, *, width: float, height: float) -> tuple[Figure, tuple[Axes, ...]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    made: Iterable[Axes] = figure.subplots(1, number, squeeze=False)[0]
    figure.suptitle("\n".join(textwrap.wrap(_plain_text(title), 90)[:2]), fontsize=13)
    for axes in (found := tuple(made)):
        axes.spines[["top", "right"]].set_visible(False)
    return figure, found


def _png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # Names are in any script, and the font is not: it draws a box, which is no news for the server's log.
    warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out)
    return out.getvalue()


def _colors() -> list[str]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(color) for color in colormaps["tab10"].colors]  # type: ignore[attr-defined]


def _short(name: str, most: int = 22) -> str:
    return _plain_text(name if len(name) <= most else name[: most - 1] + "…")


def _plain(metric: str) -> str:
    return metric.replace("_", " ")


def _plain_text(text: str) -> str:
    """Without the dollar signs that would make it a formula."""
    return text.replace("$", r"\$")


def _dot(epochs: Sequence[int]) -> str | None:
    """A line of one point would not show."""
    return "o" if len(epochs) < 3 else None


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
