"""The public names of `holdfast.middleware`, with and without LangChain."""

from __future__ import annotations

import re
import sys

import pytest

from holdfast import middleware
from holdfast.checkpoints.extras import install_command


def test_the_module_has_its_public_names() -> None:
    assert set(middleware.__all__) == {"HoldfastMiddleware", "ToolCallGuard"}
    assert set(middleware.__all__) <= set(dir(middleware))
    assert all(getattr(middleware, name).__name__ == name for name in middleware.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        _ = middleware.Other


def test_without_langchain_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "holdfast.middleware.langchain", raising=False)
    monkeypatch.setitem(sys.modules, "langchain.agents.middleware", None)
    with pytest.raises(ImportError, match=re.escape(install_command("langchain"))):
        _ = middleware.HoldfastMiddleware
    assert middleware.ToolCallGuard(once=["pay"])
