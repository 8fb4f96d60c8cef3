"""Queries as text: read with the place and the reason of what is wrong, and written back.

::

    query      = either {"or" either}
    either     = both {"and" both}
    both       = "not" both | "(" query ")" | condition
    condition  = field ("=" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~" | "contains") value
               | field ["not"] "in" "(" value {"," value} ")"
               | field ["not"] "between" value "and" value
               | field "is" ["not"] "known"
               | "has" "(" type of file ")"
               | "near" "(" latitude "," longitude "," number ["m" | "km"] ")"
               | "any" "(" [query] ")"
               | "count" "(" [query] ")" ("=" | "!=" | "<" | "<=" | ">" | ">=") number

In ``any`` and ``count``, which ask for annotations, a comma is an ``and``. Texts stand in quotation marks of
either kind; without them where they are one word. Words of the language may be written in capitals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NoReturn

from pydantic import ValidationError

from tintype_studio.errors import InvalidInput
from tintype_studio.multisensor.query.tree import (
    ANNOTATION_FIELDS,
    FIELDS,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_METRES,
    MAX_VALUE,
    SAMPLE_FIELDS,
    All,
    AnyOf,
    Between,
    Compare,
    Condition,
    Count,
    Known,
    Near,
    Not,
    OneOf,
    Value,
    check_value,
)
from tintype_studio.names import printable

MAX_TEXT = 4_000
"""Characters of a query."""

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<date>\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?(?![\w-]))
    |(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]|-\w)|[+-]?\d+(?:\.\d+)?(?=k?m\b))
    |(?P<op><=|>=|!=|<>|==|!~|[=<>~(),\[\]])
    |(?P<word>[\w*/][\w.*/:+-]*)
    )""",
    re.VERBOSE | re.ASCII,
)
_COMPARISONS = ("=", "!=", "<", "<=", ">", ">=", "~", "!~", "contains")
_ALIKE = {"==": "=", "<>": "!="}
_KEYWORDS = frozenset(
    {"and", "or", "not", "in", "between", "is", "known", "contains", "has", "near", "any", "count"}
)
_PLAIN = re.compile(r"[A-Za-z_*/][\w.*/:+-]*", re.ASCII)
_ALIASES = {"confidence": "score", "split": "group", "class": "label", "name": "filename"}


def parse(text: str) -> Condition:
    """A query as conditions.

    Raises:
        InvalidInput: it cannot be understood (``invalid_query``); the message and ``details["position"]`` (of
            the first character is 0) tell where, the fix what could stand there.
    """
    if len(text) > MAX_TEXT:
        raise InvalidInput(
            f"The query has more than {MAX_TEXT:,} characters.",
            code="invalid_query",
            fix="Ask in several queries.",
        )
    return _Parser(text).whole()


