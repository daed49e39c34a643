"""Tool calls and their answers in a list of messages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from holdfast.graph.messages import looks_closed, unclosed_calls
from tests.support.graph_kit import calls
from tests.support.sweep import example_count

_IDS = st.sampled_from("abc")
_MESSAGES = st.one_of(
    st.builds(lambda: HumanMessage("hello")),
    st.builds(lambda id_: ToolMessage("done", tool_call_id=id_), _IDS),
    st.builds(
        lambda ids: calls(*((name, {}) for name in ids), ids=ids) if ids else AIMessage("so be it"),
        st.lists(_IDS, max_size=2),
    ),
)


@pytest.mark.sweep
@settings(max_examples=example_count(2000), deadline=None)
@given(st.lists(_MESSAGES, max_size=7))
def test_what_looks_closed_has_no_unclosed_calls(messages: list[AnyMessage]) -> None:
    if looks_closed(messages):
        assert unclosed_calls(messages) == []


def test_a_usual_history_looks_closed_and_one_with_a_gap_does_not() -> None:
    history = [
        HumanMessage("go"),
        calls(("look", {}), ("look", {})),
        ToolMessage("b", tool_call_id="call_1"),
        ToolMessage("a", tool_call_id="call_0"),
        AIMessage("done"),
    ]
    assert looks_closed(history)
    assert looks_closed([*history, *history])
    assert not looks_closed(history[:3])
    assert not looks_closed([*history[:2], HumanMessage("well?"), *history[2:]])
