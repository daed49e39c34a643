"""Long-term memory for the commands: what a user's deletion erases, and what a copy takes along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.checkpoints.store.items import CopiedItems, copy_items, count_items, erase_items, is_label
from holdfast.cli.errors import Interrupted
from holdfast.cli.output import print_notice
from holdfast.cli.output.progress import progress_bar
from holdfast.cli.output.text import counted

if TYPE_CHECKING:
    from holdfast.checkpoints import Database, HoldfastDatabase


@dataclass(frozen=True)
class UserMemory:
    """The long-term memory of the user whose conversations are deleted."""

    user: str | None = None
    """`None`: memory stays."""
    items: int = 0

    @classmethod
    def of(cls, database: HoldfastDatabase, user: str | None) -> UserMemory:
        """Count the items of a user."""
        return cls() if user is None else cls(user, count_items(database.database.backend, user))

    def erase(self, database: HoldfastDatabase) -> UserMemory:
        """Delete the items of the user, with those that were put meanwhile. Return how many there were."""
        if self.user is None:
            return self
        return UserMemory(self.user, erase_items(database.database.backend, self.user))

    def facts(self) -> dict[str, int]:
        """Return the number of items for JSON."""
        return {} if self.user is None else {"items": self.items}

    def remark(self) -> str | None:
        """Return what to say if the user can have no memory of this name."""
        if self.user is None or is_label(self.user):
            return None
        return (
            f"No namespace of long-term memory can begin with {self.user!r}, because of the full stop. If this "
            "user has another label there, erase that with open_store(url).erase_user(label)."
        )


def copy_memory(old: Database, new: Database, target: str, *, as_json: bool) -> CopiedItems | None:
    """Copy the long-term memory of a database. Problems are reported on standard error.

    Returns:
        What was copied; `None` if there is no memory.

    Raises:
        Interrupted: Ctrl-C. The items before it stay copied.
    """
    count = count_items(old.backend)
    if not count:
        return None
    from holdfast import open_store  # it imports LangGraph's stores

    with open_store(target):
        pass  # its tables are there now
    copied = CopiedItems()
    try:
        with progress_bar("Copying memory", count, silent=as_json) as bar:
            for page in copy_items(old.backend, new.backend, copied):
                bar.advance(page)
    except KeyboardInterrupt as interrupt:
        done = f"{counted(copied.copied, 'item')} of memory {'is' if copied.copied == 1 else 'are'} done"
        raise Interrupted.after(interrupt, f"Stopped. {done}; run the command again to continue.") from None
    for name, problem in copied.problems.items():
        print_notice(f"Not copied: item {name}: {problem}")
    return copied


def memory_line(copied: CopiedItems) -> str:
    """Return what was copied for people."""
    line = f"{counted(copied.copied, 'item')} of long-term memory copied."
    if copied.there:
        line += f" {copied.there:,} {'was' if copied.there == 1 else 'were'} there already."
    if copied.problems:
        line += f" Not copied: {counted(len(copied.problems), 'item')}."
    if copied.left_vectors:
        line += " Vectors are not copied: put the items again in a store with an index."
    return line
