"""Statistics of PostgreSQL after an import.

The planner of PostgreSQL chooses how to join tables by what it knows of them, and learns of new rows a minute
late (``autovacuum_naptime``). Until then a join of an imported list may compare each subscriber with each
member: https://www.postgresql.org/docs/current/populate.html#POPULATE-ANALYZE
"""

from sqlalchemy import text
from sqlalchemy.orm import Session

TABLES = ("subscriber", "list_member")
SHARE = 0.1
"""Of the rows of a table, as ``autovacuum_analyze_scale_factor`` has it by default."""


def gather_statistics(session: Session, added: int) -> None:
    """Let PostgreSQL read samples of the tables that an import filled, if it added many of their rows."""
    if session.get_bind().dialect.name == "sqlite":
        return
    for table in TABLES:
        known = session.scalar(
            text("SELECT reltuples FROM pg_class WHERE oid = to_regclass(:table)"), {"table": table}
        )
        if added > SHARE * max(known or 0, 0):
            session.execute(text(f"ANALYZE {table}"))
