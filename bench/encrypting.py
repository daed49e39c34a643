"""What encryption costs: time and bytes of a turn beside the same without; and how conversations meet a change of the
master key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.peers import place_of
from bench.places import new_database
from bench.rounds import Meter, compare
from bench.short import threads_of
from bench.sizes import FULL, Sizes
from bench.sweeping import talk_until, timed
from holdfast.checkpoints import HoldfastSaver, open_checkpointer
from holdfast.checkpoints.convert import keys_in_use, new_key
from holdfast.histories import import_histories, read_file

_CHARACTERS: Final = 2000
_SESSIONS: Final = 1000
_EACH: Final = 100


def encrypting(database: str, folder: Path, server: str, meter: Meter, sizes: Sizes = FULL) -> dict[str, Any]:
    """Compare the time of a turn in short threads, encrypted and not, and the bytes that the same turns take."""
    urls = [_url(database, folder, server) for _ in range(2)]
    with open_checkpointer(urls[0], keys=new_key("bench")) as sealed, open_checkpointer(urls[1]) as plain:
        steps = (threads_of(saver, _CHARACTERS, sizes.short_turns) for saver in (sealed, plain))
        found = compare(*steps, rounds=sizes.short_rounds, turns=sizes.short_turns, meter=meter)
        bytes_ = [place_of(url)[1].size() for url in urls]
    return {"database": database, "characters": _CHARACTERS, **found, "bytes": bytes_[0] / bytes_[1]}


def rotating(database: str, folder: Path, server: str, sessions: int = _SESSIONS) -> dict[str, Any]:
    """Return the times of the saves of eight conversations, alone and while another process changes the master key."""
    url = _url(database, folder, server)
    keys = [new_key("old")]
    with open_checkpointer(url, keys=keys) as saver:
        _fill(saver, folder, sessions)
    keys.insert(0, new_key("new"))
    spent: list[float] = []
    with open_checkpointer(url, keys=keys) as saver, _key_file(folder, keys) as file:
        before = talk_until(saver, lambda: spent.append(timed(lambda: keys_in_use(saver.database))))
        command = [sys.executable, "-m", "holdfast", "db", "rotate-keys", "--database", url]
        environment = {"HOLDFAST_KEYS_FILE": str(file)}
        beside = talk_until(saver, lambda: spent.append(timed(lambda: _run(command, environment))))
        if set(keys_in_use(saver.database)) != {"new"}:
            raise AssertionError(f"keys are wrapped by {keys_in_use(saver.database)}")
    return {
        "database": database,
        "messages": sessions * _EACH,
        "threads": sessions,
        "rotation_s": spent[1],
        "alone_ms": before,
        "beside_ms": beside,
    }


def _url(database: str, folder: Path, server: str) -> str:
    return f"sqlite:///{folder / uuid.uuid4().hex}.db" if database == "SQLite" else new_database(server)


def _run(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(command, check=True, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)  # noqa: S603 - our own


@contextmanager
def _key_file(folder: Path, keys: list[str]) -> Iterator[Path]:
    file = folder / "keys.txt"
    file.write_text("\n".join(keys), "utf-8")
    yield file
    file.unlink()


def _fill(saver: HoldfastSaver, folder: Path, sessions: int) -> None:
    file = folder / "sessions.json"
    said = [{"role": role, "content": "What of my order?"} for role in ("user", "assistant") * (_EACH // 2)]
    file.write_text(json.dumps({f"session-{number}": said for number in range(sessions)}), "utf-8")
    added = sum(one.messages for one in import_histories(saver, read_file(file)))
    if added != sessions * _EACH:
        raise AssertionError(f"{added} messages of {sessions * _EACH} were imported")
