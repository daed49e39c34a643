"""The errors about a database, and what can be asked of it."""

from __future__ import annotations

from holdfast.checkpoints.errors.base import HoldfastError


class InvalidURL(HoldfastError, ValueError):
    """The URL does not name a database."""


class DriverMissing(HoldfastError, ImportError):
    """The URL names a database whose driver is not installed."""


class DatabaseUnavailable(HoldfastError):
    """The database cannot be opened or reached."""


class Unreachable(DatabaseUnavailable):
    """The server cannot be reached, or has closed the connection, and is still away after the retries (see
    `backends.retry`)."""

    def __init__(self, what: str, *, maybe_saved: bool, away: float = 0.0) -> None:
        """
        Args:
            what: what happened, as a sentence.
            maybe_saved: whether the connection was lost during a COMMIT, so that its outcome is unknown.
            away: seconds for which the database has been out of reach.
        """
        self.what = what
        self.maybe_saved = maybe_saved
        waited = f" It has been out of reach for {away:.0f} s." if away >= 1 else ""
        outcome = (
            "It is unknown whether this step was saved; if so, all of it was."
            if maybe_saved
            else "Nothing of this step was saved."
        )
        super().__init__(f"{what}{waited} {outcome} Check that the server runs, then try again.")


class ReadOnlyDatabase(DatabaseUnavailable):
    """The server takes no writes: it is a standby, or the role may only read. Reading works."""


class DriverFault(HoldfastError):
    """The driver and the server do not understand each other, as with prepared statements behind a pooler."""


class SchemaTooNew(HoldfastError):
    """A newer version of Holdfast has migrated the database, and this version cannot read it."""


class NotOpen(HoldfastError, RuntimeError):
    """The checkpointer is not open, or it was opened by another process."""


class InvalidSearch(HoldfastError, ValueError):
    """The query has no words, or the filters cannot be used."""


class SearchUnavailable(HoldfastError):
    """The database cannot search, because its SQLite was built without full text search."""
