"""Search queries: required words and phrases, prefixes, and excluded words. Pure, no I/O.

    refund "brass calculator" -cancelled order*

All other characters are literal text. A parsed query contains letters and digits only, so no operator of a database can
get into it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from holdfast.checkpoints.errors import InvalidSearch
from holdfast.checkpoints.search.tokenizer import WordSpan, tokenize

# A person types a few words. Each one costs a look-up in the index, and a pasted page would cost thousands.
MOST_QUERY_WORDS: Final = 100

_PART = re.compile(r'(-?)"([^"]*)"?|(-?)(\S+)')


class Term(NamedTuple):
    """A word, or a phrase of adjacent words."""

    words: tuple[str, ...]
    is_prefix: bool = False
    """True if the last word matches every word that begins with it."""

    def matches(self, text: Sequence[WordSpan]) -> list[range]:
        """Return each place where the term occurs in a text, as indexes into its words."""
        size = len(self.words)
        return [
            range(first, first + size)
            for first in range(len(text) - size + 1)
            if all(self._matches_word(index, text[first + index].word) for index in range(size))
        ]

    def _matches_word(self, index: int, word: str) -> bool:
        if self.is_prefix and index == len(self.words) - 1:
            return word.startswith(self.words[index])
        return word == self.words[index]


@dataclass(frozen=True)
class Query:
    """A parsed search query."""

    terms: tuple[Term, ...]
    """Required: a message matches only if it has all of them."""
    excluded: tuple[Term, ...] = ()
    """A message matches only if it has none of them."""


def parse_query(text: str) -> Query:
    """Parse a query as a person types it.

    Words joined without a space, such as "e-mail", form a phrase. An asterisk at the end of a word makes it a prefix;
    inside quotes it has no meaning.

    Raises:
        InvalidSearch: the query has no required word, or too many words.
    """
    terms: dict[Term, None] = {}
    excluded: dict[Term, None] = {}
    for minus_quoted, quoted, minus, plain in _PART.findall(text):
        words = tuple(tokenize(quoted or plain))
        if words:
            term = Term(words, is_prefix=not quoted and plain.endswith("*"))
            (excluded if minus_quoted or minus else terms)[term] = None
    count = sum(len(term.words) for term in (*terms, *excluded))
    if not terms:
        raise InvalidSearch(
            "There is no word to search for. Needed: at least one word of letters or digits without a minus before it."
        )
    if count > MOST_QUERY_WORDS:
        raise InvalidSearch(f"The query has {count} words. Search for at most {MOST_QUERY_WORDS} words at once.")
    return Query(tuple(terms), tuple(excluded))
