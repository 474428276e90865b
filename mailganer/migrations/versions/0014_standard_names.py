"""Give tables and columns standard names: ``frozen_email`` instead of ``letter``, and its kind.

Only the catalogue changes: no table is rewritten, and each lock is held for this short transaction.
"""

import re
from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TABLES = {
    "letter": "frozen_email",
    "departure": "sent_per_minute",
    "hold": "delay",
    "answer": "idempotent_response",
    "tries": "rate_limit_count",
    "tally": "campaign_counter",
}
COLUMNS = {  # by the new name of the table: the column before and after
    "campaign": ("letter_id", "frozen_email_id"),
    "delivery": ("letter_id", "frozen_email_id"),
    "event": ("letter_id", "frozen_email_id"),
    "usage": ("letters", "emails"),
    "sent_per_minute": ("letters", "emails"),
}


def upgrade() -> None:
    for old, new in TABLES.items():
        op.rename_table(old, new)
    for table, (old, new) in COLUMNS.items():
        op.execute(f'ALTER TABLE "{table}" RENAME COLUMN {old} TO {new}')
    _rename_constraints(TABLES, {"letter_id": "frozen_email_id"})


def downgrade() -> None:
    for table, (old, new) in COLUMNS.items():
        op.execute(f'ALTER TABLE "{table}" RENAME COLUMN {new} TO {old}')
    for old, new in TABLES.items():
        op.rename_table(new, old)
    _rename_constraints({new: old for old, new in TABLES.items()}, {"frozen_email_id": "letter_id"})


def _rename_constraints(tables: dict[str, str], columns: dict[str, str]) -> None:
    """Rename constraints, indexes and sequences as the naming convention of ``models.meta`` wants it."""

    def renamed(name: str) -> str:
        for old, new in tables.items():
            name = re.sub(rf"^((?:pk|uq|ix|fk|ck)_){old}(?=_|$)", rf"\1{new}", name)
            name = re.sub(rf"^(fk_.*)_{old}$", rf"\1_{new}", name)
            name = re.sub(rf"^{old}(_\w+_seq)$", rf"{new}\1", name)
        for old, new in columns.items():
            name = re.sub(rf"(?<=_){old}(?=_|$)", new, name)
        return name

    if op.get_bind().dialect.name == "postgresql":
        _rename_in_postgresql(renamed)
    else:
        _rename_in_sqlite(renamed)


def _rename_in_postgresql(renamed: Callable[[str], str]) -> None:
    bind = op.get_bind()
    constraints = (
        "SELECT conname, relname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid"
        " WHERE connamespace = current_schema()::regnamespace AND contype IN ('p', 'u', 'f', 'c')"
    )
    for name, table in bind.execute(sa.text(constraints)).all():
        if renamed(name) != name:
            op.execute(f'ALTER TABLE "{table}" RENAME CONSTRAINT "{name}" TO "{renamed(name)}"')
    relations = (
        "SELECT relname, relkind FROM pg_class"
        " WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('i', 'S')"
    )
    for name, kind in bind.execute(sa.text(relations)).all():
        if renamed(name) != name:
            what = "INDEX" if kind in ("i", b"i") else "SEQUENCE"
            op.execute(f'ALTER {what} "{name}" RENAME TO "{renamed(name)}"')


def _rename_in_sqlite(renamed: Callable[[str], str]) -> None:
    """Indexes are made anew: those of the renamed tables are small. The names of constraints are text in the
    schema; SQLite documents this way to change what does not affect the content of the file
    (https://www.sqlite.org/lang_altertable.html, section 7)."""
    bind = op.get_bind()
    indexes = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    for name, sql in bind.execute(sa.text(indexes)).all():
        if renamed(name) != name:
            op.execute(f'DROP INDEX "{name}"')
            op.execute(re.sub(rf"\b{name}\b", renamed(name), sql))
    (version,) = bind.execute(sa.text("PRAGMA schema_version")).one()
    tables = bind.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'table'")).all()
    bind.execute(sa.text("PRAGMA writable_schema = ON"))
    for table, sql in tables:
        changed = re.sub(r"\bCONSTRAINT (\w+)", lambda found: f"CONSTRAINT {renamed(found[1])}", sql or "")
        if sql and changed != sql:
            statement = sa.text("UPDATE sqlite_master SET sql = :sql WHERE type = 'table' AND name = :name")
            bind.execute(statement, {"sql": changed, "name": table})
    bind.execute(sa.text(f"PRAGMA schema_version = {version + 1}"))
    bind.execute(sa.text("PRAGMA writable_schema = RESET"))
