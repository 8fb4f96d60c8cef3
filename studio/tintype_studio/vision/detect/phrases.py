"""Which classes a text prompt asks for: ``"tiger or elephant"``, ``"stop signs, yield"``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tintype_studio.errors import InvalidInput

MAX_PROMPT = 200
"""Characters of a prompt."""
MAX_PHRASES = 20
MAX_LABEL = 120

_BETWEEN = re.compile(r"\s*(?:[,;.\n]|\bor\b|\band\b)\s*", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:all|any|every|each|the|an|a)\s+(?:the\s+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Phrase:
    """What is looked for, and the class label of what is found: the dataset's spelling if it has one."""

    text: str
    label: str


def phrases_of(prompt: str, classes: Sequence[str]) -> list[Phrase]:
    """The things that a prompt names.

    A prompt that is a class name as a whole is taken so. Raises InvalidInput for an empty prompt, one of
    more than ``MAX_PROMPT`` characters, or one that names more than ``MAX_PHRASES`` things.
    """
    text = re.sub(r"[^\S\n]+", " ", prompt).strip()
    if not text:
        raise InvalidInput(
            "The prompt is empty.", code="invalid_prompt", fix="Name what to find, such as 'red cars'."
        )
    if len(text) > MAX_PROMPT:
        raise InvalidInput(
            f"The prompt has {len(text):,} characters; {MAX_PROMPT} are allowed.",
            code="invalid_prompt",
            fix="Name the things to find, separated by commas; leave descriptions out.",
        )
    whole = _class_named(text, classes)
    parts = [text] if whole else [part for part in _BETWEEN.split(text) if part]
    named: dict[str, Phrase] = {}
    for part in parts:
        bare = _ARTICLE.sub("", part) or part
        label = _class_named(bare, classes) or _class_named(part, classes) or bare[:MAX_LABEL].strip()
        named.setdefault(label, Phrase(bare, label))
    if not named:
        raise InvalidInput(
            "The prompt names nothing.", code="invalid_prompt", fix="Name what to find, such as 'red cars'."
        )
    if len(named) > MAX_PHRASES:
        raise InvalidInput(
            f"The prompt names {len(named)} things; {MAX_PHRASES} are allowed.",
            code="invalid_prompt",
            fix="Ask for a few classes at a time.",
        )
    return list(named.values())


def _class_named(text: str, classes: Sequence[str]) -> str | None:
    """The class that a text means: by its name, whatever the case, underscores or a plural."""
    if text in classes:
        return text
    spelled = {_plain(name): name for name in reversed(classes)}
    plain = _plain(text)
    for candidate in (plain, *_singulars(plain)):
        if candidate in spelled:
            return spelled[candidate]
    plurals = {single: name for key, name in spelled.items() for single in _singulars(key)}
    return plurals.get(plain)


def _plain(text: str) -> str:
    return re.sub(r"[\s_\-]+", " ", text).strip().casefold()


def _singulars(text: str) -> list[str]:
    """What a word may be the plural of, in English."""
    if len(text) < 4 or not text.endswith("s") or text.endswith("ss"):
        return []
    found = [text[:-1]]
    if text.endswith("es"):
        found.append(text[:-2])
    if text.endswith("ies"):
        found.append(text[:-3] + "y")
    return found
