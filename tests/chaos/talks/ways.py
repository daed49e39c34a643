"""The ways in which an application can have a turn: as a conversation, in threads or on a loop, or LangGraph alone."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from langchain_core.messages import HumanMessage
from langgraph.types import Command

from holdfast.graph import Conversation, NothingWaits
from tests.chaos.talks.scene import Said

WAYS: Final = ("conversation", "loop", "bare")

WAY_OF_OTHERS: Final = {"conversation": "inbox", "loop": "bare loop", "bare": "bare"}
"""The way that an agent of others is had in, in place of each of these: answers are recorded in the inbox and carried
out by a run without an input; or LangGraph alone, on a loop or not."""


class Way:
    """One thread, had in one of these ways."""

    def __init__(self, way: str, agent: Any, thread_id: str) -> None:
        self.agent = agent
        self.config: dict[str, Any] = {"configurable": {"thread_id": thread_id}}
        self._way = way
        self._thread = thread_id
        self._conversation = Conversation(agent, thread_id)

    def _invoke(self, given: Any) -> None:
        if self._way == "bare loop":
            asyncio.run(self.agent.ainvoke(given, self.config))
        else:
            self.agent.invoke(given, self.config)

    def state(self) -> Any:
        """Of the thread, now."""
        return self.agent.get_state(self.config)

    def questions(self, state: Any) -> list[Any]:
        """Return the requests of a state that have no answer on record."""
        answered = {done.interrupt_id for done in self.agent.checkpointer.interrupts.todo(thread_id=self._thread)}
        return [pause for pause in state.interrupts if pause.id not in answered]

    def go_on(self) -> None:
        """Do what another process has left undone, if it has."""
        if self._way in WAY_OF_OTHERS.values():
            if self.state().tasks:
                self._invoke(None)
            return
        try:
            if self._way == "loop":
                asyncio.run(self._conversation.aretry())
            else:
                self._conversation.retry()
        except NothingWaits:
            pass

    def send(self, said: Said) -> None:
        """Say something."""
        message = HumanMessage(said.text, id=said.id)
        if self._way in WAY_OF_OTHERS.values():
            self._invoke({"messages": [message]})
        elif self._way == "loop":
            asyncio.run(self._conversation.asend(message))
        else:
            self._conversation.send(message)

    def answer(self, answers: dict[str, dict[str, Any]], by: str) -> None:
        """Answer some of what waits, each under its id."""
        if self._way.startswith("bare"):
            self._resume(answers, by)
            return
        if self._way == "inbox":
            self._record(answers, by)
            return
        for id_, answer in answers.items():
            method, first, more = _method(answer)
            if self._way == "loop":
                asyncio.run(getattr(self._conversation, f"a{method}")(*first, interrupt_id=id_, by=by, **more))
            else:
                getattr(self._conversation, method)(*first, interrupt_id=id_, by=by, **more)

    def _record(self, answers: dict[str, dict[str, Any]], by: str) -> None:
        inbox = self.agent.checkpointer.interrupts
        for id_, answer in answers.items():
            inbox.answer(self._thread, id_, answer, by=by)
        self._invoke(None)
        self._look_up(answers, by)

    def _resume(self, answers: dict[str, dict[str, Any]], by: str) -> None:
        resume = {id_: {**answer, "by": by} for id_, answer in answers.items()}
        self._invoke(Command(resume=resume))
        if self._way in WAY_OF_OTHERS.values():
            self._look_up(answers, by)

    def _look_up(self, answers: dict[str, dict[str, Any]], by: str) -> None:
        """Look whether answers were taken and carried out. LangGraph ignores one that nothing waits for any more.

        Raises:
            NothingWaits: one was not.
        """
        inbox = self.agent.checkpointer.interrupts
        for id_ in answers:
            first = inbox.recorded(self._thread, id_)
            if first is None or first.by != by or inbox.is_dropped(self._thread, id_):
                raise NothingWaits("The thread went on before this was carried out.")


def _method(answer: dict[str, Any]) -> tuple[str, list[Any], dict[str, Any]]:
    """Return the name of the method of `Conversation` that gives an answer, and its arguments."""
    match answer:
        case {"type": "approve"}:
            return "approve", [], {}
        case {"type": "edit", "edited_action": {"args": args}}:
            return "edit", [args], {}
        case {"type": "reject" | "respond" as method, "message": message}:
            return method, [message], {}
    return "settle", [answer["type"]], {"result": answer.get("result")}
