"""The example tools: a small shop in a SQLite file, in which the effects of an agent can be seen and counted."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from langchain_core.tools import BaseTool, ToolException, tool

from holdfast.graph.approvals.policy import needs_approval
from holdfast.graph.tools.once import IdempotencyKey

_SCHEMA = """
CREATE TABLE orders (
  order_id INTEGER PRIMARY KEY, customer TEXT NOT NULL, item TEXT NOT NULL, cents INTEGER NOT NULL
);
CREATE TABLE refunds (
  refund_id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL UNIQUE REFERENCES orders, cents INTEGER NOT NULL,
  reason TEXT NOT NULL, refunded_at TEXT NOT NULL, idempotency_key TEXT UNIQUE
);
CREATE TABLE outbox (
  mail_id INTEGER PRIMARY KEY, recipient TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL,
  sent_at TEXT NOT NULL, idempotency_key TEXT UNIQUE
);
"""
_ORDERS = [
    (1001, "Ada", "brass calculator", 4900),
    (1002, "Ada", "box of punched cards", 1250),
    (1003, "Grace", "moth in a frame", 3300),
    (1004, "Grace", "nanosecond of wire", 100),
    (1005, "Alan", "chained mug", 1800),
]


class Shop:
    """The shop's database. Each method opens a connection of its own, so threads and processes can share the file.

    The file is created and filled on first use.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def order(self, order_id: int) -> str:
        """Describe an order in one line.

        Raises:
            ToolException: there is no order with this number.
        """
        with self._open() as shop:
            return _line(_order(shop, order_id))

    def orders_of(self, customer: str) -> str:
        """Describe a customer's orders, one a line. The name may be in any case."""
        with self._open() as shop:
            rows = shop.execute(
                f"{_SELECT} WHERE lower(customer) = lower(?) ORDER BY o.order_id", [customer]
            ).fetchall()
        return "\n".join(map(_line, rows)) or f"No customer named {customer} has ordered anything."

    def refund(self, order_id: int, reason: str, key: str | None = None) -> str:
        """Refund an order in full. With a key it is idempotent, as a payment service is.

        Raises:
            ToolException: there is no order with this number, or it was refunded before.
        """
        with self._open() as shop:
            order = _order(shop, order_id)
            if not _is_done(shop, "refunds", key):
                if order["refunded_at"]:
                    raise ToolException(f"Order {order_id} was already refunded at {order['refunded_at']}.")
                columns = "order_id, cents, reason, refunded_at, idempotency_key"
                row = (order_id, order["cents"], reason, _now(), key)
                shop.execute(f"INSERT INTO refunds ({columns}) VALUES (?, ?, ?, ?, ?)", row)  # noqa: S608 - ours
        return f"Order {order_id} is refunded: {_money(order['cents'])} go back to {order['customer']}."

    def mail(self, to: str, subject: str, body: str, key: str | None = None) -> str:
        """Put a mail in the outbox. With a key it is idempotent."""
        with self._open() as shop:
            if not _is_done(shop, "outbox", key):
                row = (to, subject, body, _now(), key)
                shop.execute(
                    "INSERT INTO outbox (recipient, subject, body, sent_at, idempotency_key) VALUES (?, ?, ?, ?, ?)",
                    row,
                )
        return f"The mail to {to} is sent: {subject}"

    def count(self, table: str) -> int:
        """Count the rows of `orders`, `refunds` or `outbox`."""
        if table not in {"orders", "refunds", "outbox"}:
            raise ValueError(f"The shop has no table {table!r}.")
        with self._open() as shop:
            return int(shop.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - one of three

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open a connection inside one write transaction, which makes a check and the change after it atomic."""
        # Ten seconds: longer than any of these transactions takes, even with many processes.
        shop = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        shop.row_factory = sqlite3.Row
        try:
            shop.execute("BEGIN IMMEDIATE")
            _make(shop)
            yield shop
            shop.execute("COMMIT")
        finally:
            shop.close()  # rolls back if it was not committed


def shop_tools(path: Path | str = "shop.db") -> list[BaseTool]:
    """Make the tools of the shop at `path`: two that read, and two that change the world and need an approval."""
    shop = Shop(path)

    @tool
    def find_order(order_id: int) -> str:
        """Look up one order by its number: who ordered what, the price, and whether it was refunded."""
        return shop.order(order_id)

    @tool
    def list_orders(customer: str) -> str:
        """List all orders of a customer, by first name."""
        return shop.orders_of(customer)

    @needs_approval(description="Refund order {order_id} in full")
    @tool
    def refund_order(order_id: int, key: IdempotencyKey, reason: str = "") -> str:
        """Refund an order in full. An order can be refunded once."""
        return shop.refund(order_id, reason, key)

    @needs_approval(description="Send a mail to {to}: {subject}")
    @tool
    def send_mail(to: str, subject: str, body: str, key: IdempotencyKey) -> str:
        """Send a mail to a customer."""
        return shop.mail(to, subject, body, key)

    return [find_order, list_orders, refund_order, send_mail]


_SELECT = (
    "SELECT o.order_id, o.customer, o.item, o.cents, r.refunded_at "
    "FROM orders o LEFT JOIN refunds r ON r.order_id = o.order_id"
)


def _make(shop: sqlite3.Connection) -> None:
    # Inside the write transaction: if several processes come first, one creates the tables and the others see them.
    if shop.execute("SELECT 1 FROM sqlite_master WHERE name = 'orders'").fetchone():
        for table in ("refunds", "outbox"):
            # A file from before the shop took keys.
            if "idempotency_key" not in [column["name"] for column in shop.execute(f"PRAGMA table_info({table})")]:
                shop.execute(f"ALTER TABLE {table} ADD COLUMN idempotency_key TEXT")
                shop.execute(f"CREATE UNIQUE INDEX {table}_key ON {table} (idempotency_key)")
        return
    for statement in _SCHEMA.split(";"):
        shop.execute(statement)
    shop.executemany("INSERT INTO orders (order_id, customer, item, cents) VALUES (?, ?, ?, ?)", _ORDERS)


def _is_done(shop: sqlite3.Connection, table: str, key: str | None) -> bool:
    """Return whether the same was done before under this key."""
    found = shop.execute(f"SELECT 1 FROM {table} WHERE idempotency_key = ?", [key])  # noqa: S608 - one of two
    return key is not None and found.fetchone() is not None


def _order(shop: sqlite3.Connection, order_id: int) -> sqlite3.Row:
    row: sqlite3.Row | None = shop.execute(f"{_SELECT} WHERE o.order_id = ?", [order_id]).fetchone()
    if row is None:
        raise ToolException(f"There is no order {order_id}.")
    return row


def _line(order: sqlite3.Row) -> str:
    refunded = f"refunded at {order['refunded_at']}" if order["refunded_at"] else "not refunded"
    return f"Order {order['order_id']}: {order['customer']}, {order['item']}, {_money(order['cents'])}, {refunded}."


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d} EUR"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
