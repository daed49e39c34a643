"""Rows of a result, with the names of their columns."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

from holdfast.checkpoints.backends.records import Row
from holdfast.checkpoints.sql import Statement

_MakeRow: TypeAlias = Callable[[Iterable[Any]], Row]


class RowNames:
    """The names of the columns of a database's statements. Safe for threads."""

    def __init__(self) -> None:
        # By the text of the statement. The texts are our own, so their number is bounded.
        self._makers: dict[str, _MakeRow] = {}

    def name(
        self, statement: Statement, columns: Callable[[], Iterable[str]], values: Iterable[tuple[Any, ...]]
    ) -> list[Row]:
        """Return rows whose values are attributes too.

        Args:
            statement: the statement that gave the rows. A column whose name is no identifier has no attribute.
            columns: returns the names of the columns, in their order. It is called once for each statement.
            values: the rows as the driver returned them.
        """
        make = self._makers.get(statement.text)
        if make is None:
            make = self._makers[statement.text] = _maker(statement, columns())
        return list(map(make, values))


def _maker(statement: Statement, columns: Iterable[str]) -> _MakeRow:
    fields = namedtuple(statement.name, list(columns), rename=True)  # type: ignore[misc]  # they are known only now
    kind: type[Row] = type(statement.name, (fields, Row), {"__slots__": ()})
    return partial(tuple.__new__, kind)  # as `_make` of a named tuple, but without its check of the length