def text_of(condition: Condition) -> str:
    """Conditions as text that ``parse`` reads as the same."""
    return _written(condition, inside=False)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int

    @property
    def word(self) -> str:
        """In small letters if it may be a word of the language, else empty."""
        return self.text.lower() if self.kind == "word" else ""


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._cut()
        self._next = 0
        self._depth = 0
        self._conditions = 0

    def _cut(self) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                rest = self._text[at:]
                if not rest.strip():
                    break
                at += len(rest) - len(rest.lstrip())
                what = "the text is not closed" if self._text[at] in "\"'" else "this cannot stand here"
                self._refuse(at, what, "Write texts in quotation marks, and close them.")
            kind = str(found.lastgroup)
            tokens.append(_Token(kind, found.group(kind), found.start(kind)))
            at = found.end()
        return tokens

    def whole(self) -> Condition:
        if not self._tokens:
            self._refuse(0, "it is empty", 'Ask for something, such as group = "train".')
        found = self._either()
        if (token := self._peek()) is not None:
            self._refuse(token.at, "the query is over before this", "Join conditions with and, or or.")
        return found

    # --- Conditions -----------------------------------------------------------------------------------

    def _either(self) -> Condition:
        return self._joined(self._both, {"or"}, AnyOf)

    def _both(self, *, commas: bool = False) -> Condition:
        return self._joined(self._one, {"and", ","} if commas else {"and"}, All)

    def _joined(self, part: Callable[[], Condition], words: set[str], make: type[All | AnyOf]) -> Condition:
        found = [part()]
        while self._takes(*words):
            found.append(part())
        return found[0] if len(found) == 1 else make(conditions=found)

    def _one(self) -> Condition:
        self._depth += 1
        self._conditions += 1
        try:
            token = self._take("a condition")
            if self._depth > MAX_DEPTH or self._conditions > MAX_CONDITIONS:
                self._refuse(token.at, "it is too long or too deep", "Ask in several queries.")
            if token.word == "not":
                return Not(condition=self._one())
            if token.text == "(":
                found = self._either()
                self._expect(")", token)
                return found
            if token.word in {"has", "near", "any", "count"} and self._takes("("):
                return self._call(token)
            return self._comparison(token)
        finally:
            self._depth -= 1

    def _call(self, token: _Token) -> Condition:
        if token.word == "has":
            value = self._value("file")
            self._expect(")", token)
            return Compare(field="file", op="=", value=value)
        if token.word == "near":
            return self._near(token)
        where: Condition | None = None
        if not self._takes(")"):
            where = self._joined(lambda: self._both(commas=True), {"or"}, AnyOf)
            self._expect(")", token)
        if token.word == "any":
            return self._made(token, lambda: Count(where=where))
        op = self._take("a comparison such as >= 2")
        if _ALIKE.get(op.text, op.text) not in _COMPARISONS[:6]:
            self._refuse(op.at, "count(…) is compared with a number", "Write count(label = car) >= 2.")
        number = self._take("a number")
        if number.kind != "number" or not number.text.isdigit():
            self._refuse(number.at, "a count is a whole number", "Write count(label = car) >= 2.")
        told: Any = _ALIKE.get(op.text, op.text)
        return self._made(token, lambda: Count(where=where, op=told, number=int(number.text)))

    def _near(self, token: _Token) -> Condition:
        numbers = []
        for what in ("latitude", "longitude", "metres"):
            value = self._take(f"the {what}")
            if value.kind != "number":
                self._refuse(value.at, f"the {what} is no number", "Write near(48.137, 11.575, 500 m).")
            numbers.append(min(float(value.text), MAX_METRES + 1.0))
            if what != "metres":
                self._expect(",", token)
        if self._takes("km"):
            numbers[2] *= 1000
        else:
            self._takes("m")
        self._expect(")", token)
        latitude, longitude, metres = numbers
        return self._made(token, lambda: Near(latitude=latitude, longitude=longitude, metres=metres))

    def _comparison(self, token: _Token) -> Condition:
        field = self._field(token)
        if self._takes("is"):
            negated = self._takes("not")
            word = self._take("known")
            if word.word != "known":
                self._refuse(word.at, "is asks whether something is known", f"Write {field} is known.")
            return Not(condition=Known(field=field)) if negated else Known(field=field)
        negated = self._takes("not")
        found: Condition
        if self._takes("in"):
            found = self._in(field)
        elif self._takes("between"):
            low = self._value(field, ">=")
            self._expect("and", token)
            found = Between(field=field, low=low, high=self._value(field, "<="))
        elif negated:
            self._refuse(token.at, "after not stands in or between", f"Or write not {field} = …")
        else:
            op = self._take("a comparison")
            told = _ALIKE.get(op.text, op.word or op.text)
            if told not in _COMPARISONS:
                self._refuse(op.at, f"{field} is not compared", f"Compare it with {', '.join(_COMPARISONS)}.")
            return self._compared(field, told)
        return Not(condition=found) if negated else found

    def _compared(self, field: str, op: str) -> Condition:
        if op == "contains":
            return Compare(field=field, op="~", value=f"*{self._value(field, '~')}*")
        if op == "!~":
            return Not(condition=Compare(field=field, op="~", value=self._value(field, "~")))
        told: Any = op
        return Compare(field=field, op=told, value=self._value(field, op))

    def _in(self, field: str) -> Condition:
        opening = self._take("a list in brackets")
        if opening.text not in {"(", "["}:
            self._refuse(opening.at, "after in stands a list", f'Write {field} in ("a", "b").')
        values = [self._value(field)]
        while self._takes(","):
            values.append(self._value(field))
        self._expect(")" if opening.text == "(" else "]", opening)
        return OneOf(field=field, values=values)

    # --- Words ----------------------------------------------------------------------------------------

    def _field(self, token: _Token) -> str:
        name = _ALIASES.get(token.word, token.word)
        if name in FIELDS:
            return name
        if token.kind != "word":
            self._refuse(token.at, "here stands no field", _listed())
        close = get_close_matches(name, [*FIELDS, "count", "any", "near", "has"], 1)
        meant = f"Did you mean {close[0]}? " if close else ""
        self._refuse(token.at, f"there is no field {printable(token.text)[:40]!r}", meant + _listed())

    def _value(self, field: str, op: str = "=") -> Value:
        token = self._take("a value")
        value: Value
        if token.kind == "string":
            value = re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
        elif token.kind == "number" and FIELDS[field].type == "number":
            value = float(token.text)
        elif token.kind in {"number", "date", "word"} and token.word not in _KEYWORDS:
            value = token.text
        else:
            self._refuse(token.at, "here stands no value", "Write texts in quotation marks.")
        if isinstance(value, float) and not math.isfinite(value):
            self._refuse(token.at, "the number is too large", f"{field}: {FIELDS[field].about}.")
        if isinstance(value, str) and len(value) > MAX_VALUE:
            self._refuse(token.at, f"the text has more than {MAX_VALUE} characters", "Use a pattern: ~.")
        try:
            check_value(field, op, value)
        except ValueError as error:
            self._refuse(token.at, str(error), f"{field}: {FIELDS[field].about}.")
        return value

    def _made(self, token: _Token, make: Callable[[], Condition]) -> Condition:
        try:
            return make()
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            text = str(first["msg"]).removeprefix("Value error, ")
            self._refuse(token.at, f"{place}: {text}" if place else text, _listed())

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, what: str) -> _Token:
        token = self._peek()
        if token is None:
            self._refuse(len(self._text), f"it ends where {what} should stand", f"Add {what}.")
        self._next += 1
        return token

    def _takes(self, *words: str) -> bool:
        """Whether one of these comes next; it is taken then."""
        token = self._peek()
        if token is None or (token.word or token.text) not in words or token.kind == "string":
            return False
        self._next += 1
        return True

    def _expect(self, word: str, opening: _Token) -> None:
        if not self._takes(word):
            token = self._peek()
            at = len(self._text) if token is None else token.at
            self._refuse(
                at, f"{word!r} is missing, for what begins at character {opening.at}", f"Add {word}."
            )

    def _refuse(self, at: int, why: str, fix: str) -> NoReturn:
        around = printable(self._text[max(0, at - 20) : at + 20])
        raise InvalidInput(
            f"The query is wrong at character {at} ({around!r}): {why}.",
            code="invalid_query",
            fix=fix,
            details={"position": at},
        )


