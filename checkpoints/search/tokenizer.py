"""The tokenizer of search: the words of a text, the same on every database, for messages and for queries. No I/O.

A word is a run of letters and digits, without case and without diacritics: "Köln", "KOLN" and "koln" are one word. In
scripts without spaces between words each letter is a word, so a word of such a script is found as a phrase.

Each character is folded without regard to its neighbours, so a word can be traced back to its place in the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from itertools import accumulate
from typing import Final, NamedTuple
from unicodedata import category, combining, normalize

# A longer text is searched up to here, so that one pasted file does not hold up a search.
MOST_CHARACTERS: Final = 100_000

# PostgreSQL takes a tsvector of up to 1 MB, word positions included. Few characters can fold to that many letters.
MOST_BYTES: Final = 800_000

# PostgreSQL numbers the words of a text up to 16,383.
MOST_WORDS: Final = 16_000

# Letters of a word that are compared: a longer run is a key or an encoded file.
LONGEST_WORD: Final = 64

# PostgreSQL keeps up to 256 positions of a word in a text. The index on SQLite does the same, so that both give the
# same hits.
MOST_POSITIONS: Final = 256

# Stands for a word whose position is not in the index. It is a character for private use, so no word contains it.
SKIPPED: Final = "\ue000"

# Thai and Lao, Myanmar, Khmer, kana with what belongs to them, and all blocks of Han.
_WITHOUT_SPACES: Final = (
    range(0x0E00, 0x0F00),
    range(0x1000, 0x10A0),
    range(0x1780, 0x1800),
    range(0x2E80, 0x3130),
    range(0x31A0, 0x3200),
    range(0x3400, 0xA000),
    range(0x1AFF0, 0x1B170),
    range(0x20000, 0x40000),
)

# Variation selectors: they choose a glyph for the character before them. Unicode classes them as marks, but their
# combining class is 0.
_SELECTORS: Final = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))

_ASCII: Final = re.compile("[a-z0-9]+", re.IGNORECASE | re.ASCII)


class WordSpan(NamedTuple):
    """A word with its place in the text."""

    word: str
    start: int
    end: int


class _Folding(dict[int, str]):
    """The folded form of each character: letters, nothing, or a space.

    A letter that is a word by itself has a space on each side.
    """

    def __missing__(self, code: int) -> str:
        kind = category(chr(code))
        if kind[0] == "C":  # not kept: a million code points are no characters
            return "" if kind == "Cf" else " "
        folded = "".join(map(_fold_letter, normalize("NFKD", normalize("NFKD", chr(code)).casefold())))
        self[code] = folded
        return folded


def _fold_letter(character: str) -> str:
    kind, code = category(character), ord(character)
    # Diacritics, invisible joiners and soft hyphens.
    if (kind[0] == "M" and (combining(character) or kind == "Me" or _is_in(code, _SELECTORS))) or kind == "Cf":
        return ""
    if kind[0] not in "LMN":
        return " "
    return f" {character} " if kind[0] != "N" and _is_in(code, _WITHOUT_SPACES) else character


def _is_in(code: int, blocks: tuple[range, ...]) -> bool:
    return any(code in block for block in blocks)


_FOLDING: Final = _Folding()


def tokenize(text: str) -> list[str]:
    """Return the words of a text in order, up to the limits above."""
    words = [word[:LONGEST_WORD] for word in text[:MOST_CHARACTERS].translate(_FOLDING).split()[:MOST_WORDS]]
    if sum(map(len, words)) * 4 <= MOST_BYTES:
        return words
    ends = accumulate(len(word.encode()) for word in words)
    return [word for word, end in zip(words, ends, strict=True) if end <= MOST_BYTES]


def tokenize_for_index(text: str) -> list[str]:
    """Return the words of a text as the index stores them.

    From the occurrence of a word after `MOST_POSITIONS` on, `SKIPPED` stands in its place.
    """
    words = tokenize(text)
    if len(words) <= MOST_POSITIONS:
        return words
    counts: Counter[str] = Counter()
    indexed = []
    for word in words:
        counts[word] += 1
        indexed.append(word if counts[word] <= MOST_POSITIONS else SKIPPED)
    return indexed


def tokenize_with_spans(text: str) -> list[WordSpan]:
    """Return the words of a text as `tokenize` does, each with its place in the text."""
    text = text[:MOST_CHARACTERS]
    spans = _ascii_spans(text) if text.isascii() else _spans(text)
    return [span._replace(word=word) for word, span in zip(tokenize(text), spans, strict=False)]


def _ascii_spans(text: str) -> Iterator[WordSpan]:
    for match in _ASCII.finditer(text):
        yield WordSpan(match[0].lower(), *match.span())


def _spans(text: str) -> Iterator[WordSpan]:
    word, start, end = "", 0, 0
    for position, character in enumerate(text):
        for letter in _FOLDING[ord(character)]:
            if letter != " ":
                start = start if word else position
                word, end = word + letter, position + 1
            elif word:
                yield WordSpan(word, start, end)
                word = ""
        if word and not _FOLDING[ord(character)]:
            end = position + 1  # a diacritic belongs to its letter
    if word:
        yield WordSpan(word, start, end)


def owner_words(user_id: str | None, thread_id: str | None) -> list[str]:
    """Return the words that stand for a user and a thread in the index.

    A message is indexed under both, so a search in some threads reads no rows of others. They are digests, so an id may
    contain any character.
    """
    return [f"{kind}{_id_digest(id_)}" for kind, id_ in (("u", user_id), ("t", thread_id)) if id_ is not None]


def _id_digest(id_: str) -> str:
    return blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=8, person=b"holdfast-search").hexdigest()
