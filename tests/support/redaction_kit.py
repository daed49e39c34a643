"""A database with a secret in every place that can hold one, and the search for it in everything that it holds."""

from __future__ import annotations

import json
import operator
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from holdfast import Conversation, build_graph, once
from holdfast.checkpoints import HoldfastSaver
from tests.support.delta_kit import in_order
from tests.support.dialects import dialect_of
from tests.support.graph_kit import ScriptedModel, calls, says
from tests.support.kit import rows

SECRET = re.compile(r"zq[a-z]+qz")
"""Every secret is a word of its own, so that a search tells where one was left."""


@dataclass
class Note:
    text: str


class Card(BaseModel):
    owner: str


ODD = [
    {"type": "contact", "id": "zqcontactqz", "content": "zqnoteqz"},  # no message
    {"lc": 1, "id": "zqlabelqz", "name": "zqnameqz", "input": 1},  # no value in JSON, and no tool call
    {"role": "user", "content": "zqsaidqz", "id": ["zqlistqz"]},
]


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    summary: str
    essay: str
    note: Note
    card: Card
    bag: dict[str, Any]
    log: Annotated[list[Any], DeltaChannel(in_order, list, snapshot_frequency=2)]
    steps: Annotated[int, operator.add]


def reply() -> AIMessage:
    """A message with a secret in each of its parts."""
    return AIMessage(
        [
            {"type": "text", "text": "read zqblockqz"},
            {"type": "reasoning", "reasoning": "thought zqreasoningqz"},
            {"type": "file", "mime_type": "text/plain", "source_type": "text", "text": "zqattachmentqz"},
        ],
        id="reply-1",
        name="zqauthorqz",
        tool_calls=[{"name": "look", "args": {"where": "zqargumentqz", "deep": ["zqdeepqz"]}, "id": "call_1"}],
        additional_kwargs={"reasoning_content": "zqkwargsqz", "raw": json.dumps({"arguments": "zqjsonqz"})},
    )


def answer(state: State) -> dict[str, Any]:
    return {
        "messages": [
            reply(),
            ToolMessage(
                "found zqtoolqz",
                tool_call_id="call_1",
                artifact={"nested": HumanMessage("zqnestedqz"), "b": b"zqbytesqz"},
            ),
        ],
        "summary": "zqinlineqz",
        "essay": "zqessayqz " * 100,
        "note": Note("zqdataclassqz"),
        "card": Card(owner="zqmodelqz"),
        "bag": {"zqkeyqz": ("zqtupleqz", {"zqsetqz"}), ("zqpairqz", 1): 1, "odd": ODD},
        "log": ["zqdeltaqz"],
        "steps": 1,
    }


def ask(state: State) -> dict[str, Any]:
    said = interrupt({"question": "is zqquestionqz right?", "args": {"deep": "zqaskedqz"}})
    return {"messages": [AIMessage(f"you said {said}", id="said-1")], "log": ["zqdeltatwoqz"]}


def graph_of(saver: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("answer", answer)
    builder.add_node("ask", ask)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", "ask")
    return builder.compile(checkpointer=saver)


def ask_twice(state: State) -> dict[str, Any]:
    return {"summary": f"{interrupt('first')} {interrupt('second')}"}


@once
@tool
def pay(order: str) -> str:
    """Pay."""
    return f"{order} is paid: zqresultqz"


def plant(saver: HoldfastSaver) -> None:
    """Put a secret into every place of a database."""
    config: Any = {"configurable": {"thread_id": "ada-1", "user_id": "ada"}, "metadata": {"label": "zqmetadataqz"}}
    graph = graph_of(saver)
    saver.note_prompt(config, "You keep zqpromptqz to yourself.")
    graph.invoke(
        {"messages": [{"role": "user", "content": "my zqtitleqz is this"}], "bag": {"in": "zqinputqz"}}, config
    )
    saver.threads.copy("ada-1", "copy-1")  # with a request that waits
    [waiting] = saver.interrupts.waiting(thread_id="ada-1")
    given = {"type": "respond", "text": "zqanswerqz"}
    saver.interrupts.answer("ada-1", waiting.interrupt_id, given, by="ada")
    graph.invoke(Command(resume={waiting.interrupt_id: given}), config)
    graph.invoke({"messages": [HumanMessage("once more zqagainqz", id="m-2")]}, config)
    saver.threads.rename("ada-1", "about zqrenamedqz")
    model = ScriptedModel(lines=[calls(("pay", {"order": "zqorderqz"})), says("paid zqpaidqz")])
    shop = build_graph(model=model, tools=[pay], checkpointer=saver, prompt="zqsystemqz")
    Conversation(shop, "shop-1", user_id="ada").send("pay zqpleaseqz")
    Conversation(shop, "shop-1", user_id="ada").submit("and then zqlaterqz")  # and no worker takes it
    builder = StateGraph(State).add_node("ask_twice", ask_twice).add_edge(START, "ask_twice")
    twice = builder.compile(checkpointer=saver)
    for run, given_now in enumerate([{"essay": "begin"}, Command(resume="zqfirstqz"), Command(resume="zqsecondqz")]):
        config = {"configurable": {"thread_id": "two-1", "user_id": "ada", "run_id": str(uuid.UUID(int=run + 1))}}
        twice.invoke(given_now, config)  # the second answer takes the place of what the first run wrote
    assert saver.database.sealer.encrypts or saver.search.find("once more")  # which makes the index


def tables_of(saver: HoldfastSaver) -> list[str]:
    """All tables of the database."""
    found = (
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        if dialect_of(saver) == "sqlite"
        else "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    )
    return sorted(name for (name,) in rows(saver, found))


def columns_of(saver: HoldfastSaver, table: str) -> list[str]:
    """The columns of a table."""
    found = (
        f"SELECT name FROM pragma_table_info('{table}')"
        if dialect_of(saver) == "sqlite"
        else f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' "
        "AND table_schema = current_schema()"
    )
    return [name for (name,) in rows(saver, found)]


def raw_secrets(saver: HoldfastSaver) -> dict[str, set[str]]:
    """The secrets in the raw values of every column of every table, by table and column."""
    found: dict[str, set[str]] = {}
    for table in tables_of(saver):
        for column in columns_of(saver, table):
            for (value,) in rows(saver, f'SELECT "{column}" FROM {table}'):
                for secret in secrets_in(value):
                    found.setdefault(f"{table}.{column}", set()).add(secret)
    return found


def secrets_in(value: Any) -> Iterator[str]:
    text = bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else repr(value)
    yield from SECRET.findall(text)
