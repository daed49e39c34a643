"""The items of long-term memory as rows of a database: counted, checked, erased and copied.

A namespace is a user's if its first label is the id of the user: `("ada", …)`. Labels have no full stops, so a user
whose id has one has no namespace.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, Final

from holdfast.checkpoints.backends.base import Backend, Transaction
from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.backends.retry import persist
from holdfast.checkpoints.errors import NotStorable

_PAGE: Final = 200


@dataclass
class CopiedItems:
    """What was copied of the long-term memory of a database."""

    copied: int = 0
    there: int = 0
    """Items that the target already had, with the same value."""
    problems: dict[str, str] = field(default_factory=dict)
    """Why an item was not copied, by its namespace and key."""
    left_vectors: bool = False
    """Whether the source has an index by meaning, which is not copied."""


def count_items(backend: Backend, user_id: str | None = None) -> int:
    """Return the number of items in a database, or in the namespaces of a user; 0 if there is no store.

    Args:
        backend: the open database.
        user_id: the user.
    """
    if user_id is not None and not is_label(user_id):
        return 0
    name, params = ("count_items", {}) if user_id is None else ("count_user_items", _of_user(user_id))

    def count() -> int:
        with backend.reading() as transaction:
            if not _tables(backend, transaction).has_items:
                return 0
            [[row]] = transaction.run([(backend.sql[name], params)])
            return int(row.items)

    return persist(backend, count)


def erase_items(backend: Backend, user_id: str) -> int:
    """Delete all items in the namespaces of a user, and return their number. No other user's is touched.

    Args:
        backend: the open database.
        user_id: the user.
    """

    def erase() -> int:
        with backend.writing() as transaction:
            return erase_items_in(transaction, backend, user_id)

    return persist(backend, erase)


def erase_items_in(transaction: Transaction, backend: Backend, user_id: str) -> int:
    """Do as `erase_items`, within a transaction."""
    if not is_label(user_id) or not (tables := _tables(backend, transaction)).has_items:
        return 0
    # In this order: what a writer commits while the lock is waited for is deleted as well.
    transaction.run([(backend.sql["lock_items"], {})])
    if tables.has_vectors:  # SQLite does not delete them with their items
        transaction.send([(backend.sql["erase_user_vectors"], _of_user(user_id))])
    [erased] = transaction.run([(backend.sql["erase_user_items"], _of_user(user_id))])
    return len(erased)


def is_label(user_id: str) -> bool:
    """Return whether a namespace can begin with the id of a user."""
    return bool(user_id) and "." not in user_id and "\0" not in user_id


def damaged_items(backend: Backend) -> dict[str, str]:
    """Return the items that LangGraph's store cannot read, by namespace and key, and for each the reason.

    Args:
        backend: the open database.
    """
    damaged = {}
    for item in (item for page in _pages(backend) for item in page):
        try:
            value = json.loads(item.value)
        except ValueError as error:
            damaged[_name(item)] = f"its value is no JSON: {error}"
        else:
            if not isinstance(value, dict):
                damaged[_name(item)] = f"its value is a JSON {type(value).__name__}, and not an object"
    return damaged


def copy_items(source: Backend, target: Backend, copied: CopiedItems) -> Iterator[int]:
    """Copy the items of a database, with their times, into another one that has the tables. Idempotent.

    An item that the target already has stays as it is there. Vectors are not copied.

    Args:
        source: the open database to copy from.
        target: the open database to copy to.
        copied: receives the outcome.

    Yields:
        After each page, the number of its items.
    """
    with source.reading() as transaction:
        copied.left_vectors = bool(_tables(source, transaction).has_vectors)
    for page in _pages(source):
        _copy_page(target, page, copied)
        yield len(page)


def _pages(source: Backend) -> Iterator[list[Row]]:
    """Yield all items, ordered by namespace and key. No lock is held between pages."""
    after = {"prefix": "", "key": ""}
    while page := persist(source, partial(_page, source, after)):
        yield page
        after = {"prefix": page[-1].prefix, "key": page[-1].key}


def _page(source: Backend, after: dict[str, str]) -> list[Row]:
    with source.reading() as transaction:
        if not _tables(source, transaction).has_items:
            return []
        [rows] = transaction.run([(source.sql["items_after"], {**after, "limit": _PAGE})])
        return rows


def _copy_page(target: Backend, page: Sequence[Row], copied: CopiedItems) -> None:
    try:
        there = persist(target, partial(_add, target, page))
    except NotStorable as error:
        if len(page) > 1:
            for item in page:
                _copy_page(target, [item], copied)
        else:
            copied.problems[_name(page[0])] = str(error)
        return
    for item, value in zip(page, there, strict=True):
        if value is None:
            copied.copied += 1
        elif _same(item.value, value):
            copied.there += 1
        else:
            copied.problems[_name(item)] = "The target has another value under this namespace and key, and keeps it."


def _add(target: Backend, page: Sequence[Row]) -> list[str | None]:
    """Add the items that the target does not have. Return for each the value that was there."""
    with target.writing() as transaction:
        keys = [{"prefix": item.prefix, "key": item.key} for item in page]
        found = transaction.run([(target.sql["item_value"], key) for key in keys])
        new = [item for item, rows in zip(page, found, strict=True) if not rows]
        if new:
            transaction.send_many(target.sql["add_item"], [_params(item) for item in new])
        return [rows[0].value if rows else None for rows in found]


def _params(item: Row) -> dict[str, Any]:
    names = ("prefix", "key", "value", "created_at", "updated_at", "expires_at", "ttl_minutes")
    return {name: getattr(item, name) for name in names}


def _tables(backend: Backend, transaction: Transaction) -> Row:
    [[tables]] = transaction.run([(backend.sql["store_tables"], {})])
    return tables


def _of_user(user_id: str) -> dict[str, str]:
    return {"label": user_id, "under": f"{user_id}."}


def _name(item: Row) -> str:
    return f"{tuple(item.prefix.split('.'))} {item.key!r}"


def _same(one: str, other: str) -> bool:
    """Return whether two JSON texts say the same: PostgreSQL writes numbers and orders keys in its own way."""
    try:
        return one == other or _canonical(one) == _canonical(other)
    except ValueError:  # one of them is damaged
        return False


def _canonical(text: str) -> str:
    return json.dumps(json.loads(text, parse_float=_number, parse_int=_number), sort_keys=True)


def _number(text: str) -> dict[str, str]:
    return {"": str(Decimal(text).normalize())}
