"""Two replicas of an application that write to one conversation, and answer one request, at the same time.

python replicas.py postgresql://…, or any other database that two processes can open
"""

import multiprocessing
import sys
from collections.abc import Callable

from holdfast import Conversation, build_graph, open_checkpointer
from holdfast.errors import NothingWaits


def say(database: str, name: str) -> None:
    """Send three messages. Each waits for the turn that another process is in the middle of."""
    with open_checkpointer(database) as checkpointer:
        talk = Conversation(build_graph(checkpointer=checkpointer), "shared")
        for number in range(3):
            talk.send(f"{name} says {number}")


def approve(database: str, name: str) -> None:
    """Answer what waits. The first answer counts, and the other caller is told so."""
    with open_checkpointer(database) as checkpointer:
        talk = Conversation(build_graph(checkpointer=checkpointer), "shared")
        try:
            print(f"{name}: {talk.approve(by=name).text}")
        except NothingWaits as late:
            print(f"{name}: {late}")


def at_once(program: Callable[[str, str], None], database: str) -> None:
    replicas = [multiprocessing.Process(target=program, args=(database, name)) for name in ("Grace", "Alan")]
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.join()


def main(database: str) -> None:
    at_once(say, database)
    with open_checkpointer(database) as checkpointer:
        talk = Conversation(build_graph(checkpointer=checkpointer), "shared")
        said = [message.text for message in talk.history() if message.type == "human"]
        print(f"{len(said)} messages of two replicas, each there once: {len(set(said)) == len(said)}")
        print(talk.send("Please refund order 1003.").text)
    at_once(approve, database)


if __name__ == "__main__":
    main(sys.argv[1])
