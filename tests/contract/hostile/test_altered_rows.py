"""Someone who can write to the database gets nothing run, nothing imported, and no other error than one of ours."""

from __future__ import annotations

import logging
import sys
from random import Random

import pytest

from holdfast.checkpoints import HoldfastSaver
from holdfast.errors import HoldfastError
from tests.support.attacked import Attacked, readers, scene
from tests.support.hostile import CANARY, made_canary, watched
from tests.support.sweep import Sweep

_READERS_OF_EACH = 4


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
    pytest.importorskip("numpy")  # the one module that a stored value may need

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
