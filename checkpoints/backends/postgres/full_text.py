"""Full text search on PostgreSQL, with `tsvector` and a GIN index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.search.query import Query, Term
from holdfast.checkpoints.search.tokenizer import SKIPPED, owner_words, tokenize_for_index
from holdfast.checkpoints.sql import Statement, Statements


class PostgresFullText:
    """The index as a table that a migration makes; see `FullText` for the methods."""

    def __init__(self, sql: Statements) -> None:
        self._sql = sql

    def is_made(self, transaction: Transaction) -> bool:
        return True

    def make(self, transaction: Transaction) -> None:
        pass  # a migration has made it

    def add(self, thread_id: str, user_id: str | None, texts: Sequence[tuple[int, str]]) -> list[Call]:
        owner = owner_words(user_id, thread_id)
        indexed = [(seq, tokenize_for_index(text)) for seq, text in texts]
        rows = [(seq, _tsvector(words, owner)) for seq, words in indexed if words]
        if not rows:
            return []
        seqs, documents = zip(*rows, strict=True)
        params = {"thread_id": thread_id, "seqs": list(seqs), "documents": list(documents)}
        return [(self._sql["index_rows"], params)]

    def remove(self, thread_id: str) -> list[Call]:
        return [(self._sql["unindex_thread"], {"thread_id": thread_id})]

    def clean(self, transaction: Transaction) -> None:
        pass  # VACUUM does it, as for every table

    def find(self, query: Query, among: Sequence[str]) -> tuple[Statement, dict[str, Any]]:
        terms = " & ".join(map(_phrase, query.terms))
        owner = [f"({' | '.join(map(_owner_lexeme, among))})"] if among else []
        excluded = [f"!{_phrase(term)}" for term in query.excluded]
        # Ranked by the terms alone: an owner has no position in the text, and with one the rank is 0.
        return self._sql["search"], {"query": " & ".join([*owner, terms, *excluded]), "terms": terms}


def _tsvector(words: Sequence[str], owner: Sequence[str]) -> str:
    """Write words with their positions as a `tsvector`. They are letters and digits, so there is nothing to escape."""
    positions: dict[str, list[str]] = {}
    for position, word in enumerate(words, 1):
        if word != SKIPPED:
            positions.setdefault(word, []).append(str(position))
    lexemes = [f"'{word}':{','.join(places)}" for word, places in positions.items()]
    return " ".join([*lexemes, *map(_owner_lexeme, owner)])


def _phrase(term: Term) -> str:
    """Write a term as a `tsquery`."""
    quoted = [f"'{word}'" for word in term.words]
    if term.is_prefix:
        quoted[-1] += ":*"
    return f"({' <-> '.join(quoted)})"


def _owner_lexeme(owner_word: str) -> str:
    """Write an owner as a lexeme that no text contains: no word has an equals sign."""
    return f"'={owner_word}'"
