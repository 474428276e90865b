"""One campaign to any number of recipients with Cyrillic names, created and sent by API."""

import csv
import io
from typing import Any

from .api import API

RECIPIENTS = 10_000
FIRST = ("Анна", "Пётр", "Мария", "Фёдор", "Ольга", "Юрий", "Зоя", "Илья", "Жанна", "Щукарь")
LAST = ("Иванова", "Ёлкин", "Цой", "Щедрин", "Объедкова", "Эйхенбаум", "Юшкевич")
HTML = """<html><body><p>Здравствуйте, {{ first_name }} {{ last_name }}!</p>
<p>Ваш номер {{ nomer }}, город {{ gorod|default("неизвестен") }}, скидка {{ discount }}.</p>
<p><a href="https://shop.example/catalogue?who={{ nomer }}">Каталог</a>
<a href="https://shop.example/help">Помощь</a></p>
<p><a href="{{ unsubscribe_url }}">Отписаться</a></p></body></html>"""


def name(number: int) -> tuple[str, str]:
    return FIRST[number % len(FIRST)], f"{LAST[number % len(LAST)]}-{number}"


def address(number: int) -> str:
    return f"reader{number}@example.org"


FIRST_FORTY = {address(number) for number in range(40)}


def people_csv(count: int = RECIPIENTS) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, delimiter=";")
    rows.writerow(["Почта", "Имя", "Фамилия", "Номер", "Город"])
    for number in range(count):
        rows.writerow([address(number), *name(number), number, "Псков" if number % 3 else ""])
    return text.getvalue().encode("utf-8-sig")


def bring(api: API, count: int = RECIPIENTS) -> int:
    """Create a list with that many subscribers; return its id."""
    list_id = api.post("lists", {"name": "Читатели"})["id"]
    started = api.upload(f"lists/{list_id}/imports", "люди.csv", people_csv(count))
    done = api.wait(f"imports/{started['id']}", lambda found: found["status"] in {"done", "failed"}, 120)
    assert (done["status"], done["rows"], done["rejected"]) == ("done", count, 0)
    return list_id


def write(api: API, list_id: int, subject: str = "{{ first_name }}, письмо для вас") -> int:
    """Create a campaign that can be sent; return its id."""
    body = {
        "name": "Осень",
        "subject": subject,
        "html": HTML,
        "lists": [list_id],
        "variables": {"discount": "7 %"},
        "locale": "ru",
    }
    return api.post("campaigns", body)["id"]


def finished(campaign: dict[str, Any]) -> bool:
    return campaign["status"] == "finished"
