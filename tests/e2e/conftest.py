"""Fixtures of the ways in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest

from tests.support.cli_kit import Cli
from tests.support.forked import environment


@pytest.fixture(scope="session", autouse=True)
def one_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One root certificate in place of the machine's hundred, which every client of a model reads twice in 20 ms.

    The endpoints of the tests are on loopback, and without TLS.
    """
    first, end, _ = certifi.contents().partition("-----END CERTIFICATE-----\n")
    roots = tmp_path_factory.mktemp("roots") / "roots.pem"
    roots.write_text(first + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(roots))
        yield


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.chdir(tmp_path)
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)
    return Cli(tmp_path, monkeypatch, capsys)
