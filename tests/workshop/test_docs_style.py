"""Format of the documents: line length, and the form of decision records."""

import re
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = ROOT / "docs" / "decisions"
RECORDS = sorted(DECISIONS.glob("[0-9]*.md"))
HEADINGS = ["Status", "Context", "Decision", "Consequences"]


def test_no_line_has_more_than_119_columns() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    long = [
        f"{page.relative_to(ROOT)}:{number}"
        for page in pages
        for number, line in enumerate(page.read_text().splitlines(), 1)
        # A row of the table of failures cannot be broken, and names its tests.
        if len(line) > 119 and not (page.name == "faults.md" and line.startswith("| "))
    ]
    assert long == []


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_decision_record_has_a_dated_status_and_the_four_headings(record: Path) -> None:
    text = record.read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert text.startswith(f"# {record.stem[:4]}: ")
    status = text.partition("## Status\n\n")[2]
    stated = re.match(r"(?:Accepted|Superseded by \[?\d{4}\]?\S*), (\d{4}-\d\d-\d\d)\.", status)
    assert stated
    date.fromisoformat(stated[1])


def test_decision_records_are_numbered_in_order_and_listed() -> None:
    assert [int(record.stem[:4]) for record in RECORDS] == list(range(1, len(RECORDS) + 1))
    listed = re.findall(r"^\| \[\d{4}\]\((\S+)\)", (DECISIONS / "README.md").read_text(), re.MULTILINE)
    assert listed == [record.name for record in RECORDS]
