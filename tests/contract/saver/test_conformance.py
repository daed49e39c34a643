"""LangGraph's own conformance kit."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate

from holdfast.checkpoints import HoldfastSaver, open_checkpointer


@pytest.fixture
def url(every_url: str) -> str:
    """Memory as well."""
    return every_url


ALL = {
    "put",
    "put_writes",
    "get_tuple",
    "list",
    "delete_thread",
    "delete_for_runs",
    "copy_thread",
    "prune",
}


@pytest.mark.sweep(on="sqlite")
async def test_langgraphs_conformance_kit_finds_nothing_wrong(url: str) -> None:
    @checkpointer_test(name="HoldfastSaver")
    async def factory() -> AsyncIterator[HoldfastSaver]:
        async with open_checkpointer(url) as saver:
            yield saver

    report = await validate(factory)

    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert failures == {}
    assert {name for name, result in report.results.items() if result.passed} == ALL
