"""Text garbled before the import is repaired or rejected; ordinary names stay as they are."""

import pytest

from mailganer.audience.imports.encoding_repair import GarbledError, looks_garbled, repair_text

NAMES = """
    Иван Петров|Ольга Щукина|Эдуард Юрьев|Мария И.|Ирина|Анна Сергеевна|Яна|ЯНА|Роман
    |Рита Ромашкина|Имя|Фамилия|Город|Санкт-Петербург|ООО «Ромашка»|Иван & Co
    |José García|Müller|Łukasz Żółć|Paweł|Jiří Ondřej|François|Çağla Şahin|Ağrı
    |İbrahim|Gönül|Zoë|Renée|Þórður|Đặng Văn Nguyễn|Αλέξανδρος|Γιώργος|გიორგი|Արմեն
    |שלום|محمد|李小龙|さくら|田中太郎|김민준|สมชาย|अमित|Søren|Žofie|Świat|Daivė|Ģirts|Õnne|Erdős
    |Ștefan|Țepeș|O’Brien|10 €|Їжак|Рівне|Олексій Єременко|Ґалаґан|Ў Быкаў
    |Љубица Ђорђевић|Ѓорѓи|Әлия Қайрат|Ұлан|Ñandú|São João|Øyvind|naïve|Beyoncé
    |Dvořák|Smørrebrød|Gdańsk|Città|Perché|Málaga 5º|Nº 5|Ísafjörður|İstanbul|Işık
    |Straße|Fußgänger|Ærø|Ângela
"""
LIKE_GARBLED = """
    MITÄ…|HEJÅ…|CAFÉ™|NESCAFÉ®|CAFÉ–BAR|«CAFÉ»|“CAFÉ”|JOSÉ’S|Т°=5|Р№5|С№5|Р№1, Р№2
    |ШКОЛ№5, САД№7|Лі|Сі|Її|СЄ|PREÇO|AÇÃO|NÃO|Ã|IRMÃ|RÉ…|Ü–|MÜŠ|Ä|ÕUN|Д»|«ГАЗ»|“РОСТ”
    |завод „РОСТ“|5Ä°|Ðuro|Þ|Đ»|Ñ…|PEÑA…|ПРИВЕТ…|ПРИВЕТ—|МОСКВА™|Рё|НІ|ДІЇ|С. І.
    |СІМ’Я|П’ЯТЬ|ЗА’ЇЗД|Т™|А²+В²=С²|Х³|Р°|t = 25°C|№1|§5|50±2|½ Л|¿Qué?|¡Olé!|É«|»JÄ«
    |ÄÖÜß|Ägypten®|L’ÉTÉ—LÀ|Élan·Évry|Nantes–Évry|10µm|x²y²|CO₂|Ö²|ÖBB™AG|Öl±1
    |Ελλάδα…|Ώ»|ΑΒ™|–Ä|√2|√É|пё|яё|яёк|дядё|её”|всё…|ещё—|моё»|“Я”|Я”|п°|я²|аї|її…
    |Мої її|Надії|Éc°|5ºC|1ª Á|ÁÉÍÓÚ|ŽŠČ|Šárka Žižková|ŁÓDŹ|ŻÓŁĆ|İŞÇİ…|ŞÜ’|MÎNĂ…
    |ROMÂNIA|Ăştia|Ăsta|Â»|И|Р.|Р|С|張|박|à|É|Ú|📧 Ира|Zażółć „gęślą”|Þ–
"""
ENCODINGS = ["cp1252", "latin-1", "cp1251", "cp1250", "cp1254", "cp866", "koi8_r", "mac_roman"]


def those_of(names: str) -> list[str]:
    return [each.strip() for each in names.split("|")]


def garbled(text: str, encoding: str) -> str:
    """Read UTF-8 in another encoding, as Windows does: a byte without a character is a control character."""
    emails = []
    for byte in text.encode():
        try:
            emails.append(bytes((byte,)).decode(encoding))
        except UnicodeDecodeError:
            emails.append(chr(byte))
    return "".join(emails)


def test_no_ordinary_text_is_taken_for_garbled():
    for text in those_of(NAMES) + those_of(LIKE_GARBLED):
        assert repair_text(text) == text


# Ordinary text may look like that, with these letters.
EXCEPTIONS = {("cp1250", "Málaga 5º"), ("cp1250", "Nº 5"), ("mac_roman", "Daivė")}
EXCEPTIONS |= {("cp866", "10 €"), ("mac_roman", "10 €")}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_names_of_many_languages_are_repaired(encoding):
    for name in those_of(NAMES):
        if not name.isascii() and (encoding, name) not in EXCEPTIONS:
            wrong = garbled(name, encoding)
            assert looks_garbled(wrong)
            assert repair_text(wrong) == name


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("РРІР°РЅ РџРµС‚СЂРѕРІ", "Иван Петров"),
        ("Р?РІР°РЅ", "Иван"),
        ("Р˜РІР°РЅ", "Иван"),
        ("Р РѕРјР°РЅ", "Роман"),
        ("JosÃƒÂ©", "José"),
        ("Oâ€™Brien", "O’Brien"),
        ("CittÃ", "Città"),
        ("ï»¿email", "email"),
        ("п»їemail", "email"),
    ],
)
def test_what_programs_lost_on_the_way_is_put_back(wrong, right):
    assert looks_garbled(wrong)
    assert repair_text(wrong) == right


@pytest.mark.parametrize("text", ["Ð?Ð½Ð½Ð°", "ÐÐ½Ð½Ð°", "JosÃ© Müller", "Ð˜Ð²Ð°Ð½ Müller"])
def test_what_is_only_partly_garbled_is_not_guessed(text):
    with pytest.raises(GarbledError):
        repair_text(text)
