"""MOTA (Bernardin and Stiefelhagen, 2008), IDF1 (Ristani et al., 2016), and what became of absences.

Boxes match from an intersection over union of one half. Tests and the benchmark check the numbers against
``py-motmetrics`` where that is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from tintype_studio.video.tracking.association import overlaps

SAME = 0.5

Boxes = Mapping[int, np.ndarray]


@dataclass
class Scores:
    mota: float
    idf1: float
    switches: int
    misses: int
    extras: int


def scored(truth: Sequence[Boxes], told: Sequence[Boxes]) -> Scores:
    """Frames of true boxes by their owners, and of told ones by their ids."""
    last: dict[int, int] = {}
    misses = extras = switches = total = 0
    together: Counter[tuple[int, int]] = Counter()
    true_count: Counter[int] = Counter()
    told_count: Counter[int] = Counter()
    for real, found in zip(truth, told, strict=True):
        total += len(real)
        owners, ids = list(real), list(found)
        true_count.update(owners)
        told_count.update(ids)
        fit = np.zeros((len(owners), len(ids)))
        if owners and ids:
            fit = overlaps(np.array([real[o] for o in owners]), np.array([found[i] for i in ids]))
        for o, i in zip(*np.nonzero(fit >= SAME), strict=True):
            together[owners[o], ids[i]] += 1
        # Who was matched before stays so while the boxes allow it.
        matched: dict[int, int] = {}
        for o, owner in enumerate(owners):
            if owner in last and last[owner] in ids and fit[o, ids.index(last[owner])] >= SAME:
                matched[owner] = last[owner]
        free_o = [o for o, owner in enumerate(owners) if owner not in matched]
        free_i = [i for i, each in enumerate(ids) if each not in matched.values()]
        cost = np.where(fit[np.ix_(free_o, free_i)] >= SAME, 1 - fit[np.ix_(free_o, free_i)], 1e6)
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            if cost[row, column] < 1e6:
                matched[owners[free_o[row]]] = ids[free_i[column]]
        misses += len(owners) - len(matched)
        extras += len(ids) - len(matched)
        for owner, each in matched.items():
            switches += owner in last and last[owner] != each
            last[owner] = each
    owners, ids = list(true_count), list(told_count)
    common = np.array([[together[o, i] for i in ids] for o in owners]).reshape(len(owners), len(ids))
    right = int(common[linear_sum_assignment(common, maximize=True)].sum()) if common.size else 0
    idf1 = 2 * right / max(1, sum(true_count.values()) + sum(told_count.values()))
    return Scores(1 - (misses + extras + switches) / max(1, total), idf1, switches, misses, extras)


def absences(
    truth: Sequence[Boxes], told: Sequence[Boxes], seconds: Sequence[float], short: float
) -> dict[str, tuple[int, int]]:
    """For absences up to and over ``short`` seconds: after how many the object had the id of before, and of
    how many.
    """
    names: dict[int, list[tuple[float, int | None]]] = {}
    for now, real, found in zip(seconds, truth, told, strict=True):
        ids = list(found)
        for owner, box in real.items():
            fit = overlaps(box[None], np.array([found[i] for i in ids]))[0] if ids else np.zeros(0)
            best = int(fit.argmax()) if len(fit) and fit.max() >= SAME else None
            names.setdefault(owner, []).append((now, None if best is None else ids[best]))
    step = float(np.median(np.diff(seconds)))
    kept = {"short": [0, 0], "long": [0, 0]}
    for seen in names.values():
        for place in range(1, len(seen)):
            gap = seen[place][0] - seen[place - 1][0]
            if gap < 1.5 * step:
                continue
            before = Counter(i for _, i in seen[max(0, place - 10) : place] if i is not None)
            after = Counter(i for _, i in seen[place : place + 10] if i is not None)
            if before and after:
                kind = "short" if gap <= short else "long"
                kept[kind][1] += 1
                kept[kind][0] += before.most_common(1)[0][0] == after.most_common(1)[0][0]
    return {kind: (good, of) for kind, (good, of) in kept.items()}
