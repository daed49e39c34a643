"""The router needs the packages of its own extra, and no others."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

ABSENT: Final = ("langgraph_api", "langgraph_runtime_inmem", "pydantic_settings", "typer", "rich", "prometheus_client")


@pytest.mark.sweep
def test_the_router_is_imported_without_the_packages_of_other_extras() -> None:
    program = f"import sys; sys.modules.update(dict.fromkeys({ABSENT})); from holdfast.server import create_app, router"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
