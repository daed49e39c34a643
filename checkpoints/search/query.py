"""What somebody searches for: words that must be there, phrases, words that must not be. No I/O.

    refund "brass calculator" -cancelled order*

Whatever else is in it is literal text, and the operators of no database are known here: what leaves this module are
words, which consist of letters and digits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from holdfast.checkpoints.errors import InvalidSearch
from holdfast.checkpoints.search.tokenizer import Placed, words

MOST: Final = 100
"""Words that one may search for at once."""

_PART = re.compile(r'(-?)"([^"]*)"?|(-?)(\S+)')


class Term(NamedTuple):
    """Words that stand side by side."""

    words: tuple[str, ...]
    is_beginning: bool = False
    """Whether the last of them may go on."""

    def ends(self, text: Sequence[Placed]) -> list[range]:
        """Where it stands in a text: the numbers of the words."""
        size = len(self.words)
        return [
            range(first, first + size)
            for first in range(len(text) - size + 1)
            if all(self._fits(number, text[first + number].word) for number in range(size))
        ]

    def _fits(self, number: int, word: str) -> bool:
        if self.is_beginning and number == len(self.words) - 1:
            return word.startswith(self.words[number])
        return word == self.words[number]


@dataclass(frozen=True)
class Query:
    """What is searched for."""

    terms: tuple[Term, ...]
    """Each must be there."""
    without: tuple[Term, ...] = ()
    """None of these may."""


def parse_query(text: str) -> Query:
    """Read what somebody has typed.

    Words that are written without a space between them, such as "e-mail", are a phrase. An asterisk behind a word
    stands for any ending; within quotes it stands for nothing.

    Raises:
        InvalidSearch: there is no word in it that must be there, or there are too many.
    """
    terms: dict[Term, None] = {}
    without: dict[Term, None] = {}
    for minus_quoted, quoted, minus, plain in _PART.findall(text):
        found = tuple(words(quoted or plain))
        if found:
            term = Term(found, is_beginning=not quoted and plain.endswith("*"))
            (without if minus_quoted or minus else terms)[term] = None
    count = sum(len(term.words) for term in (*terms, *without))
    if not terms:
        raise InvalidSearch(
            "There is no word to search for. Needed: at least one word of letters or digits without a minus before it."
        )
    if count > MOST:
        raise InvalidSearch(f"This is a search for {count} words. Search for at most {MOST} at once.")
    return Query(tuple(terms), tuple(without))
