"""`holdfast threads`: listing conversations, and what is done with one as a whole, on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from holdfast.checkpoints import Thread, open_checkpointer, transfer
from holdfast.checkpoints.moments import utc_datetime
from holdfast.cli.threads import manage
from holdfast.graph import Conversation, build_graph
from tests.support.cli_kit import Cli
from tests.support.kit import change, echo_graph
from tests.support.stock_kit import in_stock

PASSWORD = "s3cr3t-word"  # noqa: S105 - no real password
HOSTILE = "\x1b[2JHello 🎉\u202eworld"
SHOWN = "<U+001B>[2JHello 🎉<U+202E>world"


def say(saver: Any, thread_id: str, user: str | None, *texts: str) -> None:
    config = {"configurable": {"thread_id": thread_id}, "metadata": {"user_id": user} if user else {}}
    for text in texts:
        echo_graph(saver).invoke({"messages": [("user", text)]}, config)


def fill(url: str) -> None:
    with open_checkpointer(url) as saver:
        say(saver, "ada-1", "ada", "I am Ada", "Refund order 1001")
        say(saver, "ada-2", "ada", "Second thoughts")
        say(saver, "grace-1", "grace", HOSTILE)
        say(saver, "odd\x1b[2J", "a\nb\u202ec", "Odd")


@pytest.fixture
def talked(cli: Cli, sqlite_url: str) -> Callable[..., tuple[int, str, str]]:
    """`holdfast threads` on a SQLite file with conversations of Ada's, of Grace's, and of one with an odd name."""
    fill(sqlite_url)
    return lambda command, *words, **how: cli("threads", command, f"--database={sqlite_url}", *words, **how)


@pytest.mark.sweep(on="postgres")
def test_conversations_are_listed_page_by_page_named_and_taken_further(cli: Cli, url: str) -> None:
    fill(url)
    at = f"--database={url.replace('postgres:@', f'postgres:{PASSWORD}@')}"
    said: list[str] = []

    def threads(command: str, *words: str) -> str:
        code, out, err = cli("threads", command, at, *words)
        assert (code, err) == (0, "")
        said.append(out)
        return out

    lines = threads("list").splitlines()
    assert lines[0].split() == ["written", "state", "id", "user", "messages", "title"]
    assert [line.split(" UTC  ")[1].split()[0] for line in lines[1:]] == ["idle"] * 4
    assert lines[1].endswith("odd<U+001B>[2J  a b<U+202E>c  2         Odd")
    assert "  4         I am Ada" in lines[4]
    # What is no letter is taken out of a title when it is made; the rest is shown as its number.
    assert lines[2].endswith("[2JHello 🎉<U+202E>world")

    page = json.loads(threads("list", "--user=ada", "--limit=1", "--json"))
    cursor = page["cursor"]
    assert [thread["thread_id"] for thread in page["threads"]] == ["ada-2"]
    assert set(page["threads"][0]) == {field.name for field in fields(Thread)}
    rest = json.loads(threads("list", "--user=ada", "--limit=1", "--json", f"--cursor={cursor}"))
    assert ([thread["thread_id"] for thread in rest["threads"]], rest["cursor"]) == (["ada-1"], None)
    assert threads("list", "--user=ada", "--limit=1").endswith(f"There are more. To continue: --cursor {cursor}\n")
    assert threads("list", "--text=AM ADA", "--since=1h").count("\n") == 2
    assert threads("list", "--until=1h") == threads("list", "--status=paused") == "No conversations were found.\n"

    assert threads("rename", "ada-1", " A broken\tcalculator ") == "The title of ada-1 is 'A broken calculator'.\n"
    assert json.loads(threads("rename", "ada-1", "--json"))["title"] == "I am Ada"
    assert (
        threads("undo", "ada-1", "--by=Grace") == "The last turn of ada-1 was taken back. It stays in the transcript.\n"
    )
    assert threads("fork", "ada-1", "--to=ada-3").startswith(
        "Created ada-3. To continue it: holdfast chat --thread ada-3 --database"
    )
    made = json.loads(threads("copy", "ada-1", "--user=ada", "--json"))
    assert (made["user_id"], made["title"], made["origin_thread_id"]) == ("ada", "I am Ada", "ada-1")
    assert threads("restart", "ada-1") == "ada-1 starts over. Its messages stay in the transcript.\n"
    assert "Undone by Grace" in threads("show", "ada-1")
    [first, *_] = [json.loads(line) for line in threads("show", "ada-3", "--json").splitlines()]
    fork = json.loads(threads("fork", "ada-3", f"--message={first['message_id']}", "--json"))
    assert fork["origin_checkpoint_id"] < made["checkpoint_id"]
    assert json.loads(threads("delete", "ada-3", "--yes", "--json")) == {"deleted": "ada-3", "messages": 2}
    assert "ada-3" not in threads("list", "--json").replace('origin_thread_id": "ada-3', "")
    assert PASSWORD not in "".join(said)
    assert not {"\x1b", "\u202e"} & set("".join(said))


def test_a_conversation_is_deleted_when_the_user_confirms(
    talked: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(word: str) -> tuple[int, str, str]:
        monkeypatch.setattr("builtins.input", lambda: word)
        return talked("delete", "grace-1", "--json")

    asked = "Delete grace-1 ([2JHello 🎉<U+202E>world, 2 messages) for good? [y/N] "
    assert answers("") == (2, "", f"{asked}Nothing was deleted.\n")
    assert answers("yes!")[0] == 2
    monkeypatch.undo()
    assert talked("show", "grace-1")[1].count(SHOWN) == 2

    def gone() -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", gone)
    code, out, err = talked("delete", "grace-1")
    assert (code, out, err.splitlines()[1]) == (
        2,
        "",
        "There was no answer, so nothing was deleted. --yes deletes without asking.",
    )
    assert answers("Y") == (0, '{"deleted": "grace-1", "messages": 2}\n', asked)
    assert talked("show", "grace-1")[0] == 2


@pytest.mark.sweep
def test_a_thread_of_another_user_is_as_unknown_as_a_missing_one(
    talked: Callable[..., tuple[int, str, str]],
) -> None:
    for command, *words in (
        ("rename", "Mine"),
        ("restart",),
        ("undo",),
        ("fork", "--to=mine"),
        ("copy", "--to=mine"),
        ("delete", "--yes"),
        ("show",),
        ("export",),
        ("export", "--format=holdfast", "--output=mine.jsonl"),
    ):
        code, out, hers = talked(command, "ada-1", *words, "--user=grace")
        assert (code, out, hers.count("\n")) == (2, "", 1), command
        assert hers.replace("ada-1", "none") == talked(command, "none", *words, "--user=grace")[2]
        assert talked(command, "ada-1", *words, "--user=")[0] == 2  # an empty name is an error, not a missing option
    listed = json.loads(talked("list", "--json")[1])["threads"]
    assert [(thread["thread_id"], thread["messages"]) for thread in listed][-1] == ("ada-1", 4)
    assert "grace" not in talked("list", "--user=ada")[1]
    assert talked("search", "hello", "--user=ada")[1] == "Nothing was found.\n"


@pytest.mark.sweep
def test_an_export_of_one_user_has_only_what_is_theirs(talked: Callable[..., tuple[int, str, str]], cli: Cli) -> None:
    export = ("export", "--format=holdfast", "--output=all.jsonl")
    assert talked(*export, "--user=ada") == (0, "", "Written to all.jsonl: 2 conversations.\n")
    assert "all.jsonl exists already" in talked(*export)[2]
    there = "--database=sqlite:///there.db"
    assert cli("threads", "import", "all.jsonl", there)[0] == 0
    listed = json.loads(cli("threads", "list", there, "--json")[1])["threads"]
    assert [thread["thread_id"] for thread in listed] == ["ada-2", "ada-1"]
    assert talked(*export, "--force") == (0, "", "Written to all.jsonl: 4 conversations.\n")
    code, out, _ = cli("threads", "import", "all.jsonl", there)
    assert (code, out.rpartition("verified. ")[2]) == (0, "2 were there already.\n")
    assert json.loads(cli("threads", "list", there, "--json")[1]) == json.loads(talked("list", "--json")[1])


def test_a_command_that_cannot_be_carried_out_is_one_line_and_changes_nothing(
    talked: Callable[..., tuple[int, str, str]], cli: Cli, sqlite_url: str
) -> None:
    before = talked("list", "--json")
    talked("export", "ada-1", "--format=holdfast", "--output=ada.jsonl")
    written = (cli.folder / "ada.jsonl").read_bytes()
    (cli.folder / "cut.jsonl").write_bytes(written[:-5])
    (cli.folder / "newer.jsonl").write_bytes(written.replace(b'"version":1', b'"version":2', 1))
    far = re.sub(rb'"updated_at":[0-9.]+', b'"updated_at":4503599627370496.0', written)
    (cli.folder / "far.jsonl").write_bytes(far)
    long = written.replace(b'"user_id":"ada"', b'"user_id":"%s"' % (b"x" * 1025), 1)
    (cli.folder / "long.jsonl").write_bytes(long)
    cursor = json.loads(talked("list", "--limit=1", "--json")[1])["cursor"]
    for words, why in (
        (("list", "--cursor=xyz"), "This is no cursor of a list of threads."),
        (("list", f"--cursor={cursor}", "--user=ada"), "This cursor belongs to another list"),
        (("list", "--since=soon"), "--since 'soon' is not a time."),
        (("list", "--limit=0"), "--limit"),
        (("list", "--status=dead"), "--status"),
        (("rename", "ada-1", "x" * 201), "A title has 1 to 200 characters; found 201."),
        (("rename", "ada-1", "\t"), "A title has 1 to 200 characters; found 0."),
        (("fork", "ada-1", "--checkpoint=a", "--message=b"), "Needed: one of them."),
        (("fork", "ada-1", "--checkpoint=none"), "has no checkpoint 'none'"),
        (("fork", "ada-1", "--message=none"), "is not one that was said in it"),
        (("fork", "ada-1", "--to=ada-2"), "Thread 'ada-2' is not empty"),
        (("copy", "ada-1", "--to=ada-2"), "Thread 'ada-2' is not empty"),
        (("copy", "ada-1", f"--to={'x' * 1025}"), "cannot be used"),
        (("share", "ada-2", "bob", "--user=bob"), "There is no thread 'ada-2' of user 'bob'"),
        (("unshare", "ada-1"), "USER"),
        (("share", "ada-1", ""), "Needed: the ids of one user or several."),
        (("search", "&|!"), "There is no word to search for."),
        (("search", "hello", "--until=2026-13-01"), "--until '2026-13-01' is not a time."),
        (("search", "hello", "--thread=none"), "There is no thread 'none'"),
        (("export", "--format=holdfast"), "Needed: --output FILE"),
        (("export", "ada-1", "ada-2"), "--format jsonl writes one conversation, and 2 were given."),
        (("import", "none.jsonl"), "none.jsonl: there is no such file. Needed: "),
        (("import", "."), "it cannot be read (Is a directory). Needed: "),
        (("import", "cut.jsonl"), "cut off"),
        (("import", "newer.jsonl"), "version"),
        (("import", "far.jsonl"), "'updated_at' is not a time"),
        (("import", "long.jsonl"), "'user_id' is not a short text"),
    ):
        line = cli.refused("threads", words[0], f"--database={sqlite_url}", *words[1:])
        assert why in line, line
    talked("undo", "ada-2")
    assert "no turn that can be undone" in cli.refused("threads", "undo", "ada-2", f"--database={sqlite_url}")
    untouched = [
        thread for thread in json.loads(talked("list", "--json")[1])["threads"] if thread["thread_id"] != "ada-2"
    ]
    assert untouched == [thread for thread in json.loads(before[1])["threads"] if thread["thread_id"] != "ada-2"]


def test_a_database_is_not_made_by_looking_for_a_conversation(cli: Cli) -> None:
    nowhere = "--database=sqlite:///none.db"
    for words in (
        ("list",),
        ("search", "hello"),
        *(
            (command, "ada-1")
            for command in ("rename", "restart", "undo", "fork", "copy", "delete", "show", "export", "share")
        ),
        ("export", "--format=holdfast", "--output=all.jsonl"),
    ):
        assert "There are no conversations at sqlite:///none.db" in cli.refused("threads", *words, nowhere)
    assert "There are no conversations" in cli.refused("db", "index", nowhere)
    assert list(cli.folder.iterdir()) == []


@pytest.mark.sweep(on="postgres")
def test_threads_that_are_not_listed_yet_are_reported_and_can_be_managed(cli: Cli, url: str) -> None:
    def talk(saver: Any) -> None:
        for thread_id in ("ada-1", "ada-2", "ada-3"):
            say(saver, thread_id, "ada", "Hello", "And again")

    in_stock(url, talk)
    at = f"--database={url}"
    hint = "are not in the list yet. To add them: holdfast db upgrade"
    code, out, err = cli("threads", "list", at)
    assert (code, out, hint in err) == (0, "No conversations were found.\n", True)
    code, _, err = cli("threads", "export", at, "--format=holdfast", "--output=no.jsonl", "--user=ada")
    assert (code, hint in err, "0 conversations" in err) == (0, True, True)
    assert hint in cli("threads", "search", "hello", at, "--user=ada")[2]

    assert "There is no thread 'ada-1'" in cli.refused("threads", "undo", "ada-1", at, "--user=grace")
    assert cli("threads", "undo", "ada-1", at, "--user=ada")[0] == 0
    assert "ada-1" in cli("threads", "list", at, "--user=ada")[1]
    assert cli("threads", "export", "ada-3", at, "--format=holdfast", "--output=three.jsonl")[0] == 0

    # A copy is in the list, and stays the same when the rest of the source comes into it.
    copy = ("db", "copy", url, "sqlite:///there.db")
    assert "3 conversations copied" in cli(*copy)[1]
    assert cli("db", "upgrade", at, "--json")[0] == 0
    assert "3 were there already" in cli(*copy)[1]
    assert len(json.loads(cli("threads", "list", "--database=sqlite:///there.db", "--json")[1])["threads"]) == 3


@pytest.mark.sweep
def test_upgrading_names_what_cannot_be_listed(cli: Cli) -> None:
    in_stock("sqlite:///stock.db", lambda stock: [say(stock, name, None, "Hello") for name in ("ada-1", "ada-2")])
    with open_checkpointer("sqlite:///stock.db") as saver:
        change(saver, "UPDATE checkpoints SET checkpoint = X'FF' WHERE thread_id = 'ada-1'")
    code, out, err = cli("db", "upgrade", "--database=sqlite:///stock.db")
    assert (code, out.splitlines()[-1]) == (0, "Added to the list of threads: 1.")
    assert err.startswith("Not added to the list: Thread 'ada-1' is damaged")


def test_a_conversation_that_waits_says_so_in_the_list(cli: Cli, sqlite_url: str) -> None:
    with open_checkpointer(sqlite_url) as saver:
        Conversation(build_graph(model="offline", checkpointer=saver), "ada-1").send("Please refund order 1001.")
        [found] = saver.threads.list().threads
    assert "  paused (1)  ada-1  -     4         Please" in cli("threads", "list", f"--database={sqlite_url}")[1]
    far = manage.thread_table([replace(found, updated_at=utc_datetime(2.0**52))])
    assert far[1].startswith("9999-12-31 23:59:59 UTC")  # a database may say anything


@pytest.mark.sweep
def test_a_thread_that_is_deleted_during_an_export_of_all_is_left_out(
    talked: Callable[..., tuple[int, str, str]], cli: Cli, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed(store: Any) -> list[str]:
        return ["ada-1", "gone", "grace-1"]

    monkeypatch.setattr(transfer, "transferable_threads", listed)
    written = "Written to all.jsonl: 2 conversations.\n"
    assert talked("export", "--format=holdfast", "--output=all.jsonl") == (0, "", written)
    code, out, err = cli("db", "copy", sqlite_url, "sqlite:///there.db")
    assert (code, out[:22], err) == (0, "2 conversations copied", "")
    assert "no thread 'gone'" in cli.refused("db", "copy", sqlite_url, "sqlite:///there.db", "--thread=gone")


def test_a_conversation_is_shared_and_listed_for_its_members(talked: Callable[..., tuple[int, str, str]]) -> None:
    assert talked("share", "ada-1")[1] == "ada-1 is not shared.\n"
    assert talked("share", "ada-1", "bob", "carol", "--user=ada")[1] == "ada-1 is shared with bob, carol.\n"
    assert [found["thread_id"] for found in json.loads(talked("list", "--user=bob", "--json")[1])["threads"]] == [
        "ada-1"
    ]
    assert "Shared by ada" in talked("show", "ada-1", "--user=bob")[1]
    assert json.loads(talked("unshare", "ada-1", "bob", "--user=bob", "--json")[1])["members"] == ["carol"]
    code, _, error = talked("delete", "ada-1", "--yes", "--user=carol")
    assert (code, "only its own user may delete it" in error) == (2, True)
