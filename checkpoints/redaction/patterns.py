"""What is looked for in texts: regular expressions, and named patterns with their check digits. No I/O.

Named patterns need no package, and take time that grows with the text. An expression of a caller may take any time, so
it runs in the package `regex`, which ends it after a time limit.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, Protocol

from holdfast.checkpoints import extras, times
from holdfast.checkpoints.errors import DriverMissing

PLACEHOLDER: Final = "[redacted]"
"""Stands in place of a text that was redacted, unless the pattern has a name: `[redacted: email]`."""

_PLACEHOLDERS: Final = re.compile(r"(\[redacted(?:: [a-z]+)?\])")
_OWN: Final = "pattern"
"""The name, in counts and in the record, of an expression that a caller gave. The expression itself is never shown."""

_SEPARATORS: Final = re.compile("[ -]")
_GROUPS: Final = re.compile("[^ -]+")


class Finder(Protocol):
    """A pattern: what is replaced, and by what."""

    @property
    def name(self) -> str:
        """The name in counts and in the record."""
        ...

    def replace(self, text: str) -> tuple[str, int]:
        """Return a text with what was found replaced, and how often something was found."""
        ...


@dataclass(frozen=True)
class Named:
    """A pattern with a name, whose findings a function confirms."""

    name: str
    expression: re.Pattern[str]
    parts: Callable[[str], Iterator[tuple[int, int]]]
    """Yields the places of what is to be replaced within a finding, in order."""

    def replace(self, text: str) -> tuple[str, int]:
        pieces: list[str] = []
        end = found = 0
        for match in self.expression.finditer(text):
            for first, last in self.parts(match[0]):
                pieces += [text[end : match.start() + first], f"[redacted: {self.name}]"]
                end = match.start() + last
                found += 1
        return ("".join([*pieces, text[end:]]), found) if found else (text, 0)


@dataclass(frozen=True)
class Expression:
    """A regular expression of a caller, with a time limit."""

    compiled: Any = field(repr=False)
    """A pattern of the package `regex`."""
    name: str = _OWN

    def replace(self, text: str) -> tuple[str, int]:
        """Do as `Finder.replace`.

        Raises:
            TimeoutError: the expression took too long.
        """
        limit = times.REDACTION_MATCH
        try:
            replaced, found = self.compiled.subn(PLACEHOLDER, text, timeout=limit)
        except TimeoutError:
            raise TimeoutError(
                f"The regular expression took more than {limit:g} s for one text of {len(text):,} characters. Needed: "
                "one whose repetitions cannot match the same text in several ways. Nothing was changed in this thread."
            ) from None
        return replaced, found


@dataclass(frozen=True)
class Literals:
    """The texts of one message, wherever else they stand."""

    texts: Sequence[str] = field(repr=False)
    name: str = "message"

    def replace(self, text: str) -> tuple[str, int]:
        found = 0
        for literal in self.texts:
            if literal in text:
                found += text.count(literal)
                text = text.replace(literal, PLACEHOLDER)
        return text, found


class Redactor:
    """Replaces in texts what patterns find, and counts it. What was replaced before stays as it is."""

    def __init__(self, finders: Sequence[Finder]) -> None:
        self.finders = tuple(finders)
        self.found: Counter[str] = Counter()
        """What was found, by the name of the pattern."""

    def text(self, text: str) -> str:
        """Return a text without what the patterns find; the same object if that is nothing.

        Raises:
            TimeoutError: an expression took too long.
        """
        for finder in self.finders:
            text = self._replaced(finder, text)
        return text

    def _replaced(self, finder: Finder, text: str) -> str:
        if PLACEHOLDER[:-1] not in text:
            replaced, found = finder.replace(text)
        else:
            parts = [finder.replace(part) if place % 2 == 0 else (part, 0) for place, part in _parts(text)]
            replaced, found = "".join(part for part, _ in parts), sum(number for _, number in parts)
        if not found or replaced == text:
            return text
        self.found[finder.name] += found
        return replaced


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Yield the parts of a text, numbered; those with odd numbers are placeholders."""
    return enumerate(_PLACEHOLDERS.split(text))


def finders_of(patterns: Iterable[str | re.Pattern[str]]) -> list[Finder]:
    """Return the finders of patterns: a text is the name of one, and a compiled pattern is a regular expression.

    Raises:
        DriverMissing: there is an expression, and the package `regex` is not installed.
        ValueError: there is no pattern with a name, or an expression matches the empty text.
        TypeError: a pattern is neither.
    """
    return [_named(each) if isinstance(each, str) else _expression(each) for each in patterns]


