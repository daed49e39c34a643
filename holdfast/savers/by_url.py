"""Checkpointers by URL: Holdfast's own, and those of LangGraph's ecosystem for other databases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import cache
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointTuple,
    get_checkpoint_metadata,
)

from holdfast.checkpoints import Keys, open_checkpointer, urls
from holdfast.checkpoints.errors import DatabaseUnavailable, DriverMissing, InvalidKeys, InvalidURL
from holdfast.checkpoints.extras import install_command
from holdfast.savers.named import UnusableSaver

_LONGEST_IDLE: Final = 60.0
"""Seconds after which a connection to MySQL is tried before it is used."""

_Saver: TypeAlias = BaseCheckpointSaver[Any]


@contextmanager
def open_saver(url: str | None = None, *, keys: Keys | None = None) -> Iterator[_Saver]:
    """Open the checkpointer of a URL, and close it at the end.

        with open_saver("redis://localhost:6379") as saver:
            agent = build_graph(checkpointer=saver)

    `redis://`, `valkey://`, `mongodb://`, `dynamodb://` and `mysql://` open the checkpointer that LangGraph's ecosystem
    has for that database, and every other URL does as `open_checkpointer`. Each serves `invoke` and `ainvoke`. A
    conversation over another checkpointer pauses for approvals and goes on; what only Holdfast's own databases have
    raises `NeedsOwnDatabase`.

    Args:
        url: the URL; `None` as for `open_checkpointer`.
        keys: the master keys, as for `open_checkpointer`.

    Raises:
        InvalidURL: it is not the URL of a database.
        DriverMissing: the packages for this database are not installed. The message names them.
        DatabaseUnavailable: the database cannot be opened or reached.
        InvalidKeys: there are keys, and the database is another checkpointer's.
    """
    location = urls.parse_any(url)
    if isinstance(location, urls.OtherURL) and keys is not None:
        raise InvalidKeys(
            f"Keys were given, and {location} is a database of another checkpointer, which cannot use them. "
            "Needed: one of Holdfast's own databases, or no keys."
        )
    if not isinstance(location, urls.OtherURL):
        with open_checkpointer(url, keys=keys) as own:
            yield own
        return
    with ExitStack() as stack:
        yield _open(location, stack)


def _open(location: urls.OtherURL, stack: ExitStack) -> _Saver:
    try:
        return stack.enter_context(OPENERS[location.kind](location.url))
    except InvalidURL:
        raise
    except ImportError as error:
        install = install_command(location.kind)
        raise DriverMissing(
            f"{location} needs packages that are not installed ({error}). Install them: {install}"
        ) from error
    except Exception as error:  # noqa: BLE001 - each driver has its own
        words = str(error).rstrip(".")
        for secret in sorted(location.secrets, key=len, reverse=True):
            words = words.replace(secret, "***")
        # Not from it: a traceback would show its words.
        raise DatabaseUnavailable(
            f"{location} cannot be opened: {type(error).__name__}: {words}. Check the URL, and that the server runs."
        ) from None


class _Completed(BaseCheckpointSaver[Any]):
    """What some checkpointers of others lack. The class of the checkpointer follows in the bases."""

    lists_threads = True
    """Whether `list(None)` returns the checkpoints of all threads. If not, it would return nothing, or an error."""

    def put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: Any, new_versions: ChannelVersions
    ) -> RunnableConfig:
        """Do as the checkpointer, with what LangGraph's own ones add to the metadata: the user of the run is there."""
        return super().put(config, checkpoint, get_checkpoint_metadata(config, metadata), new_versions)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Do as the checkpointer.

        Raises:
            UnusableSaver: it cannot list all threads, and was asked for them.
        """
        if config is None and not self.lists_threads:
            raise UnusableSaver(
                f"{type(self).__name__} finds only threads that are named, and lists none. Name those that are meant: "
                "--thread ID of `holdfast db copy`, or thread_ids of copy_threads."
            )
        return super().list(config, filter=filter, before=before, limit=limit)

    # Some have none of these, and some block the event loop in them.

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        def read() -> Sequence[CheckpointTuple]:
            return [*self.list(config, filter=filter, before=before, limit=limit)]

        for found in await asyncio.to_thread(read):
            yield found

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: Any, new_versions: ChannelVersions
    ) -> RunnableConfig:
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.delete_thread, thread_id)


@cache
def _completed(saver: type[_Saver], *, lists_threads: bool = True) -> Any:
    """Return the class of a checkpointer with what it lacks. It keeps its name."""
    return type(saver.__name__, (_Completed, saver), {"lists_threads": lists_threads})


@contextmanager
def _redis(url: str) -> Iterator[_Saver]:
    from langgraph.checkpoint.redis import RedisSaver

    with _completed(RedisSaver).from_conn_string(url) as saver:
        saver.setup()
        yield saver


@contextmanager
def _valkey(url: str) -> Iterator[_Saver]:
    from langgraph_checkpoint_aws.checkpoint.valkey.saver import ValkeySaver

    with _completed(ValkeySaver, lists_threads=False).from_conn_string(url) as saver:
        saver.client.ping()
        yield saver


@contextmanager
def _mongodb(url: str) -> Iterator[_Saver]:
    """Open `mongodb://host/database`. The database is the checkpointer's own default if the URL has none."""
    from langgraph.checkpoint.mongodb import MongoDBSaver
    from pymongo import MongoClient

    name = unquote(urlsplit(url).path.removeprefix("/"))
    with closing(MongoClient(url)) as client:
        yield _completed(MongoDBSaver)(client, **({"db_name": name} if name else {}))


