"""Rules for e-mail addresses and for the names of people and organizations."""

from __future__ import annotations

import unicodedata

from tintype_studio.errors import InvalidInput
from tintype_studio.names import printable

MAX_EMAIL_LENGTH = 254
MAX_LABEL_LENGTH = 120

_NOT_IN_ADDRESSES = frozenset('<>()[]{},;:"\\/|`')


def clean_email(email: str) -> str:
    """An address in the one form that stands for its person: NFC, domain in lower case, local part folded.

    A check of plausibility, not of existence. Raises ``InvalidInput`` (``invalid_email``) for anything over
    254 characters, without exactly one ``@``, or with spaces, control characters or quoting.
    """
    if not isinstance(email, str):
        raise _bad_email("is not text")
    # Folding before composing: the other way round, two spellings of one letter could stay apart.
    local, at, domain = unicodedata.normalize("NFD", email.strip()).rpartition("@")
    cleaned = unicodedata.normalize("NFC", local.casefold() + at + domain.lower())
    problem = _email_problem(cleaned)
    if problem:
        raise _bad_email(problem)
    return cleaned


def _email_problem(email: str) -> str | None:
    local, _, domain = email.rpartition("@")
    if email.count("@") != 1 or not local or not domain:
        return "needs exactly one '@' with something on both sides"
    if len(email) > MAX_EMAIL_LENGTH:
        return f"is longer than {MAX_EMAIL_LENGTH} characters"
    for char in email:
        if unicodedata.category(char)[0] in "CZ":
            return "contains a space, a control character or a broken character"
        if char in _NOT_IN_ADDRESSES:
            return f"contains {char!r}"
    for part in (local, *domain.split(".")):
        if not part or part.startswith(".") or part.endswith("."):
            return "has a misplaced dot"
    if ".." in local:
        return "has a misplaced dot"
    if any(part.startswith("-") or part.endswith("-") for part in domain.split(".")):
        return "has a misplaced hyphen"
    return None


def _bad_email(problem: str) -> InvalidInput:
    # The address itself stays out of the message: it is personal, and the caller has it.
    return InvalidInput(
        f"The e-mail address {problem}.",
        code="invalid_email",
        fix="Give one address such as name@example.com.",
    )


def clean_label(text: str, what: str) -> str:
    """The name of a person or an organization, in NFC without blanks around it, 1 to 120 characters.

    Raises ``InvalidInput`` (``invalid_name``) for blank text, line breaks, control characters and the marks
    that turn the direction of text.
    """
    if not isinstance(text, str):
        raise _bad_label(what, "is not text")
    label = unicodedata.normalize("NFC", text).strip()
    if not label or all(unicodedata.category(char)[0] in "CZ" for char in label):
        raise _bad_label(what, "is blank")
    if len(label) > MAX_LABEL_LENGTH:
        raise _bad_label(what, f"is longer than {MAX_LABEL_LENGTH} characters")
    for char in label:
        turns = unicodedata.bidirectional(char) in {
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        }
        if turns or unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}:
            raise _bad_label(what, "contains a control character or a broken character")
    return label


def _bad_label(what: str, problem: str) -> InvalidInput:
    return InvalidInput(
        printable(f"{what} {problem}."),
        code="invalid_name",
        fix=f"Give plain text of 1 to {MAX_LABEL_LENGTH} characters on one line.",
    )
