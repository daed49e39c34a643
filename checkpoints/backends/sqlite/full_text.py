"""Full text search on SQLite, by FTS5."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from holdfast.checkpoints.backends.base import Call, Transaction
from holdfast.checkpoints.errors import SearchUnavailable
from holdfast.checkpoints.search.query import Query, Term
from holdfast.checkpoints.search.tokenizer import indexed, owners
from holdfast.checkpoints.sql import Statement, Statements

# From then on FTS5 can take words out of its tables at once.
_FORGETS: Final = (3, 42, 0)

# The usual two of BM25 (https://www.sqlite.org/fts5.html#the_bm25_function), and a usual length of what is said.
_K: Final = 1.2
_B: Final = 0.75
_USUAL_WORDS: Final = 100


class SqliteFullText:
    """See `FullText`. The index is made when somebody searches: most databases never need its five tables."""

    def __init__(self, sql: Statements) -> None:
        self._sql = sql

    def is_made(self, transaction: Transaction) -> bool:
        [[(has_fts5, is_made)]] = transaction.run([(self._sql["search_state"], {})])
        if not has_fts5:
            raise SearchUnavailable(
                f"This Python's SQLite ({sqlite3.sqlite_version}) was built without FTS5, its full text search. All "
                "else works. To search, use a Python whose SQLite has it, such as that of python.org."
            )
        return bool(is_made)

    def make(self, transaction: Transaction) -> None:
        if self.is_made(transaction):
            return
        transaction.run([(self._sql["make_search"], {}), (self._sql["make_forgetting"], {})])
        if sqlite3.sqlite_version_info >= _FORGETS:
            transaction.run([(self._sql["forget_at_once"], {})])

    def add(self, thread_id: str, user_id: str | None, texts: Sequence[tuple[int, str]]) -> list[Call]:
        owner = " ".join(owners(user_id, thread_id))
        found = [(seq, " ".join(indexed(text))) for seq, text in texts]
        params = {"thread_id": thread_id, "owner": owner}
        return [(self._sql["index_row"], {**params, "seq": seq, "words": words}) for seq, words in found if words]

    def remove(self, thread_id: str) -> list[Call]:
        return [(self._sql["unindex_thread"], {"thread_id": thread_id})]

    def clean(self, transaction: Transaction) -> None:
        [[(_, is_made)]] = transaction.run([(self._sql["search_state"], {})])
        if not is_made:
            return
        [[(at_once,)]] = transaction.run([(self._sql["forgets_at_once"], {})])
        if not at_once:
            transaction.run([(self._sql["merge_search"], {})])

    def find(self, question: Query, user_id: str | None, thread_id: str | None) -> tuple[Statement, dict[str, Any]]:
        whose = [f'owner : "{owner}"' for owner in owners(user_id, thread_id)]
        asked = " AND ".join([*whose, *map(_phrase, question.terms)])
        for term in question.without:
            asked = f"({asked}) NOT {_phrase(term)}"
        words = [
            [word, term.is_beginning and number == len(term.words)]
            for term in question.terms
            for number, word in enumerate(term.words, 1)
        ]
        return self._sql["search"], {"question": asked, "terms": json.dumps(words)}


def rank(words: str, terms: str) -> float:
    """How well a text answers a question: BM25 without the rarity of each word, which is the same for every hit.

    Args:
        words: of the text, with spaces between them.
        terms: JSON: the words that were searched for, each with whether it is only a beginning.
    """
    said = words.split()
    per_word = _K * (1 - _B + _B * len(said) / _USUAL_WORDS)
    score = 0.0
    for word, is_beginning in _parsed(terms):
        times = sum(other.startswith(word) for other in said) if is_beginning else said.count(word)
        score += times * (_K + 1) / (times + per_word)
    return score


@lru_cache(8)
def _parsed(terms: str) -> list[tuple[str, bool]]:
    return [(word, is_beginning) for word, is_beginning in json.loads(terms)]


def _phrase(term: Term) -> str:
    """A term as FTS5 writes it. Its words are letters and digits, so there is nothing to be escaped."""
    return f'words : "{" ".join(term.words)}"{" *" if term.is_beginning else ""}'