@contextmanager
def _dynamodb(url: str) -> Iterator[_Saver]:
    """Open `dynamodb://TABLE?region=…&bucket=…&endpoint=…&ttl=…`. The table and the bucket must exist."""
    found = urlsplit(url)
    options = dict(parse_qsl(found.query, keep_blank_values=True))
    unknown = options.keys() - {"region", "bucket", "endpoint", "ttl"}
    ttl = options.get("ttl")
    if not found.netloc or found.path.strip("/") or unknown or not (ttl is None or ttl.isdecimal()):
        raise InvalidURL(
            f"Found {url!r}. A DynamoDB URL names a table, as in dynamodb://checkpoints?region=eu-central-1; its other "
            "options are bucket, of S3, endpoint, a URL, and ttl, in seconds. Credentials are found where boto3 looks."
        )
    from langgraph_checkpoint_aws import DynamoDBSaver

    bucket, endpoint = options.get("bucket"), options.get("endpoint")
    saver = _completed(DynamoDBSaver, lists_threads=False)(
        found.netloc,
        region_name=options.get("region"),
        endpoint_url=endpoint,
        s3_offload_config=None if bucket is None else {"bucket_name": bucket, "endpoint_url": endpoint},
        ttl_seconds=None if ttl is None else int(ttl),
    )
    saver.client.describe_table(TableName=found.netloc)
    yield saver


def _lasting_connection() -> Any:
    """Return the class of a MySQL connection that is made anew after an outage, or before a server ends an idle one."""
    from pymysql.connections import Connection

    class Lasting(Connection):  # type: ignore[misc]  # it has no types
        _used = time.monotonic()

        def begin(self) -> None:
            self._make_anew()
            super().begin()

        def cursor(self, cursor: Any = None) -> Any:
            self._make_anew()
            return super().cursor(cursor)

        def _make_anew(self) -> None:
            idle, self._used = time.monotonic() - self._used, time.monotonic()
            if not self.open or idle > _LONGEST_IDLE:
                self.ping(reconnect=True)

    return Lasting


@contextmanager
def _mysql(url: str) -> Iterator[_Saver]:
    """Open `mysql://user:password@host:3306/database`. Each option is one of `pymysql.connect`."""
    from langgraph.checkpoint.mysql.pymysql import PyMySQLSaver

    found = urlsplit(url)
    # MariaDB cuts off what the checkpointer reads at 1 MB, by default, and a longer conversation could not be loaded.
    options = {"init_command": "SET SESSION group_concat_max_len = 4294967295", **dict(parse_qsl(found.query))}
    connection = _lasting_connection()(
        host=found.hostname,
        port=found.port or 3306,
        user=unquote(found.username or "") or None,
        password=unquote(found.password or ""),
        database=unquote(found.path.removeprefix("/")) or None,
        autocommit=True,
        **options,
    )
    with closing(connection):
        saver = _completed(PyMySQLSaver)(connection)
        saver.setup()
        yield saver


OPENERS: Final[dict[str, Callable[[str], AbstractContextManager[_Saver]]]] = {
    "redis": _redis,
    "valkey": _valkey,
    "mongodb": _mongodb,
    "dynamodb": _dynamodb,
    "mysql": _mysql,
}
"""What opens a database, by its kind, which is also the extra that installs the packages for it."""
