"""Turns that are accepted now, and carried out by a worker of any process: `holdfast.worker`."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig

from holdfast.checkpoints import NewRun, Run
from holdfast.graph.approvals.policy import OnMessage
from holdfast.graph.conversation.answer import NewAnswer, NothingWaits
from holdfast.graph.conversation.manage import Managed
from holdfast.graph.conversation.sending import UserMessage, sent_message
from holdfast.graph.plans import Io, blocking, twin


class Submitting(Managed):
    """The part of `Conversation` that accepts turns. It needs Holdfast's checkpointer.

    Raises, from every method:
        UnknownThread: the thread is neither the user's nor shared with this user.
        KeyReused: the key was given for another request.
        TypeError: the agent has another checkpointer.
    """

    _config: RunnableConfig

    @blocking
    async def submit(
        self, io: Io, message: UserMessage, *, pending: OnMessage | None = None, key: str | None = None
    ) -> Run:
        """Accept a message. When this returns, it is in the database, and a worker will send it as `send` does.

        Args:
            message: the message. It gets the id of its run, and is said once, also if its process dies.
            pending: as for `send`.
            key: an idempotency key: the same request under the same key is accepted once.
        """
        sent = sent_message(self._profile, message, pending)
        request = {"message": sent.message.model_dump(exclude={"id"}), "pending": pending}
        new = self._new_run("message", {**request, "metadata": dict(self._config.get("metadata", {}))}, key, request)
        if key is not None and (earlier := await io.call(self._saver.runs.earlier, new)):
            return earlier
        if self._members and not (await self._check_user(io)).is_begun:
            share = self._threads.share
            await io.call(share, self.thread_id, *self._members, user_id=self.user_id, not_begun=True)
        return await io.call(self._saver.runs.accept, new, for_user=self.user_id is not None)

    @blocking
    async def submit_answer(
        self, io: Io, answer: Any, interrupt_id: str | None = None, *, by: str | None = None, key: str | None = None
    ) -> Run:
        """Record an answer as `answer` does, and accept the run that carries it out, both or neither.

        Args:
            answer, interrupt_id, by: as for `answer`.
            key: as for `submit`.

        Raises:
            NothingWaits, BadAnswer: as `answer`. Nothing was accepted.
        """
        request = {"answer": answer, "interrupt_id": interrupt_id}
        new = self._new_run("answer", {"interrupt_id": interrupt_id}, key, request)
        if earlier := await io.call(self._saver.runs.earlier, new):
            return earlier
        try:
            await self._accept(io, NewAnswer(interrupt_id, answer, by, new))
        except NothingWaits:
            # The same request may have come at the same moment, and be the one that was recorded.
            if earlier := await io.call(self._saver.runs.earlier, new):
                return earlier
            raise
        return await io.call(self._saver.runs.get, new.run_id)

    @blocking
    async def submit_retry(self, io: Io, *, key: str | None = None) -> Run:
        """Accept a run that goes on where a turn failed or died, as `retry` does.

        Args:
            key: as for `submit`.

        Raises:
            NothingWaits: the last turn has ended, or waits for a person.
        """
        new = self._new_run("retry", {}, key)
        if earlier := await io.call(self._saver.runs.earlier, new):
            return earlier
        await self._check_unfinished(io)
        return await io.call(self._saver.runs.accept, new)

    asubmit = twin(submit)
    asubmit_answer = twin(submit_answer)
    asubmit_retry = twin(submit_retry)

    def _new_run(self, kind: Any, input: dict[str, Any], key: str | None, request: Any = None) -> NewRun:
        return NewRun(
            thread_id=self.thread_id,
            agent=self._profile.name,
            kind=kind,
            input=input,
            user_id=self.user_id,
            key=key,
            request=request,
        )

    async def _accept(self, io: Io, new: NewAnswer) -> Any:
        """Check an answer and record it."""
        raise NotImplementedError

    async def _check_unfinished(self, io: Io) -> None:
        """Raise `NothingWaits` if the last turn has ended, or waits for a person."""
        raise NotImplementedError
