"""Imports all tests, with their assertions rewritten. The workers of a test run are forked when that is done.

See `workers`. What cannot be imported here is left to the workers, which say why.
"""

from __future__ import annotations

import gc
import sys
import warnings
from pathlib import Path

from _pytest.config import _prepareconfig
from _pytest.pathlib import import_path
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.forked import HOUSE
from tests.support.sweep import load_profile


def _import_all() -> None:
    config = _prepareconfig(["--capture=no"])  # it brings what rewrites assertions
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as in pyproject.toml
        for path in sorted(HOUSE.glob("tests/**/test_*.py")):
            _import(path)
    config._ensure_unconfigure()


def _import(path: Path) -> None:
    known = set(sys.modules)
    try:
        import_path(path, mode="importlib", root=HOUSE, consider_namespace_packages=False)
    except BaseException:  # noqa: BLE001 - pytest's own are not of the type Exception
        for name in set(sys.modules) - known:
            if name.startswith("tests."):
                del sys.modules[name]


@settings(max_examples=1, database=None)
@given(st.text())
def _draw(text: str) -> None:
    """Let Hypothesis read its table of characters, and the constants in the tests."""


gc.disable()
load_profile(swept=False)
_import_all()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Hypothesis warns that it is slow to do this before any test
    _draw()
# The first test that needs them would import them, in each worker.
import langchain_openai  # noqa: E402, F401
import sqlalchemy.ext.asyncio  # noqa: E402, F401

gc.freeze()