def _named(name: str) -> Named:
    if name not in NAMED:
        raise ValueError(
            f"There is no pattern named {name!r}. Needed: {', '.join(NAMED)}, or re.compile(…) for an expression."
        )
    return NAMED[name]


def _expression(pattern: re.Pattern[str]) -> Expression:
    if not isinstance(getattr(pattern, "pattern", None), str):
        raise TypeError(f"A pattern is a {type(pattern).__name__}. Needed: {', '.join(NAMED)}, or re.compile(text).")
    try:
        import regex
    except ImportError as error:
        raise DriverMissing(
            "A regular expression needs the package `regex`, which can end one that takes too long, and it is not "
            f"installed. Run: {extras.install_command('redaction')}. The named patterns need no package: "
            f"{', '.join(NAMED)}."
        ) from error
    flags = sum(getattr(regex, flag) for flag in "AIMSX" if pattern.flags & getattr(re, flag))
    compiled = regex.compile(pattern.pattern, flags)
    if compiled.fullmatch("") is not None:
        raise ValueError("The pattern matches the empty text, so it would match everywhere. Needed: one that does not.")
    return Expression(compiled)


# --- check digits


def has_luhn_digit(digits: str) -> bool:
    """Return whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def has_iban_digits(iban: str) -> bool:
    """Return whether the check digits of an IBAN are right (ISO 13616: 97 divides the number with a rest of 1)."""
    rotated = iban[4:] + iban[:4]
    return int("".join(str(int(character, 36)) for character in rotated)) % 97 == 1


def _whole(found: str) -> Iterator[tuple[int, int]]:
    yield 0, len(found)


def _cards(found: str) -> Iterator[tuple[int, int]]:
    return _checked(found, range(13, 20), lambda digits: digits[0] in "23456" and has_luhn_digit(digits))


def _ibans(found: str) -> Iterator[tuple[int, int]]:
    return _checked(found, range(15, 35), lambda text: text[:2].isalpha() and has_iban_digits(text))


def _phones(found: str) -> Iterator[tuple[int, int]]:
    if sum(character.isdigit() for character in found) >= 9:
        yield 0, len(found)


def _checked(found: str, lengths: range, is_right: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    """Yield the places of the longest runs of groups that pass a check.

    What is before or after a number, such as the date of a card, may look like a group of it.
    """
    groups = [match.span() for match in _GROUPS.finditer(found)]
    bare = _SEPARATORS.sub("", found)
    starts = [0, *accumulate(last - first for first, last in groups)]  # in `bare`
    group = 0
    while group < len(groups):
        # Of the groups at which a run may end, the last first.
        ends = range(bisect_right(starts, starts[group] + lengths[-1]) - 1, group, -1)
        for end in ends:
            text = bare[starts[group] : starts[end]]
            if len(text) in lengths and is_right(text):
                yield groups[group][0], groups[end - 1][1]
                group = end - 1
                break
        group += 1


NAMED: Final[dict[str, Named]] = {
    pattern.name: pattern
    for pattern in (
        # Thirteen to nineteen digits, in groups or not.
        Named("card", re.compile(r"(?<![\w.])[0-9](?:[ -]?[0-9]){12,60}(?!\w)"), _cards),
        Named("email", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}\w{2,63}"), _whole),
        Named("iban", re.compile(r"(?<!\w)[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,60}(?!\w)", re.ASCII), _ibans),
        # With the code of a country; as in North America; or with a leading zero and a group.
        Named(
            "phone",
            re.compile(
                r"(?<![\w+])(?<![0-9][ -])(?:(?:\+|00)[1-9](?:[ ().\-/]{0,2}[0-9]){7,14}"
                r"|(?:\([0-9]{3}\) ?|[0-9]{3}[-. ])[0-9]{3}[-. ][0-9]{4}"
                r"|0[0-9]{1,5}[ /-][0-9]{3,9}(?:[ -][0-9]{2,5}){0,4})(?!\w)"
            ),
            _phones,
        ),
    )
}
"""The named patterns: card numbers and IBANs with their check digits, e-mail addresses and phone numbers."""

NAMES: Final = tuple(NAMED)
"""The names of patterns, as `redact` takes them."""
