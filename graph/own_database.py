"""What only Holdfast's own databases have, and the error for a checkpointer without it."""

from __future__ import annotations

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.errors import HoldfastError


class NeedsOwnDatabase(HoldfastError, TypeError):
    """The checkpointer is another one than Holdfast's, and has not what was asked for. Nothing was saved or run."""

    def __init__(self, what: str, saver: object) -> None:
        """
        Args:
            what: what was asked for, as the beginning of a sentence.
            saver: the checkpointer.
        """
        super().__init__(
            f"{what} needs an agent with Holdfast's checkpointer; found {type(saver).__name__}, which has no ledger of "
            "tool calls, list of threads, transcript, search or list of requests. Copy the conversations into SQLite "
            "or PostgreSQL (holdfast db copy SOURCE sqlite:///chat.db), and make the agent with "
            'checkpointer=open_checkpointer("sqlite:///chat.db").'
        )


def own_saver(saver: object, what: str) -> HoldfastSaver:
    """Return a checkpointer that is Holdfast's.

    Args:
        saver: the checkpointer of an agent.
        what: what needs it, as the beginning of a sentence.

    Raises:
        NeedsOwnDatabase: it is another one.
    """
    if not isinstance(saver, HoldfastSaver):
        raise NeedsOwnDatabase(what, saver)
    return saver
