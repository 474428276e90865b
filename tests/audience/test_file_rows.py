"""Rows are read block by block, and are the same as when each line is looked at by itself."""

from datetime import date

import pytest

from mailganer.audience.imports import files
from mailganer.audience.imports.dialects import Dialect
from mailganer.audience.imports.encoding_repair import GarbledError, repair_text, unusual_lines
from mailganer.audience.imports.files import FileProblem, FileRow, FileRows
from mailganer.audience.imports.rows import RowReader

from .test_garbled import ENCODINGS, LIKE_GARBLED, NAMES, garbled, those_of

ORDINARY = "".join(f"a{n}@example.org;Имя{n};ул. Ленина, {n};№ {n}\n" for n in range(40))
FILES = {
    "ordinary": ORDINARY,
    "windows": ORDINARY.replace("\n", "\r\n"),
    "no_line_break_at_the_end": ORDINARY.rstrip("\n"),
    "blank_lines": ORDINARY.replace("\n", "\n\n", 7) + "\n \n;;;\n",
    "a_cell_of_several_lines": ORDINARY + 'b@example.org;"two\nlines\n\nor three";x;y\n' + ORDINARY,
    "quotes": ORDINARY + 'b@example.org; "x";"a ""b"" c";5" disk\nc@example.org;"A \\"x\\" B";;\n' + ORDINARY,
    "a_quote_that_is_never_closed": ORDINARY + 'b@example.org;"x\n' + ORDINARY,
    "a_quote_open_in_the_last_line": ORDINARY + 'b@example.org;5" disk;"x',
    "carriage_returns": ORDINARY + "b@example.org;a\rb;\r\r\n" + ORDINARY,
    "garbled": ORDINARY + "b@example.org;РњРёСЂ;Ð˜Ð²Ð°Ð½;JosÃ©\nc@example.org;Ð˜Ð²Ð°;ок;№\n" + ORDINARY,
    "unusual": "".join(
        f"{n}@example.org;{name};x;y\n" for n, name in enumerate(those_of(NAMES + LIKE_GARBLED))
    ),
    "a_long_line": ORDINARY + f"b@example.org;{'ы' * 700};{'x' * 700};\n" + ORDINARY,
    "a_cell_that_is_too_long": ORDINARY + f"b@example.org;{'x' * 140_000}\n" + ORDINARY,
    "separators_of_lines": ORDINARY + "b@example.org;a\u2028b\u0085c\v\f\x1c;x\x00y;\n" + ORDINARY,
}


def read(path, dialect: Dialect) -> list[FileRow | str]:
    """Return the rows of a file, and the problem that ended it."""
    rows: list[FileRow | str] = []
    try:
        with FileRows(path, dialect) as records:
            rows += records
    except FileProblem as problem:
        rows.append(problem.word)
    return rows


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1251"])
def test_the_size_of_the_blocks_changes_nothing(tmp_path, monkeypatch, name, encoding):
    path = tmp_path / "people.csv"
    broken = FILES[name].encode() + "z@example.org;Пётр;x;y\n".encode("cp1251") + "я;Пётр\n".encode()
    for content in (FILES[name].encode(encoding, "replace"), broken):
        path.write_bytes(content)
        found = {}
        for size in (1, 60, 500, 65_536):
            monkeypatch.setattr(files, "_BLOCK", size)
            found[size] = read(path, Dialect(encoding, ";", 0, 0))
        assert found[60] == found[500] == found[65_536] == found[1]
        for row in found[1]:  # reading can continue behind each row
            if isinstance(row, FileRow) and row.number % 9 == 0:
                with FileRows(path, Dialect(encoding, ";", 0, 0), row.end, row.number) as rest:
                    assert next(iter(rest), None) == next(
                        (each for each in found[1] if isinstance(each, FileRow) and each.number > row.number),
                        None,
                    )
                break


def test_ordinary_rows_need_no_closer_look(tmp_path, monkeypatch):
    path = tmp_path / "people.csv"
    path.write_text(ORDINARY + "b@example.org;JosÃ©;;\nc@example.org;Пётр;Алёна;Żółć\n")
    looked: list[str] = []
    real = files.looks_garbled
    monkeypatch.setattr(files, "looks_garbled", lambda line: looked.append(line[:1]) or real(line))
    rows = read(path, Dialect("utf-8", ";", 0, 0))
    assert looked == ["b", "c"]
    assert [row.cells[1] for row in rows if row.repaired] == ["José"]


def test_text_that_looks_usual_is_not_garbled():
    names = those_of(NAMES + LIKE_GARBLED)
    usual = 0
    for text in [*names, *(garbled(name, each) for name in names for each in ENCODINGS)]:
        if not list(unusual_lines(text)):
            usual += 1
            try:
                assert repair_text(text) == text
            except GarbledError:
                raise AssertionError(f"{text} is garbled") from None
    assert usual > 80


def test_the_lines_that_are_unusual_are_named():
    assert list(unusual_lines("a\nÐ˜Ð²\nИван\nПёё\n\nЁ\nЁё")) == [1, 3, 6]
    assert list(unusual_lines("a\nb")) == list(unusual_lines("Анна\nÉric\n№ 5\n")) == []


COLUMNS = ["email", "Имя", "Фамилия", "День рождения", "Город"]
MAPPING = ["email", "first_name", "last_name", "birthday", "city"]
CELLS = (
    *("", " ", "Анна", " Анна ", "O'Brien", "'=1", "'x", "a\u00a0b", "a\tb", "a\r\nb", "x" * 201, "a@b.org"),
    *("14.05.1990", "05/06/1990", "never", "1990-05-14 ", "0000-00-00"),
)
ADDRESSES = (
    *("a@example.org", " A@Example.ORG ", "\u200ba@example.org", "a@пример.рф", "a@b", "", "a b@example.org"),
    *(
        "Anna <a@example.org>",
        "a@example.org;",
        "-a@example.org",
        "a@x.123",
        "'a@example.org",
        "é@example.org",
    ),
)


def test_the_quick_reading_of_a_row_is_the_exact_one(monkeypatch):
    rows = [[address, *[cell] * 4] for address in ADDRESSES for cell in CELLS]
    rows += [["a@example.org", *["x"] * number] for number in range(7)]
    records = [FileRow(n, 0, cells, False) for n, cells in enumerate(rows)]
    records += [record._replace(**{flag: True}) for record in records[:5] for flag in ("broken", "repaired")]

    def outcome(guessed: str, unread: list[int]) -> list[object]:
        reader = RowReader(COLUMNS, MAPPING, date(2026, 11, 23), guessed=guessed, unread=unread)
        return [*map(reader.read, records), *reader.notes]

    quick = [outcome("", []), outcome("cp1251", [4])]
    assert any(RowReader(COLUMNS, MAPPING, date(2026, 11, 23))._read_plain(record) for record in records)
    monkeypatch.setattr(RowReader, "_read_plain", lambda self, record: None)
    assert [outcome("", []), outcome("cp1251", [4])] == quick
