"""LangGraph's conformance kit over an encrypted database, and the kits of our own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate

from holdfast.checkpoints import HoldfastSaver
from tests.support.encryption_kit import encrypted


@pytest.fixture
def url(every_url: str) -> str:
    """Memory as well."""
    return every_url


@pytest.mark.sweep
async def test_only_filters_by_encrypted_metadata_differ_from_what_langgraph_wants(url: str) -> None:
    @checkpointer_test(name="HoldfastSaver")
    async def factory() -> AsyncIterator[HoldfastSaver]:
        async with encrypted(url) as saver:
            yield saver

    report = await validate(factory)

    failures = [failure for result in report.results.values() for failure in result.failures]
    assert [failure.partition(":")[0] for failure in failures] == ["test_list_metadata_custom_keys"]
    assert "these metadata are encrypted" in failures[0]
