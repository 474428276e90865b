"""What a migration costs a filled PostgreSQL: it rewrites or locks no table without a comment saying why.

Migrations run while older versions still send. A statement that reads or rewrites a whole table, or keeps its
writers waiting while it does, needs a comment in its migration that begins with ``# Locks TABLE:``.
"""

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files

import pytest
from sqlalchemy import Engine, event, inspect, text

from mailganer.db import make_engine
from mailganer.migrations import migrate, revisions

FIRST, *LATER = revisions()

NAME = r'(?:ONLY )?(?:public\.)?"?(\w+)"?'
LOCKING = {
    rf"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY).* ON {NAME}": "an index is built while writers wait",
    rf"ALTER TABLE {NAME} ADD CONSTRAINT (?!.*NOT VALID)": "all rows are compared with a constraint",
    rf"ALTER TABLE {NAME} ADD (?:PRIMARY|UNIQUE|FOREIGN|CHECK)": "all rows are compared with a constraint",
    rf"ALTER TABLE {NAME} ALTER (?:COLUMN )?\S+ SET NOT NULL": "all rows are read for NULL",
    rf"ALTER TABLE {NAME} ALTER (?:COLUMN )?\S+ (?:SET DATA )?TYPE": "all rows may be written anew",
    rf"ALTER TABLE {NAME} ADD COLUMN (?!.* DEFAULT ).* NOT NULL": "rows that are there have no value for it",
    rf"UPDATE {NAME} ": "all rows may be written anew",
    rf"DELETE FROM {NAME}": "all rows may be read",
    rf"LOCK TABLE {NAME}": "a table is locked",
    rf"(?:CLUSTER|VACUUM FULL|REINDEX TABLE) {NAME}": "a table is written anew",
}


def cost(statement: str) -> Iterator[tuple[str, str]]:
    """Yield each table that the statement keeps, and why."""
    line = " ".join(statement.split())
    for pattern, why in LOCKING.items():
        if found := re.match(pattern, line, re.IGNORECASE):
            yield found[1], why


def files_of_tables(engine: Engine) -> Mapping[str, int]:
    """The file of each table: a table that is rewritten gets another."""
    query = "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r' AND relname NOT LIKE 'pg\\_%'"
    with engine.connect() as connection:
        return {name: number for name, number in connection.execute(text(query)).all()}  # noqa: C416


def source(revision: str) -> str:
    folder = files("mailganer.migrations").joinpath("versions")
    (found,) = [each for each in folder.iterdir() if each.name.startswith(f"{revision}_")]
    return found.read_text()


@pytest.fixture
def engine(databases) -> Iterator[Engine]:
    """A PostgreSQL with the first schema."""
    url = databases.fresh("postgresql", empty=True)
    engine = make_engine(url)
    migrate(engine, FIRST)
    yield engine
    engine.dispose()
    databases.drop(url)


def test_no_migration_rewrites_or_locks_a_filled_table_without_saying_why(engine: Engine) -> None:
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: seen.append(statement))
    unsaid = []
    for revision in LATER:
        tables = set(inspect(engine).get_table_names()) - {"alembic_version"}
        before = files_of_tables(engine)
        seen.clear()
        migrate(engine, revision)
        found = {(table, why) for each in seen for table, why in cost(each) if table in tables}
        after = files_of_tables(engine)
        found |= {
            (name, "it is written anew") for name in tables if after.get(name, before[name]) != before[name]
        }
        unsaid += [
            f"{revision}: {table}: {why}"
            for table, why in sorted(found)
            if not re.search(rf"# Locks {table}: \w", source(revision))
        ]
    assert unsaid == [], "say why in a comment '# Locks TABLE: ...', or do it otherwise"


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("CREATE INDEX ix_a ON delivery (email)", "delivery"),
        ("CREATE UNIQUE INDEX ix_a ON delivery (email) WHERE x", "delivery"),
        ("CREATE INDEX CONCURRENTLY ix_a ON delivery (email)", ""),
        ("ALTER TABLE batch ADD CONSTRAINT fk_a FOREIGN KEY(a) REFERENCES b (id)", "batch"),
        ("ALTER TABLE batch ADD CONSTRAINT fk_a FOREIGN KEY(a) REFERENCES b (id) NOT VALID", ""),
        ("ALTER TABLE batch ALTER COLUMN a SET NOT NULL", "batch"),
        ("ALTER TABLE batch ALTER COLUMN a TYPE BIGINT", "batch"),
        ("ALTER TABLE batch ADD COLUMN a INTEGER NOT NULL", "batch"),
        ("ALTER TABLE batch ADD COLUMN a INTEGER DEFAULT 0 NOT NULL", ""),
        ("ALTER TABLE batch ADD COLUMN a INTEGER", ""),
        ("UPDATE subscriber SET name = upper(name)", "subscriber"),
        ("DELETE FROM event WHERE id > 1", "event"),
    ],
)
def test_statements_that_lock_a_table_are_distinguished_from_others(statement: str, table: str) -> None:
    assert [name for name, _why in cost(statement)] == ([table] if table else [])


def test_a_rewrite_is_noticed_whatever_its_statement(engine: Engine) -> None:
    before = files_of_tables(engine)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE batch ADD COLUMN extra uuid DEFAULT gen_random_uuid()"))
    after = files_of_tables(engine)
    assert {name for name in before if after[name] != before[name]} == {"batch"}
