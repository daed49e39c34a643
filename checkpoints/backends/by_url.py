"""The backend for a database URL."""

from __future__ import annotations

from holdfast.checkpoints import urls
from holdfast.checkpoints.backends.base import Backend
from holdfast.checkpoints.errors import DriverMissing
from holdfast.checkpoints.extras import install_command


def backend_of(place: urls.Location, pool_size: int = urls.POOL_SIZE) -> Backend:
    """Return the backend of a database, not open yet.

    Args:
        place: the database.
        pool_size: the largest number of connections to PostgreSQL.

    Raises:
        DriverMissing: the driver of the database is not installed.
    """
    match place:
        case urls.PostgresURL() as location:
            try:
                from holdfast.checkpoints.backends.postgres import PostgresBackend
            except ImportError as error:
                raise DriverMissing(
                    f"PostgreSQL needs a driver that is not installed ({error}). "
                    f"Install it: {install_command('postgres')}"
                ) from error
            return PostgresBackend(location, pool_size=pool_size)
        case location:
            from holdfast.checkpoints.backends.sqlite import SqliteBackend

            return SqliteBackend(location)
