"""Only the ledger writes deliveries: other packages call its functions."""

import ast
from collections.abc import Iterator
from pathlib import Path

from mailganer.models import Delivery

PACKAGE = Path(__file__).resolve().parents[2] / "mailganer"
OUTSIDE = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.relative_to(PACKAGE).parts[0] not in {"ledger", "models", "migrations"}
]
STATEMENTS = {"insert", "update", "delete", "sql_delete", "upsert", "Delivery", "bulk_insert_mappings"}
# Columns of deliveries that no object of another kind has, nor a campaign's counters.
COLUMNS = {
    *("certain_open", "clicks", "decided_at", "decided_by", "first_clicked_at", "first_opened_at"),
    *("first_tried_at", "machine_clicks", "machine_opens", "opens", "returned_at", "settled_at"),
    "unsubscribed_at",
}


def writes(path: Path) -> Iterator[tuple[int, str]]:
    """Return statements that write deliveries, and assignments to attributes of one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            names = {
                each.id for argument in node.args for each in ast.walk(argument) if isinstance(each, ast.Name)
            }
            if called == "Delivery" or (called in STATEMENTS and names & {"Delivery", "_DELIVERY"}):
                yield node.lineno, ast.unparse(node)[:60]
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Attribute) and target.attr in COLUMNS:
                yield node.lineno, ast.unparse(target)


def test_the_columns_are_those_of_a_delivery() -> None:
    assert set(Delivery.__table__.c.keys()) >= COLUMNS


def test_only_the_ledger_writes_deliveries() -> None:
    found = [f"{path.relative_to(PACKAGE)}:{line} {text}" for path in OUTSIDE for line, text in writes(path)]
    assert found == []
