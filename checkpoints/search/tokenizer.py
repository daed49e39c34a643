"""The words of a text, as search has them: the same on every database, for texts and for questions. No I/O.

A word is letters and digits, without case and without the marks on its letters: "Köln", "KOLN" and "koln" are one word.
Scripts that put no spaces between words have each letter as a word, so that what stands side by side is a phrase.

What a letter becomes depends on that letter alone, so a place among the words can be traced back into the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from itertools import accumulate
from typing import Final, NamedTuple
from unicodedata import category, combining, normalize

MOST_CHARACTERS: Final = 100_000
"""What is said beyond this is not searched."""

MOST_BYTES: Final = 800_000
"""Of words of a text: PostgreSQL takes up to 1 MB, with their places. Few signs become so many letters."""

MOST_WORDS: Final = 16_000
"""PostgreSQL numbers the words of a text up to 16,383."""

LONGEST: Final = 64
"""Letters of a word that count: what is longer is no word, but a key or an encoded file."""

MOST_PLACES: Final = 256
"""Of how many places of a word in a text the index knows: as many as PostgreSQL does."""

SKIPPED: Final = "\ue000"
"""Stands where a word stands whose place the index does not know. For private use, so never a word."""

# Thai and Lao, Myanmar, Khmer, kana and what belongs to them, Han in all its blocks.
_ALONE: Final = (
    range(0x0E00, 0x0F00),
    range(0x1000, 0x10A0),
    range(0x1780, 0x1800),
    range(0x2E80, 0x3130),
    range(0x31A0, 0x3200),
    range(0x3400, 0xA000),
    range(0x1AFF0, 0x1B170),
    range(0x20000, 0x40000),
)

# Select how the letter before them looks. They are marks, and stand on nothing.
_SELECTORS: Final = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))

_ASCII: Final = re.compile("[a-z0-9]+", re.IGNORECASE | re.ASCII)


class Placed(NamedTuple):
    """A word, and where it stands in the text."""

    word: str
    start: int
    end: int


class _Letters(dict[int, str]):
    """What becomes of each character: letters, nothing, or a space; a letter that stands alone with a space around."""

    def __missing__(self, code: int) -> str:
        kind = category(chr(code))
        if kind[0] == "C":  # a million of numbers that are no characters are not kept
            return "" if kind == "Cf" else " "
        found = "".join(map(_letter, normalize("NFKD", normalize("NFKD", chr(code)).casefold())))
        self[code] = found
        return found


def _letter(sign: str) -> str:
    kind, code = category(sign), ord(sign)
    # Marks on a letter, invisible joiners and hyphens.
    if (kind[0] == "M" and (combining(sign) or kind == "Me" or _within(code, _SELECTORS))) or kind == "Cf":
        return ""
    if kind[0] not in "LMN":
        return " "
    return f" {sign} " if kind[0] != "N" and _within(code, _ALONE) else sign


def _within(code: int, blocks: tuple[range, ...]) -> bool:
    return any(code in block for block in blocks)


_LETTERS: Final = _Letters()


def words(text: str) -> list[str]:
    """The words of a text, in order, as far as they count (see the limits above)."""
    found = [word[:LONGEST] for word in text[:MOST_CHARACTERS].translate(_LETTERS).split()[:MOST_WORDS]]
    if sum(map(len, found)) * 4 <= MOST_BYTES:
        return found
    ends = accumulate(len(word.encode()) for word in found)
    return [word for word, end in zip(found, ends, strict=True) if end <= MOST_BYTES]


def indexed(text: str) -> list[str]:
    """The words of a text as the index has them: `SKIPPED` in place of those that were said too often."""
    found = words(text)
    if len(found) <= MOST_PLACES:
        return found
    said: Counter[str] = Counter()
    kept = []
    for word in found:
        said[word] += 1
        kept.append(word if said[word] <= MOST_PLACES else SKIPPED)
    return kept


def placed(text: str) -> list[Placed]:
    """The words of a text with their places, the same words as `words` has."""
    text = text[:MOST_CHARACTERS]
    found = _placed_ascii(text) if text.isascii() else _placed(text)
    return [found._replace(word=word) for word, found in zip(words(text), found, strict=False)]


def _placed_ascii(text: str) -> Iterator[Placed]:
    for match in _ASCII.finditer(text):
        yield Placed(match[0].lower(), *match.span())


def _placed(text: str) -> Iterator[Placed]:
    word, start, end = "", 0, 0
    for place, sign in enumerate(text):
        for letter in _LETTERS[ord(sign)]:
            if letter != " ":
                start = start if word else place
                word, end = word + letter, place + 1
            elif word:
                yield Placed(word, start, end)
                word = ""
        if word and not _LETTERS[ord(sign)]:
            end = place + 1  # a mark belongs to its letter
    if word:
        yield Placed(word, start, end)


def owners(user_id: str | None, thread_id: str | None) -> list[str]:
    """Whose a message is, as words that stand for the ids, whatever is in these: a search of one user's goes through
    nobody else's."""
    return [f"{kind}{_token(id_)}" for kind, id_ in (("u", user_id), ("t", thread_id)) if id_ is not None]


def _token(id_: str) -> str:
    return blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=8, person=b"holdfast-search").hexdigest()
