"""Planner statistics of PostgreSQL after an import.

The planner of PostgreSQL chooses joins by table statistics, which are updated up to a minute late
(``autovacuum_naptime``). Until then a join of an imported list may compare each subscriber with each member:
https://www.postgresql.org/docs/current/populate.html#POPULATE-ANALYZE
"""

from sqlalchemy import text
from sqlalchemy.orm import Session

TABLES = ("subscriber", "list_member")
SHARE = 0.1
"""Fraction of a table's rows, the default of ``autovacuum_analyze_scale_factor``."""


def gather_statistics(session: Session, added: int) -> None:
    """Run ANALYZE on the tables that an import filled, if it added a large part of their rows."""
    if session.get_bind().dialect.name == "sqlite":
        return
    for table in TABLES:
        known = session.scalar(
            text("SELECT reltuples FROM pg_class WHERE oid = to_regclass(:table)"), {"table": table}
        )
        if added > SHARE * max(known or 0, 0):
            session.execute(text(f"ANALYZE {table}"))
