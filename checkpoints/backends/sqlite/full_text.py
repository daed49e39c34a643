"""Full text search on SQLite, with FTS5."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.errors import SearchUnavailable
from holdfast.checkpoints.search.query import Query, Term
from holdfast.checkpoints.search.tokenizer import owner_words, tokenize_for_index
from holdfast.checkpoints.sql import Statement, Statements

# From this version on FTS5 can remove deleted words from its tables at once ("secure-delete").
_SECURE_DELETE_VERSION: Final = (3, 42, 0)

# The usual parameters of BM25 (https://www.sqlite.org/fts5.html#the_bm25_function), and the usual length of a message.
_K: Final = 1.2
_B: Final = 0.75
_USUAL_WORDS: Final = 100


class SqliteFullText:
    """The index as an FTS5 table; see `FullText` for the methods.

    The first search makes the table, because its five shadow tables would be empty in most databases.
    """

    def __init__(self, sql: Statements) -> None:
        self._sql = sql

    def is_made(self, transaction: Transaction) -> bool:
        [[(has_fts5, is_made)]] = transaction.run([(self._sql["search_state"], {})])
        if not has_fts5:
            raise SearchUnavailable(
                f"This Python's SQLite ({sqlite3.sqlite_version}) was built without FTS5, its full text search. "
                "Everything else works. To search, use a Python whose SQLite has FTS5, such as that of python.org."
            )
        return bool(is_made)

    def make(self, transaction: Transaction) -> None:
        if self.is_made(transaction):
            return
        transaction.run([(self._sql["make_search"], {}), (self._sql["make_forgetting"], {})])
        if sqlite3.sqlite_version_info >= _SECURE_DELETE_VERSION:
            transaction.run([(self._sql["forget_at_once"], {})])

    def add(self, thread_id: str, user_id: str | None, texts: Sequence[tuple[int, str]]) -> list[Call]:
        params = {"thread_id": thread_id, "owner": " ".join(owner_words(user_id, thread_id))}
        indexed = [(seq, " ".join(tokenize_for_index(text))) for seq, text in texts]
        return [(self._sql["index_row"], {**params, "seq": seq, "words": words}) for seq, words in indexed if words]

    def remove(self, thread_id: str) -> list[Call]:
        return [(self._sql["unindex_thread"], {"thread_id": thread_id})]

    def clean(self, transaction: Transaction) -> None:
        [[(_, is_made)]] = transaction.run([(self._sql["search_state"], {})])
        if not is_made:
            return
        [[(at_once,)]] = transaction.run([(self._sql["forgets_at_once"], {})])
        if not at_once:
            transaction.run([(self._sql["merge_search"], {})])

    def find(self, query: Query, among: Sequence[str]) -> tuple[Statement, dict[str, Any]]:
        owner = " OR ".join(f'"{word}"' for word in among)
        match = " AND ".join([*([f"owner : ({owner})"] if owner else []), *map(_phrase, query.terms)])
        for term in query.excluded:
            match = f"({match}) NOT {_phrase(term)}"
        words = [
            [word, term.is_prefix and number == len(term.words)]
            for term in query.terms
            for number, word in enumerate(term.words, 1)
        ]
        return self._sql["search"], {"query": match, "terms": json.dumps(words)}


def relevance(words: str, terms: str) -> float:
    """Rate how well a text matches a query: BM25 without the rarity of each word, which is the same for every hit.

    Args:
        words: the words of the text, with spaces between them.
        terms: JSON: the words of the query, each with whether it is a prefix.
    """
    text = words.split()
    per_word = _K * (1 - _B + _B * len(text) / _USUAL_WORDS)
    score = 0.0
    for word, is_prefix in _parse_terms(terms):
        count = sum(other.startswith(word) for other in text) if is_prefix else text.count(word)
        score += count * (_K + 1) / (count + per_word)
    return score


@lru_cache(8)
def _parse_terms(terms: str) -> list[tuple[str, bool]]:
    return [(word, is_prefix) for word, is_prefix in json.loads(terms)]


def _phrase(term: Term) -> str:
    """Write a term as an FTS5 query. Its words are letters and digits, so there is nothing to escape."""
    return f'words : "{" ".join(term.words)}"{" *" if term.is_prefix else ""}'
