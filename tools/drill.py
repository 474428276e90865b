"""``mailganer drill`` on SQLite, then on a temporary PostgreSQL: ``python -m tools.drill [OPTIONS]``."""

import subprocess
import sys

from tests.support.postgresql import PostgreSQL


def main(options: list[str]) -> int:
    """Return the worse of the two exit codes."""
    command = [sys.executable, "-m", "mailganer", "drill", *options]
    print("SQLite", flush=True)
    code = subprocess.run(command, check=False).returncode
    postgresql = PostgreSQL()
    try:
        postgresql.create("drill")
        print("\nPostgreSQL", flush=True)
        return max(
            code,
            subprocess.run([*command, "--database", postgresql.url("drill")], check=False).returncode,
        )
    finally:
        postgresql.stop()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
