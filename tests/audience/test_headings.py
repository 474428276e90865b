"""What people call their columns is what they call their variables."""

from datetime import date

import pytest

from mailganer.audience import subscriber_values
from mailganer.audience.headings import HEADINGS, OTHER_NAMES, latin


@pytest.mark.parametrize(
    ("heading", "cell", "variable", "value"),
    [
        ("name", "Anna Smith", "name", "Anna Smith"),
        ("name", "Anna", "name", "Anna"),
        ("name", "Anna Maria Smith", "name", "Anna Maria Smith"),
        ("Full name", "Anna Smith", "full_name", "Anna Smith"),
        ("ФИО", "Иванова Анна Петровна", "fio", "Иванова Анна Петровна"),
        ("Имя и фамилия", "Анна Петровна Иванова", "imya_i_familiya", "Анна Петровна Иванова"),
        ("Имя", "Анна", "imya", "Анна"),
        ("firstName", "Anna", "firstname", "Anna"),
        ("Фамилия", "Иванова", "familiya", "Иванова"),
        ("surname", "Smith", "surname", "Smith"),
        ("Отчество", "Петровна", "otchestvo", "Петровна"),
        ("День рождения", "14.05.1990", "den_rozhdeniya", date(1990, 5, 14)),
        ("dob", "1990-05-14", "dob", date(1990, 5, 14)),
        ("Город", "Псков", "gorod", "Псков"),
    ],
)
def test_a_letter_names_a_column_as_the_file_does(bringer, heading, cell, variable, value):
    bringer.bring(f"E-mail;{heading}\nanna@example.com;{cell}\n")
    values = subscriber_values(bringer.people()["anna@example.com"], {variable, "e_mail"})
    assert (values[variable], values["e_mail"]) == (value, "anna@example.com")


def test_every_heading_that_is_understood_is_a_name_in_letters():
    unclear = {"dr", "d_r"}
    known = OTHER_NAMES.keys() | HEADINGS.keys() | unclear
    assert {latin(heading) for headings in HEADINGS.values() for heading in headings} <= known


def test_a_column_name_beside_last_names_means_the_first_name_in_letters_too(bringer):
    content = "email,name,surname\nanna@example.com,Anna,Smith\nboris@example.com,,Jones\n"
    bringer.bring(content)
    anna = bringer.people()["anna@example.com"]
    values = subscriber_values(anna, {"name", "surname"})
    assert (values["name"], values["surname"], values["first_name"]) == ("Anna", "Smith", "Anna")
    job = bringer.bring(content)
    assert (job.added, job.updated, job.unchanged) == (0, 0, 2)


def test_a_persons_own_variable_comes_first(bringer):
    bringer.bring("email;first name;имя\nanna@example.com;Anna;Аня\nboris@example.com;Boris;\n")
    people = bringer.people()
    assert subscriber_values(people["anna@example.com"], {"imya"})["imya"] == "Аня"
    assert subscriber_values(people["boris@example.com"], {"imya"})["imya"] == "Boris"


def test_only_names_that_the_letter_uses_are_worked_out(bringer):
    bringer.bring("email;name\nanna@example.com;Anna Smith\n")
    values = subscriber_values(bringer.people()["anna@example.com"], frozenset())
    assert values.keys() == {"email", "first_name", "last_name", "birthday"}