def _listed() -> str:
    return (
        f"Fields of samples: {', '.join(SAMPLE_FIELDS)}. Of annotations, also within any(…) and count(…): "
        f"{', '.join(ANNOTATION_FIELDS)}. Also near(latitude, longitude, metres) and has(type of file)."
    )


def _written(condition: Condition, *, inside: bool) -> str:
    match condition:
        case All():
            text = " and ".join(_written(each, inside=True) for each in condition.conditions)
            return f"({text})" if inside or len(condition.conditions) == 1 else text
        case AnyOf():
            text = " or ".join(_written(each, inside=True) for each in condition.conditions)
            return f"({text})" if inside or len(condition.conditions) == 1 else text
        case Not():
            return f"not {_written(condition.condition, inside=True)}"
        case Compare():
            return f"{condition.field} {condition.op} {_value_text(condition.value)}"
        case OneOf():
            return f"{condition.field} in ({', '.join(map(_value_text, condition.values))})"
        case Between():
            low, high = _value_text(condition.low), _value_text(condition.high)
            return f"{condition.field} between {low} and {high}"
        case Known():
            return f"{condition.field} is known"
        case Near():
            place = (condition.latitude, condition.longitude, condition.metres)
            return f"near({', '.join(map(_value_text, place))})"
        case Count():
            where = "" if condition.where is None else _written(condition.where, inside=False)
            return f"count({where}) {condition.op} {condition.number}"


def _value_text(value: Value) -> str:
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _KEYWORDS:
            return value
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
