"""Every kind of value that the stock saver keeps is kept, wherever it is, and after a restart as well."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.oracle import PLACES, Kept, load_all, opened, save_all
from tests.support.stored_values import VALUES
from tests.support.sweep import Sweep

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(180)]

Found = dict[str, dict[str, int]]


def loaded_elsewhere(*urls: str) -> dict[str, Found]:
    """Return what a new process loads, from one after the other."""
    said = subprocess.run(
        [sys.executable, "-m", "tests.support.oracle", *urls], check=True, capture_output=True, text=True, timeout=100
    )
    return dict(zip(urls, map(json.loads, said.stdout.splitlines()), strict=True))


def worse(stock: Found, ours: Found) -> list[str]:
    return [
        f"{name}, {place}: stock {Kept(theirs).name}, ours {Kept(mine).name}"
        for name in VALUES
        for place in PLACES
        if (mine := ours.get(name, {}).get(place, Kept.REFUSED))
        < (theirs := stock.get(name, {}).get(place, Kept.REFUSED))
    ]


def lost(found: Found) -> list[str]:
    return [f"{name}, {place}" for name, places in found.items() for place, kept in places.items() if kept == Kept.LOST]


@pytest.mark.sweep
def test_no_value_is_kept_worse_than_by_the_stock_saver_here_or_in_another_process(
    sqlite_url: str, tmp_path: Path, sweep: Sweep
) -> None:
    stock = f"stock:{tmp_path / 'stock.db'}"
    here = {}
    for saver_url in (stock, sqlite_url):
        with opened(saver_url) as saver:
            save_all(saver, sweep(8, 1))
            here[saver_url] = load_all(saver)
    there = loaded_elsewhere(sqlite_url, stock)  # the stock saver imports what it finds, and ours must not need that
    assert not lost(here[sqlite_url])
    assert not lost(there[sqlite_url])
    assert not worse(here[stock], here[sqlite_url])
    assert not worse(there[stock], there[sqlite_url])
