"""Headings of columns are recognised, also as names of variables."""

from datetime import date

import pytest

from mailganer.audience import subscriber_values
from mailganer.audience.headings import HEADINGS, OTHER_NAMES, latin
from mailganer.audience.imports.mapping import guess_mapping


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
        ("Vorname", "Anna", "vorname", "Anna"),
        ("Geburtsdatum", "14.05.1990", "geburtsdatum", date(1990, 5, 14)),
        ("Prénom", "Anna", "prenom", "Anna"),
        ("Pre\u0301nom", "Anna", "prenom", "Anna"),
        ("Date de naissance", "14/05/1990", "date_de_naissance", date(1990, 5, 14)),
        ("Apellidos", "García Pérez", "apellidos", "García Pérez"),
        ("Cumpleaños", "14/05/1990", "cumpleanos", date(1990, 5, 14)),
        ("Firma", "Müller GmbH", "firma", "Müller GmbH"),
    ],
)
def test_an_email_names_a_column_as_the_file_does(bringer, heading, cell, variable, value):
    bringer.bring(f"E-mail;{heading}\nanna@example.com;{cell}\n")
    values = subscriber_values(bringer.subscribers()["anna@example.com"], {variable, "e_mail"})
    assert (values[variable], values["e_mail"]) == (value, "anna@example.com")


@pytest.mark.parametrize(
    ("headings", "fields"),
    [
        (
            "Anrede;Vorname;Nachname;E-Mail-Adresse;Geburtstag;Firma;Ort",
            "anrede first_name last_name email birthday firma ort",
        ),
        ("Vorname;Name;E-Mail", "first_name last_name email"),
        ("Name;E-Mail", "full_name email"),
        ("Vor- und Nachname;Email-Adresse", "full_name email"),
        ("Civilité;Nom;Prénom;Adresse e-mail;Société", "civilite last_name first_name email societe"),
        ("Nom complet;Courriel", "full_name email"),
        ("Nombre;Apellidos;Correo electrónico;Empresa", "first_name last_name email empresa"),
        ("Nombre y apellidos;Correo", "full_name email"),
    ],
)
def test_german_french_and_spanish_headings_are_understood(headings, fields):
    columns = headings.split(";")
    address = fields.split().index("email")
    row = ["Anna Gray"] * len(columns)
    row[address] = "anna@example.com"
    found = guess_mapping(columns, [row], True)
    assert ["birthday" if each.startswith("birthday") else each for each in found] == fields.split()


def test_last_names_come_first_where_the_heading_says_so(bringer):
    bringer.bring("Nom et prénom;Courriel\nDupont Anne;anne@example.com\n")
    anne = bringer.subscribers()["anne@example.com"]
    assert (anne.first_name, anne.last_name) == ("Anne", "Dupont")


def test_every_heading_that_is_understood_is_a_name_in_emails():
    unclear = {"dr", "d_r"}
    known = OTHER_NAMES.keys() | HEADINGS.keys() | unclear
    assert {latin(heading) for headings in HEADINGS.values() for heading in headings} <= known


def test_a_column_name_beside_last_names_means_the_first_name_in_emails_too(bringer):
    content = "email,name,surname\nanna@example.com,Anna,Smith\nboris@example.com,,Jones\n"
    bringer.bring(content)
    anna = bringer.subscribers()["anna@example.com"]
    values = subscriber_values(anna, {"name", "surname"})
    assert (values["name"], values["surname"], values["first_name"]) == ("Anna", "Smith", "Anna")
    job = bringer.bring(content)
    assert (job.added, job.updated, job.unchanged) == (0, 0, 2)


def test_a_subscribers_own_variable_comes_first(bringer):
    bringer.bring("email;first name;имя\nanna@example.com;Anna;Аня\nboris@example.com;Boris;\n")
    subscribers = bringer.subscribers()
    assert subscriber_values(subscribers["anna@example.com"], {"imya"})["imya"] == "Аня"
    assert subscriber_values(subscribers["boris@example.com"], {"imya"})["imya"] == "Boris"


def test_only_names_that_the_email_uses_are_worked_out(bringer):
    bringer.bring("email;name\nanna@example.com;Anna Smith\n")
    values = subscriber_values(bringer.subscribers()["anna@example.com"], frozenset())
    assert values.keys() == {"email", "first_name", "last_name", "birthday"}
