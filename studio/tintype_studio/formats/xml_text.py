"""Text as XML 1.0 can carry it.

Whatever XML cannot hold (control characters, lone surrogates, two non-characters) becomes U+FFFD. Line
breaks and tabs are written as references, or every parser would turn them into blanks.
"""

from __future__ import annotations

import re

_ILLEGAL = "\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"
_CLEANED = re.compile(f"[{_ILLEGAL}]")
_ESCAPED = re.compile(f'[&<>"\t\n\r{_ILLEGAL}]')
_AS = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
REPLACEMENT = "\ufffd"


def cleaned(text: str) -> str:
    """The text with U+FFFD in place of what XML cannot hold."""
    return _CLEANED.sub(REPLACEMENT, text)


def escaped(text: str) -> str:
    """The text for an element or a double-quoted attribute."""
    return _ESCAPED.sub(lambda found: _AS.get(found[0], REPLACEMENT), text)


def distinct(names: list[str]) -> dict[str, str]:
    """Each name as XML can hold it; names that would become the same are numbered apart."""
    taken, out = {name for name in names if cleaned(name) == name}, {}
    for name in names:
        kept, number = cleaned(name), 1
        while kept != name and kept in taken:
            number += 1
            kept = f"{cleaned(name)} {number}"
        taken.add(kept)
        out[name] = kept
    return out
