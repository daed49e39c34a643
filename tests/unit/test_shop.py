"""The example shop: effects that can be counted."""

import sqlite3
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from langchain_core.tools import ToolException

from holdfast.graph.approvals.policy import approval_policy
from holdfast.graph.shop import Shop, shop_tools
from tests.support.forked import context


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop.db")


def orders_in(path: Path) -> int:
    return Shop(path).count("orders")


def test_many_processes_may_open_a_new_shop_at_once(shop: Shop) -> None:
    with ProcessPoolExecutor(4, mp_context=context()) as pool:
        assert list(pool.map(orders_in, [shop.path] * 8)) == [5] * 8


def test_an_order_is_refunded_once_and_a_second_refund_says_when_the_first_was(shop: Shop) -> None:
    assert shop.refund(1001, "broken") == "Order 1001 is refunded: 49.00 EUR go back to Ada."
    with pytest.raises(ToolException, match="Order 1001 was already refunded at 20"):
        shop.refund(1001, "broken")
    assert shop.count("refunds") == 1
    assert "refunded at 20" in shop.order(1001)


def test_of_many_refunds_at_once_one_happens(shop: Shop) -> None:
    def refund(_: int) -> bool:
        try:
            shop.refund(1002, "")
        except ToolException:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(refund, range(16))) == 1
    assert shop.count("refunds") == 1


def test_every_mail_is_in_the_outbox(shop: Shop) -> None:
    for _ in range(2):
        shop.mail("ada@example.org", "Hello", "Hello Ada")
    assert shop.count("outbox") == 2


def test_a_request_that_is_repeated_under_the_same_key_is_carried_out_once(shop: Shop) -> None:
    for _ in range(2):
        assert shop.refund(1001, "broken", "key 1").startswith("Order 1001 is refunded")
        shop.mail("ada@example.org", "Hello", "Hello Ada", "key 2")
    assert (shop.count("refunds"), shop.count("outbox")) == (1, 1)
    with pytest.raises(ToolException, match="already refunded"):
        shop.refund(1001, "broken", "key 3")


def test_a_shop_that_was_made_before_there_were_keys_takes_them(shop: Shop) -> None:
    shop.count("orders")
    with sqlite3.connect(shop.path) as file:
        for table in ("refunds", "outbox"):
            file.execute(f"DROP TABLE {table}")
        file.execute(
            "CREATE TABLE refunds (refund_id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL UNIQUE REFERENCES orders,"
            " cents INTEGER NOT NULL, reason TEXT NOT NULL, refunded_at TEXT NOT NULL)"
        )
        file.execute(
            "CREATE TABLE outbox (mail_id INTEGER PRIMARY KEY, recipient TEXT NOT NULL, subject TEXT NOT NULL,"
            " body TEXT NOT NULL, sent_at TEXT NOT NULL)"
        )
        file.execute("INSERT INTO refunds VALUES (1, 1002, 1250, '', '2026-01-01T00:00:00+00:00')")
    file.close()
    for _ in range(2):
        shop.refund(1001, "broken", "key 1")
    assert shop.count("refunds") == 2


def test_orders_are_found_by_number_and_by_customer(shop: Shop) -> None:
    assert shop.order(1003) == "Order 1003: Grace, moth in a frame, 33.00 EUR, not refunded."
    assert len(shop.orders_of("ada").splitlines()) == 2
    assert shop.orders_of("Zoe") == "No customer named Zoe has ordered anything."
    with pytest.raises(ToolException, match=r"There is no order 9\."):
        shop.order(9)


def test_tools_that_change_the_world_need_an_approval(shop: Shop) -> None:
    asking = {tool.name for tool in shop_tools(shop.path) if approval_policy(tool)}
    assert asking == {"refund_order", "send_mail"}
