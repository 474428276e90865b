"""Files in an encoding other than UTF-8: read correctly or noted, never garbled silently."""

import pytest

from mailganer.audience import apply_import, encoding_samples, set_encoding, set_mapping
from mailganer.audience.imports.encodings import NAMES, check_encoding, guess
from mailganer.errors import InputError
from mailganer.models import Import, ImportStatus

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
CERTAIN = {
    "cp1252": "Jürgen Groß|François Noël|José Núñez|Håkon Ødegård|Chloé Lefèvre|João Simões|Agnès|Zoë Müller",
    "cp1251": "Иван Петров|Ольга Щукина|Пётр Ёлкин|ООО «Ромашка» №5",
    "koi8_r": "Иван Петров|Ольга Щукина",
    "cp866": "Иван Петров|Ольга Щукина",
}
UNCERTAIN = {
    "mac_roman": "Jürgen Groß|Håkon Ødegård|José Núñez|Zoë Müller",
    "iso8859-2": "Małgorzata Kowalska|Ślęzak Żaneta|Łukasz Żółć",
    "cp1253": "Αλέξανδρος Γιώργος|Μαρία Παπαδοπούλου",
    "cp1255": "שלום כהן|משה לוי",
    "cp1256": "محمد علي|فاطمة",
    "cp850": "Jürgen Groß|José Núñez|Håkon Ødegård",
    "cp852": "Łukasz Żółć|Jiří Dvořák",
    "cp1254": "İbrahim Şahin|Gökçe Ağaoğlu|Çağla Yıldız",
    "cp1257": "Ģirts Kalniņš|Žofija Šarkauskienė",
    "cp932": "田中太郎|鈴木花子|佐藤健",
    "gb18030": "王小明|李四|张三",
    "big5": "王小明|陳大文",
    "cp949": "김민준|이서연",
    "cp874": "สมชาย|สมหญิง",
    "mac_cyrillic": "Иван Петров|Ольга Щукина",
}
READ = ["mac_roman", "iso8859-2", "cp1253", "cp850", "cp1254", "cp1257", "gb18030"]  # all of them correctly


def file_of(names, encoding):
    rows = [f"r{number}@example.org;{name}\n" for number, name in enumerate(names)]
    return ("email;first_name\n" + "".join(rows)).encode(encoding)


def each_and_all(names):
    return [names.split("|"), *([name] for name in names.split("|"))]


@pytest.mark.parametrize("encoding", CERTAIN)
def test_the_usual_encodings_are_certain(encoding):
    for names in each_and_all(CERTAIN[encoding]):
        sample = file_of(names, encoding)
        found = guess(sample)
        assert found.certain
        assert sample.decode(found.encoding) == sample.decode(encoding)


@pytest.mark.parametrize("encoding", UNCERTAIN)
def test_what_may_be_garbled_is_never_certain(encoding):
    for names in each_and_all(UNCERTAIN[encoding]):
        sample = file_of(names, encoding)
        found = guess(sample)
        assert not found.certain or sample.decode(found.encoding) == sample.decode(encoding)
    whole = file_of(UNCERTAIN[encoding].split("|"), encoding)
    assert encoding not in READ or whole.decode(guess(whole).encoding) == whole.decode(encoding)


@SQLITE
def test_each_row_of_an_uncertain_encoding_is_noted(bringer):
    job = bringer.bring(file_of(["Jürgen", "Ann", "Håkon"], "mac_roman"))
    assert [(row, code) for row, code, _detail in job.notes["rows"]] == [
        (2, "encoding_guessed"),
        (4, "encoding_guessed"),
    ]
    assert {each.first_name for each in bringer.subscribers().values()} == {"Jürgen", "Ann", "Håkon"}


@SQLITE
def test_a_file_in_a_usual_encoding_has_no_note(bringer):
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        job = bringer.bring(file_of(["Jürgen Groß", "François Noël"], encoding))
        assert not job.notes, encoding


@SQLITE
@pytest.mark.parametrize("encoding", UNCERTAIN)
def test_an_encoding_that_is_named_is_used(bringer, encoding):
    names = UNCERTAIN[encoding].split("|")
    job = bringer.bring(file_of(names, encoding), encoding=encoding)
    assert (job.encoding, job.rejected, job.notes) == (encoding, 0, {})
    assert [
        bringer.subscribers()[f"r{number}@example.org"].first_name for number in range(len(names))
    ] == names


@SQLITE
def test_an_uncertain_encoding_is_chosen_before_the_file_is_applied(bringer, settings):
    job = bringer.bring(file_of(["משה", "Ann", "כהן"], "cp1255"), apply=False)
    with bringer.sessions.begin() as session:
        job = session.get(Import, job.id)
        assert len(encoding_samples(job, settings.uploads)) == 2
        set_mapping(session, job, {"first_name": "last_name"})
    job = bringer.run(job.id)
    assert job.notes["counts"] == {"encoding_guessed": 2}  # still
    with bringer.sessions.begin() as session:
        set_encoding(session, session.get(Import, job.id), "cp1255", settings.uploads)
    job = bringer.run(job.id)
    assert (job.status, job.notes, encoding_samples(job, settings.uploads)) == (ImportStatus.ready, {}, [])
    with bringer.sessions.begin() as session:
        apply_import(session, session.get(Import, job.id))
    bringer.run(job.id)
    assert {each.first_name for each in bringer.subscribers().values()} == {"משה", "Ann", "כהן"}


def test_encodings_are_known_by_their_usual_names():
    known = {"latin-1": "cp1252", "Windows-1251": "cp1251", "UTF8": "utf-8", "Shift_JIS": "cp932"}
    known |= {"GBK": "gb18030", "macroman": "mac_roman", "ISO-8859-2": "iso8859-2", "koi8-r": "koi8_r"}
    for name, encoding in (known | {name: name for name in NAMES}).items():
        assert check_encoding(name) == encoding
    for name in ("rot13", "utf-16", "x", "base64", "idna"):
        with pytest.raises(InputError):
            check_encoding(name)
