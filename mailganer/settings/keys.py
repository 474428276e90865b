"""Names of the settings, in ini files and in the environment."""

import re
from types import MappingProxyType

ENVIRONMENT = MappingProxyType(
    {
        "DATABASE_URI": "sqlalchemy.url",
        "CELERY_BROKER_URL": "celery.broker_url",
        "SECRET_KEY": "mailganer.secret_key",
        "PUBLIC_URL": "mailganer.public_url",
        "MAILGANER_BACKENDS": "mailganer.backends",
        "MAILGANER_DATA_DIR": "mailganer.data_dir",
        "MAILGANER_DEMO": "mailganer.demo",
        "MAILGANER_OPERATORS": "mailganer.operators",
        "MAILGANER_LISTEN": "mailganer.listen",
        "MAILGANER_TRUSTED_PROXY": "mailganer.trusted_proxy",
        "MAILGANER_METRICS_TOKEN": "mailganer.metrics_token",
        "MAILGANER_CATCHER": "mailganer.catcher",
        "MAILGANER_SMTP_CA_FILE": "mailganer.smtp_ca_file",
    }
)
"""Environment variable -> ini key."""

OTHER_VARIABLES = frozenset(
    {"MAILGANER_INI", "MAILGANER_PART", "MAILGANER_SMTP_PASSWORD", "MAILGANER_TRACEBACK"}
)
"""Our variables that are not settings: of commands, of docker-compose.yml, of tests."""

MEANINGFUL_WHEN_EMPTY = frozenset({"CELERY_BROKER_URL"})
"""Variables with a meaning when empty (the embedded broker).

Of the others an empty one counts as unset: a line of ``.env.example`` that was not filled in.
"""

KEYS = frozenset(ENVIRONMENT.values()) | {
    "mailganer.allow_private_smtp_hosts",
    "mailganer.smtp_ports",
    "mailganer.plans",
    "mailganer.payments",
    "mailganer.development",
    "mailganer.broker_program",
    "mailganer.fast_clock",
    "mailganer.grace_seconds",
    "mailganer.latest_start_hours",
}
BACKEND_OPTION = re.compile(r"mailganer\.backend\.([\w-]+)\.(\w+)")  # checked by the backend that reads it
