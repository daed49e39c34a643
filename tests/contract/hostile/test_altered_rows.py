"""Someone who can write to the database gets nothing run, nothing imported, and no other error than one of ours."""

from __future__ import annotations

import logging
import sys
from random import Random

import ormsgpack
import pytest

from holdfast.checkpoints import HoldfastSaver
from holdfast.errors import DamagedThread, DriverFault, HoldfastError
from tests.support.attacked import Attacked, readers, scene
from tests.support.dialects import dialect_of
from tests.support.hostile import CANARY, made_canary, watched
from tests.support.kit import change, thread
from tests.support.sweep import Sweep

_READERS_OF_EACH = 4


def test_a_user_and_an_answer_that_are_no_text_are_refused_or_read(saver: HoldfastSaver) -> None:
    scene(saver)
    if dialect_of(saver) == "sqlite":  # the only one whose columns take values of any type
        change(saver, "UPDATE holdfast_threads SET user_id = :id", id=b"\xff\xfe")
        assert len(saver.search.find("ship")) > 0
    answer = ormsgpack.packb({"type": {"approve": 1}, "by": {"id": "Grace"}})
    change(saver, "UPDATE holdfast_interrupts SET answer = :answer WHERE answer IS NOT NULL", answer=answer)
    with pytest.raises(DamagedThread, match="the answer to the request"):
        list(saver.transcript("ada-1"))


def test_a_document_that_is_no_object_or_has_a_number_without_end_is_refused(saver: HoldfastSaver) -> None:
    scene(saver)
    if dialect_of(saver) == "postgres":
        change(saver, "UPDATE checkpoints SET checkpoint = jsonb_build_object('v', CAST(repeat('1', 5000) AS NUMERIC))")
        with pytest.raises(DriverFault, match=r"cannot be read [\s\S]* db check --deep"):
            saver.get_tuple(thread())
        change(saver, "UPDATE checkpoints SET checkpoint = '{}'")
    null = "CAST('null' AS JSONB)" if dialect_of(saver) == "postgres" else "'null'"
    change(saver, f"UPDATE checkpoints SET metadata = {null}")
    with pytest.raises(DamagedThread, match="'ada-1'"):
        saver.get_tuple(thread())


@pytest.mark.timeout(1800)
@pytest.mark.sweep(on="postgres")
def test_altered_rows_are_refused_or_read_and_nothing_is_run(
    saver: HoldfastSaver, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    fired: list[str] = []
    monkeypatch.setitem(sys.modules, CANARY, made_canary(fired))
    logging.disable()  # it tells of each altered row
    random = Random(8)  # noqa: S311 - it draws what to alter
    talk = scene(saver)
    by_name = readers(saver, talk)
    for read in by_name.values():
        read()  # what is imported for a sound thread is imported now
    for needed in ("numpy", "tzdata"):  # the modules that stored arrays and time zones need
        pytest.importorskip(needed)

    refused, altered = 0, 0
    try:
        with Attacked(saver, random) as attacked:
            for _ in range(sweep(25, 20_000)):
                with attacked.altered() as (table, new), watched(fired):
                    for name in random.sample(sorted(by_name), _READERS_OF_EACH) if new else ():
                        try:
                            by_name[name]()
                        except HoldfastError:
                            refused += 1
                        except Exception as error:  # noqa: BLE001 - whatever it is, it is none of ours
                            pytest.fail(f"{name} with {table} {str(new)[:300]} raised {error!r}")
                assert fired == [], f"{table} {str(new)[:300]}"
                altered += bool(new)
    finally:
        logging.disable(logging.NOTSET)

    assert altered > 10
    assert refused > 5
