"""Which run has loaded what, so that its saves can be checked for conflicts. Configs are never changed for it.

A run is recognised by objects in its config, not by values, because two runs may have equal configs:

- LangGraph makes one `metadata` object for each run, and passes it to the load and to every save of the run.
- Code that calls the saver itself passes a config on that the saver returned. Its `checkpoint_id` is an object that was
  made for this config. If the thread was empty, it passes on the `configurable` that it loaded with.

A plain text is then all that a config holds, in YAML, JSON and pickles as well. A config that was copied through one of
them is no longer recognised, and its saves are not checked.
"""

from __future__ import annotations

import sys
from threading import Lock
from typing import Final, TypeAlias

from langchain_core.runnables import RunnableConfig

from holdfast.checkpoints.config import thread_of
from holdfast.checkpoints.core.conflicts import LoadedThread
from holdfast.checkpoints.langgraph_internals import run_object

_Noted: TypeAlias = dict[int, tuple[object, LoadedThread | None]]

# The number of notes at which the first search for those of ended runs is worth its time: about 50 microseconds.
_FEW: Final = 256


class Loads:
    """What the runs of this process have loaded. Safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._noted: _Noted = {}
        self._last_runs: dict[str, int] = {}
        """By thread: the key of the note of the last run that loaded its head."""
        self._most = _FEW

    def note_run(self, config: RunnableConfig, loaded: LoadedThread | None) -> None:
        """Note what a run has loaded, by the config of the load; `None` if it was sent to a checkpoint.

        The first load of a run counts. LangGraph looks for the head as well after it has loaded another checkpoint.
        """
        run = run_object(config)
        if run is not None:
            if id(run) not in self._noted:
                self._note(run, loaded)
                if loaded is not None:
                    self._last_runs[loaded] = id(run)
        elif loaded is not None and loaded.head is None:
            self._note(config["configurable"], loaded)
        else:
            self.forget_empty(config)

    def forget_empty(self, config: RunnableConfig) -> None:
        """Forget that code found a thread empty: it has saved into it, and may go on to save other roots."""
        if run_object(config) is None and id(config["configurable"]) in self._noted:
            with self._lock:
                self._noted.pop(id(config["configurable"]), None)

    def mark(self, checkpoint_id: str, loaded: LoadedThread) -> str:
        """Return a copy of the id, for a config from which what was loaded can be told."""
        marked = checkpoint_id.encode().decode()
        self._note(marked, loaded)
        return marked

    def loaded_by(self, config: RunnableConfig) -> LoadedThread | None:
        """Return what the run with this config has loaded; `None` if that is not known, or need not be checked."""
        own = config["configurable"]
        for carrier in (run_object(config), own.get("checkpoint_id") or own):
            if carrier is not None and (found := self._noted.get(id(carrier))) is not None:
                return found[1]
        return None

    def may_be_running(self, thread_id: str) -> bool:
        """Return whether something still holds the last run of this process that loaded the head of a thread."""
        noted = self._noted.get(self._last_runs.get(thread_id, 0))
        return noted is not None and not _only_here({0: noted})

    def thread_of(self, config: RunnableConfig) -> str:
        """Return the `thread_id` of a config, as a `LoadedThread` if what its run has loaded is known.

        Raises:
            InvalidThread: it is missing, or cannot be a key.
        """
        thread, loaded = thread_of(config), self.loaded_by(config)
        return loaded if loaded is not None and loaded == thread else thread

    def _note(self, carrier: object, loaded: LoadedThread | None) -> None:
        with self._lock:
            # The reference keeps another object from getting the same `id`.
            self._noted[id(carrier)] = (carrier, loaded)
            if len(self._noted) > self._most:
                for key in _only_here(self._noted):
                    del self._noted[key]
                self._last_runs = {thread: key for thread, key in self._last_runs.items() if key in self._noted}
                self._most = max(_FEW, 2 * len(self._noted))


def _references(noted: _Noted) -> list[tuple[int, int]]:
    """Return each key with the number of references to its object, among them those that this function holds."""
    return [(key, sys.getrefcount(carrier)) for key, (carrier, _) in noted.items()]


def _only_here(noted: _Noted) -> list[int]:
    """Return the keys of the objects that nothing else refers to: their runs have ended. Texts have no weak references.

    How many references `_references` holds differs between versions of Python, so it is measured.
    """
    [(_, own)] = _references({0: (object(), None)})
    return [key for key, number in _references(noted) if number <= own]
