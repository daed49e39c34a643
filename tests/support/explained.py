"""The plan by which a database carries out a statement."""

from __future__ import annotations

import json
import re

from holdfast.checkpoints import HoldfastSaver
from holdfast.checkpoints.backends.base import Call
from holdfast.checkpoints.sql import Statement
from tests.support.dialects import dialect_of


def plan(saver: HoldfastSaver, call: Call) -> list[str]:
    """The steps of a statement that touch a table, each as one line."""
    statement, params = call
    postgres = dialect_of(saver) == "postgres"
    explain = "EXPLAIN (FORMAT JSON)" if postgres else "EXPLAIN QUERY PLAN"
    with saver._backend.writing() as transaction:
        [found] = transaction.run([(Statement("explain", f"{explain} {statement.text}"), params)])
    if not postgres:
        return [detail for *_, detail in found if re.match("SCAN|SEARCH", detail)]
    [(tree,)] = found
    steps, nodes = [], [(tree if isinstance(tree, list) else json.loads(tree))[0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if "Scan" in node["Node Type"] and node["Node Type"] != "Bitmap Heap Scan":  # its index has a step of its own
            fields = ("Node Type", "Relation Name", "Index Name", "Index Cond")
            steps.append(" ".join(str(node[field]) for field in fields if field in node))
    return steps


def scans(steps: list[str]) -> list[str]:
    """Those steps that walk through a whole table, or a whole index, but for the table that has one row at the most."""
    walks = re.compile(r"(SCAN (?!CONSTANT|\w+ VIRTUAL|chain$|one$)|Seq Scan)(?!.*holdfast_encryption)")
    return [step for step in steps if walks.match(step)]
