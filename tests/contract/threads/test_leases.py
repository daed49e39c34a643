"""Writers of one thread take turns, and a dead one does not hold the thread for ever."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from signal import SIGKILL

import pytest

from holdfast.checkpoints import HoldfastSaver, open_checkpointer, times
from holdfast.checkpoints.errors import InvalidThread, ThreadBusy
from holdfast.checkpoints.threads import leases
from tests.support import children
from tests.support.kit import change, echo_graph, rows, texts, thread


@pytest.fixture
def url(every_url: str) -> str:
    """Memory as well."""
    return every_url


def test_a_lease_is_taken_and_given_back(saver: HoldfastSaver) -> None:
    with saver.lease("ada-1", wait=0) as first:
        assert not first.lost.is_set()
    with saver.lease("ada-1", wait=0) as second:
        assert second.ticket > first.ticket
    assert rows(saver, "SELECT count(*) FROM holdfast_leases") == [(0,)]


def test_who_finds_a_thread_busy_is_told_who_holds_it_and_for_how_long(saver: HoldfastSaver) -> None:
    with saver.lease("ada-1", owner="Grace's laptop", purpose="approval"):
        change(saver, "UPDATE holdfast_leases SET held_at = held_at - 61")
        with (
            pytest.raises(ThreadBusy, match=r"'ada-1' is busy: Grace's laptop has held it for 61 s .*approval") as busy,
            saver.lease("ada-1", wait=0),
        ):
            raise AssertionError
    assert (busy.value.owner, busy.value.purpose) == ("Grace's laptop", "approval")
    with saver.lease("ada-1", wait=0):
        pass  # who was refused has left the line


def test_other_threads_are_not_busy(saver: HoldfastSaver) -> None:
    with saver.lease("ada-1"), saver.lease("bob-1", wait=0):
        pass


@pytest.mark.sweep(on="postgres")
@pytest.mark.sweep(on="memory")
def test_those_who_wait_get_their_turn_one_at_a_time_in_the_order_they_came(saver: HoldfastSaver) -> None:
    inside, most, order = 0, 0, []
    lock = threading.Lock()

    def take(_: int) -> None:
        nonlocal inside, most
        with saver.lease("ada-1") as lease:
            with lock:
                inside, most = inside + 1, max(most, inside + 1)
                order.append(lease.ticket)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, range(24)))

    assert most == 1
    assert order == sorted(order)
    assert len(order) == 24


def check_is_renewed(saver: HoldfastSaver, lease: leases.Lease, past: float) -> None:
    """Wait until a lease ends after a time, and check that its owner has it alone."""
    deadline = time.monotonic() + 10
    while rows(saver, "SELECT expires_at FROM holdfast_leases")[0][0] <= past:
        assert time.monotonic() < deadline
    assert not lease.lost.is_set()
    with pytest.raises(ThreadBusy), saver.lease("ada-1", wait=0):
        raise AssertionError


@pytest.mark.sweep
def test_a_lease_is_kept_for_longer_than_its_time_while_its_owner_lives(saver: HoldfastSaver) -> None:
    with saver.lease("ada-1", ttl=0.3) as lease:
        [(first,)] = rows(saver, "SELECT expires_at FROM holdfast_leases")
        check_is_renewed(saver, lease, past=first + 0.6)


def test_a_holder_that_slept_past_its_lease_is_told_when_another_caller_took_it(saver: HoldfastSaver) -> None:
    with saver.lease("ada-1", ttl=0.3) as lease:
        change(
            saver,
            "INSERT INTO holdfast_leases (thread_id, ticket, owner, purpose, asked_at, held_at, expires_at) "
            "SELECT thread_id, ticket + 1, 'Grace', 'run', asked_at, asked_at, expires_at FROM holdfast_leases",
        )
        assert lease.lost.wait(10)


@pytest.mark.sweep(on="memory")
def test_a_holder_that_slept_past_its_lease_keeps_it_when_no_other_caller_took_it(saver: HoldfastSaver) -> None:
    with saver.lease("ada-1", ttl=0.3) as lease:
        change(saver, "UPDATE holdfast_leases SET expires_at = 0")
        check_is_renewed(saver, lease, past=0)


def test_who_takes_an_expired_lease_has_it_alone(saver: HoldfastSaver) -> None:
    with saver.lease("ada-1", ttl=60) as lease:
        line = leases._LeaseQueue(saver._backend, "ada-1", "Ada", "run", 60, threading.Event())
        change(saver, "UPDATE holdfast_leases SET expires_at = 0")
        with saver.lease("ada-1", wait=0) as other:
            assert other.ticket > lease.ticket
            assert not line._renew("hold_lease", lease.ticket)
        assert not line._renew("hold_lease", lease.ticket), "he may have written, although he has left"


def test_a_lease_whose_holder_has_just_come_back_is_not_taken(saver: HoldfastSaver) -> None:
    with saver.lease("ada-1", ttl=60):
        line = leases._LeaseQueue(saver._backend, "ada-1", "Ada", "run", 60, threading.Event())
        ticket = line.enter()
        assert not line._renew("take_lease", ticket)  # when it looked, the lease had expired
    assert line._renew("take_lease", ticket)
    line.leave()


def test_who_waited_for_too_long_a_sleep_stands_in_line_again(saver: HoldfastSaver) -> None:
    line = leases._LeaseQueue(saver._backend, "ada-1", "Ada", "run", 60, threading.Event())
    ticket = line.enter()
    change(saver, "UPDATE holdfast_leases SET expires_at = 0")
    assert line.wait_for(ticket, 0).ticket > ticket
    line.leave()
    assert rows(saver, "SELECT count(*) FROM holdfast_leases") == [(0,)]


@pytest.mark.sweep(on="memory")
@pytest.mark.sweep(on="postgres")
def test_only_the_next_caller_in_the_queue_keeps_polling_often(saver: HoldfastSaver) -> None:
    class Polls(threading.Event):
        longest = 0.0

        def wait(self, timeout: float | None = None) -> bool:
            self.longest = max(self.longest, timeout or 0.0)
            return super().wait(0)  # so there are many polls, also on a busy machine

    with saver.lease("ada-1"):
        polls = [Polls(), Polls()]
        queues = [leases._LeaseQueue(saver._backend, "ada-1", "Ada", "run", 60, give_up) for give_up in polls]
        for queue, ticket in [(queue, queue.enter()) for queue in queues]:
            with pytest.raises(ThreadBusy):
                queue.wait_for(ticket, 0.5)

    assert polls[0].longest <= times.NEXT_IN_QUEUE_POLL < polls[1].longest


@pytest.mark.sweep
def test_the_lease_of_a_killed_process_ends_by_itself(shared_url: str) -> None:
    assert children.run(children.die_with_lease, shared_url, 1.0) == -SIGKILL

    with open_checkpointer(shared_url) as saver:
        with pytest.raises(ThreadBusy, match="process"), saver.lease("ada-1", wait=0):
            raise AssertionError
        with saver.lease("ada-1", wait=10):
            echo_graph(saver).invoke({"messages": [("user", "on")]}, thread())
        assert texts(saver) == ["on", "You said: on"]


def test_a_lease_needs_a_thread_id_that_can_be_one(saver: HoldfastSaver) -> None:
    with pytest.raises(InvalidThread):
        saver.lease("")
