"""Checkpointers of others: agents run over them, and their threads are copied into a database of Holdfast.

from holdfast import open_checkpointer
from holdfast.savers import copy_threads

with open_checkpointer("sqlite:///chat.db") as target:
    for copied in copy_threads(my_saver, target):
        print(copied.thread_id, copied.problem or "copied")
"""

from holdfast.savers.by_url import open_saver
from holdfast.savers.copying import copy_threads, listed_threads
from holdfast.savers.named import UnusableSaver, open_named

__all__ = ["UnusableSaver", "copy_threads", "listed_threads", "open_named", "open_saver"]
