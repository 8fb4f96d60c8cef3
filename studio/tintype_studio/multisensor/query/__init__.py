"""A small language of filters over samples: ``group = train and count(label = car) >= 2``.

``tree`` holds its conditions as checked models, ``text`` reads and writes them as text, ``sql`` makes
conditions of the database of them. Every condition is true or false of a sample, never unknown: what a sample
does not have, it does not equal.
"""

from __future__ import annotations

from tintype_studio.multisensor.query.sql import QueryScope, condition_of
from tintype_studio.multisensor.query.text import parse, text_of
from tintype_studio.multisensor.query.tree import Condition

__all__ = ["Condition", "QueryScope", "condition_of", "parse", "text_of"]
