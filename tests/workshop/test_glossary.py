"""The glossary matches the tree: no stale name, and no unexplained module."""

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "mailganer"
GLOSSARY = PACKAGE.parent / "docs" / "glossary.md"

# Module names that a professional understands without a definition.
STANDARD_NAMES = """
__main__ access account account_verification accounts actions addresses alive allowed_methods api api_tokens
audience backends backoff backup base billing birthdays broker campaign campaign_counters campaign_forecast
campaign_timeline campaigns charts check cli command_logs common compiler compression connection_pool
content context counts csv_cells db decorators delivery delivery_renderer delivery_timeline design_page
document drafts email email_analysis encoding_repair engine error_status errors event_log explanation_text
exports extensions fields files footer_loader formatter forms gmail headers headings health hosts
html_to_text i18n imports keys languages links lists loading localization localized_text localized_values
logs maildir mailganer manifest mapping markup message_renderer messages meta metrics_access migrate mjml
models multipart network opens operations overview ownership paging payments periodic_jobs pixel
placeholders plans preview preview_size problems processes progress providers
quoted_printable rate_limit_storage rate_limits reader ready_templates reasons recipient_pages registry
render_tasks rendering replacing replies report reports request_bodies request_parsing reserved_names
rolling_counter routes rows run sample_data sample_subscribers sandbox sandbox_operations scanner_detection
schedule scheduler secret_keys security_policy send senders sending sending_metrics sentences serializers
serve server session sessions setting_errors setting_fields settings sign_in smtp smtp_pipeline
state_changes statistics status_badges statuses subject_lines subscribers tasks template templates
test_email testing text_spacing text_to_html throughput time_zones tracking translator types undo
unknown_names unsubscribing user_agents validation_errors variables view views voucher vouchers web
web_addresses web_sessions worker_process wrappers writing wsgi additions bulk_rows
"""
STANDARD = frozenset(STANDARD_NAMES.split())


def module_names() -> set[str]:
    paths = (path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)
    return {path.parent.name if path.stem == "__init__" else path.stem for path in paths}


def class_and_table_names() -> set[str]:
    names = set()
    for path in PACKAGE.rglob("*.py"):
        if "migrations" in path.parts:
            continue
        source = path.read_text()
        names |= {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)}
        names |= set(re.findall(r'__tablename__ = "(\w+)"', source))
    return names


def listed_names() -> set[str]:
    """Return the names in the code column of the words and in the first column of the modules."""
    words, _, modules = GLOSSARY.read_text().partition("## Modules")
    rows = [row.split(" | ")[-1] for row in words.splitlines() if row.startswith("| ")]
    rows += [row.split(" | ")[0] for row in modules.splitlines() if row.startswith("| ")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_every_name_in_the_glossary_exists() -> None:
    assert listed_names() - module_names() - class_and_table_names() == set()


def test_every_module_has_a_standard_name_or_a_definition() -> None:
    assert module_names() - STANDARD - listed_names() == set()


def test_the_standard_words_are_names_of_modules_without_a_definition() -> None:
    assert STANDARD - module_names() == set()


def test_words_are_in_alphabetical_order() -> None:
    words, _, _ = GLOSSARY.read_text().partition("## Modules")
    listed = [row[2:].split(" | ")[0] for row in words.splitlines() if row.startswith("| ")][1:]
    assert listed == sorted(listed)
