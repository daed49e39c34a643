"""Faults of a value, of the URL or of the driver on PostgreSQL are none of the database."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.checkpoints import open_checkpointer
from holdfast.checkpoints.errors import InvalidURL, NotStorable, SchemaTooNew
from tests.support.kit import change, checkpoint, put, thread


@pytest.mark.parametrize("odd", [{"checkpoint_ns": 7}, {"checkpoint_ns": object()}, {"checkpoint_id": 7}])
def test_an_id_of_another_type_is_a_fault_of_its_type(postgres_url_with_tables: str, odd: dict[str, Any]) -> None:
    with (
        open_checkpointer(postgres_url_with_tables) as saver,
        pytest.raises(NotStorable, match="of a type that its column does not take"),
    ):
        saver.get_tuple(thread(**odd))


def test_a_key_that_is_too_long_for_an_index_is_a_fault_of_the_value(postgres_url_with_tables: str) -> None:
    with open_checkpointer(postgres_url_with_tables) as saver:
        ns = "".join(chr(0x4E00 + number * 7 % 20000) for number in range(4000))
        with pytest.raises(NotStorable, match=r"index row.*maximum"):
            put(saver, thread(checkpoint_ns=ns), checkpoint([]))


def test_an_option_that_libpq_does_not_know_is_a_fault_of_the_url() -> None:
    with pytest.raises(InvalidURL, match=r"(?s)libpq does not take the URL.*colour"):
        open_checkpointer("postgresql://ada:s3cret@localhost/db?colour=red").open()


def test_a_database_of_newer_code_is_no_fault_of_the_server(postgres_url: str) -> None:
    with open_checkpointer(postgres_url) as saver:
        change(saver, "UPDATE holdfast_schema SET min_reader = 99")
    with pytest.raises(SchemaTooNew):
        open_checkpointer(postgres_url).open()
