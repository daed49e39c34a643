"""What is looked for in texts: regular expressions, and named patterns with their check digits. No I/O.

Named patterns need no package, and take time that grows with the text. An expression of a caller may take any time, so
it runs in the package `regex`, which ends it after a time limit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from holdfast.checkpoints import extras, times
from holdfast.checkpoints.errors import DriverMissing

PLACEHOLDER: Final = "[redacted]"
"""Stands in place of a text that was redacted, unless the pattern has a name: `[redacted: email]`."""

_PLACEHOLDERS: Final = re.compile(r"(\[redacted(?:: [a-z]+)?\])")
_OWN: Final = "pattern"
"""The name, in counts and in the record, of an expression that a caller gave. The expression itself is never shown."""

_GROUPS: Final = re.compile(r"\w+")


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
    length: Callable[[str], int]
    """Returns how much of a finding, from its start, is to be replaced; 0 for nothing."""
    marks: tuple[str, ...] = ("",)
    """One of these is in each finding. Most texts have none, and need no search."""

    def replace(self, text: str) -> tuple[str, int]:
        if not any(mark in text for mark in self.marks):
            return text, 0
        pieces: list[str] = []
        place = end = found = 0
        while match := self.expression.search(text, place):
            place = match.start() + 1
            if length := self.length(match[0]):
                pieces += [text[end : match.start()], f"[redacted: {self.name}]"]
                place = end = match.start() + length
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
        found = 0

        def placeholder(match: Any) -> str:
            nonlocal found
            found += bool(match[0])
            return PLACEHOLDER if match[0] else ""  # a place between two characters hides nothing

        try:
            replaced = self.compiled.sub(placeholder, text, timeout=limit)
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
        for _ in self.finders:  # what one has replaced may have hidden from another where a number ends
            before = text
            for finder in self.finders:
                text = self._replaced(finder, text)
            if text is before:
                break
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
            f"There is no pattern named {name!r}. Needed: {', '.join(NAMED)}, or an expression (re.compile(…), "
            "--pattern)."
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


def _whole(found: str) -> int:
    return len(found)


def _card(found: str) -> int:
    return _checked(found, range(13, 20), _is_card) if int(found[0]) in range(2, 7) else 0


def _is_card(digits: str, written: str) -> bool:
    # Those that begin with 2 are from 2200 to 2720, and years are not.
    return (
        (digits[0] != "2" or int(digits[:4]) in range(2200, 2721)) and _is_in_groups(written) and has_luhn_digit(digits)
    )


def _is_in_groups(written: str) -> bool:
    """Return whether a number is written as people write one, and not a list of dates or a column of numbers."""
    if _IN_ONE_LINE.fullmatch(written):
        *sizes, _ = map(len, _GROUPS.findall(_UNSEEN.sub("", written)))
        return min(sizes, default=3) >= 3 or len(set(sizes)) == 1
    return _AS_ON_A_CARD.fullmatch(written) is not None and len(_BREAKS.findall(written)) <= 1


def _iban(found: str) -> int:
    return _checked(found, range(15, 35), lambda bare, _: _is_iban(bare))


def _is_iban(bare: str) -> bool:
    is_in_one_case = bare.isupper() or bare.islower()  # prose is not
    return is_in_one_case and bare[2:4].isdigit() and has_iban_digits(bare)


def _phone(found: str) -> int:
    return len(found) if sum(character.isdigit() for character in found) >= 9 else 0


def _checked(found: str, lengths: range, is_right: Callable[[str, str], bool]) -> int:
    """Return the length of the longest run of groups, from the first, that passes a check; 0 if none does.

    What is after a number, such as the date of a card, may look like a group of it.
    """
    groups = list(_GROUPS.finditer(found))
    bare = "".join(group[0] for group in groups)
    length = len(bare)
    for group in reversed(groups):
        if length in lengths and is_right(bare[:length], found[: group.end()]):
            return group.end()
        length -= len(group[0])
    return 0


# --- how people write them, and programs

_INVISIBLE: Final = r"\u00ad\u200b-\u200f\u2060-\u2064\ufeff"
_SPACE: Final = rf" \u00a0\u2000-\u200a\u202f\u205f\u3000{_INVISIBLE}"
_JOINT: Final = rf"{_SPACE}\-\u2010-\u2015\u2212\ufe63\uff0d"
_BREAK: Final = r"\t\n\r"
_LETTER: Final = rf"\w\u0300-\u036f{_INVISIBLE}"  # marks too: é is one character, or two

# Chinese has no space before a number. An escape in JSON, such as \n, ends in a letter that is none.
_BEFORE: Final = r"(?:(?<![A-Za-z_\d]{0})|(?<=\\[nrt]{0}))"
_AFTER: Final = r"(?![A-Za-z_\d])"

_IN_ONE_LINE: Final = re.compile(rf"[\d{_JOINT}]+")
_BETWEEN: Final = rf"[{_JOINT}{_BREAK}./]{{1,4}}"
_AS_ON_A_CARD: Final = re.compile(
    rf"\d{{4}}(?:{_BETWEEN}\d{{4}}){{2,3}}(?:{_BETWEEN}\d{{1,3}})?|\d{{4}}{_BETWEEN}\d{{6}}{_BETWEEN}\d{{4,5}}"
)
_UNSEEN: Final = re.compile(f"[{_INVISIBLE}]+")
_BREAKS: Final = re.compile(rf"[{_BREAK}]+")

NAMED: Final[dict[str, Named]] = {
    pattern.name: pattern
    for pattern in (
        # Thirteen to nineteen digits, in groups or not.
        Named(
            "card",
            re.compile(
                rf"\d{_BEFORE.format(chr(92) + 'd')}(?<!\d\.\d)(?:[{_JOINT}{_BREAK}./]{{0,4}}\d){{12,18}}{_AFTER}"
            ),
            _card,
        ),
        Named(
            "email",
            re.compile(
                rf"(?<![{_LETTER}.+-])[{_LETTER}.+-][{_LETTER}.+'’-]{{0,63}}(?:[@\uff20]|%40)"
                rf"(?:[{_LETTER}-]{{1,63}}\.){{1,8}}(?:xn--[A-Za-z0-9-]{{2,59}}|[A-Za-z]{{2,63}}|\w{{2,63}})"
            ),
            _whole,
            marks=("@", "\uff20", "%40"),
        ),
        Named(
            "iban",
            re.compile(
                rf"[A-Za-z]{_BEFORE.format('[A-Za-z]')}[A-Za-z][0-9]{{2}}(?:[{_JOINT}{_BREAK}]{{0,3}}[A-Za-z0-9]){{11,30}}"
                rf"{_AFTER}"
            ),
            _iban,
        ),
        # With the code of a country; as in North America; in pairs; or with a leading zero and a group.
        Named(
            "phone",
            re.compile(
                rf"{_BEFORE.format('')}(?<!\+)(?<!\d[{_JOINT}])(?:(?:\+|00)[1-9](?:[{_JOINT}().\/]{{0,2}}\d){{7,14}}"
                rf"|(?:1[{_JOINT}.])?(?:\(\d{{3}}\)[{_SPACE}]?|\d{{3}}[{_JOINT}.])\d{{3}}[{_JOINT}.]\d{{4}}"
                rf"|0[1-9](?P<by>[{_JOINT}.])\d{{2}}(?:(?P=by)\d{{2}}){{3}}"
                rf"|0\d{{1,5}}[{_JOINT}/]\d{{3,9}}(?:[{_JOINT}]\d{{2,5}}){{0,4}}){_AFTER}"
            ),
            _phone,
        ),
    )
}
"""The named patterns: card numbers and IBANs with their check digits, e-mail addresses and phone numbers."""

NAMES: Final = tuple(NAMED)
"""The names of patterns, as `redact` takes them."""
