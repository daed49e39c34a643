"""Full text search on PostgreSQL, by `tsvector` and GIN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.search.query import Query, Term
from holdfast.checkpoints.search.tokenizer import SKIPPED, indexed, owners
from holdfast.checkpoints.sql import Statement, Statements


class PostgresFullText:
    """See `FullText`. The index is a table that is there from the beginning."""

    def __init__(self, sql: Statements) -> None:
        self._sql = sql

    def is_made(self, transaction: Transaction) -> bool:
        return True

    def make(self, transaction: Transaction) -> None:
        pass  # a migration has

    def add(self, thread_id: str, user_id: str | None, texts: Sequence[tuple[int, str]]) -> list[Call]:
        found = [(seq, indexed(text)) for seq, text in texts]
        rows = [(seq, _document(words, owners(user_id, thread_id))) for seq, words in found if words]
        if not rows:
            return []
        seqs, documents = zip(*rows, strict=True)
        params = {"thread_id": thread_id, "seqs": list(seqs), "documents": list(documents)}
        return [(self._sql["index_rows"], params)]

    def remove(self, thread_id: str) -> list[Call]:
        return [(self._sql["unindex_thread"], {"thread_id": thread_id})]

    def clean(self, transaction: Transaction) -> None:
        pass  # as with every row that is deleted, VACUUM does

    def find(self, question: Query, user_id: str | None, thread_id: str | None) -> tuple[Statement, dict[str, Any]]:
        terms = " & ".join(map(_phrase, question.terms))
        without = [f"!{_phrase(term)}" for term in question.without]
        asked = " & ".join([*map(_mark, owners(user_id, thread_id)), terms, *without])
        # Whose it is stands nowhere in the text, so it would bring the rank to 0.
        return self._sql["search"], {"question": asked, "terms": terms}


def _document(words: Sequence[str], owners: Sequence[str]) -> str:
    """A text as `tsvector` writes it. Words are letters and digits, so there is nothing to be escaped."""
    places: dict[str, list[str]] = {}
    for place, word in enumerate(words, 1):
        if word != SKIPPED:
            places.setdefault(word, []).append(str(place))
    said = [f"'{word}':{','.join(found)}" for word, found in places.items()]
    return " ".join([*said, *map(_mark, owners)])


def _phrase(term: Term) -> str:
    """A term as `tsquery` writes it."""
    quoted = [f"'{word}'" for word in term.words]
    if term.is_beginning:
        quoted[-1] += ":*"
    return f"({' <-> '.join(quoted)})"


def _mark(owner: str) -> str:
    """Whose a row is, as a word that no text has."""
    return f"'={owner}'"
