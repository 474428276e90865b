"""The cost of rendering one email: 27 KB of HTML, 14 links, 12 variables, with each recipient's values.

    python benchmarks/emails.py

Prints a table: the renderer beside the same email rendered with placeholders and the usual way (a compiled
Jinja2 template and ``EmailMessage``), all in this process and in this run.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP

from jinja2 import Environment

from mailganer.rendering import (
    CompiledEmail,
    Envelope,
    MessageRenderer,
    RecipientHeaders,
    Source,
    Urls,
    compile_email,
    safe_render,
)

NAMES = ("Анна", "Борис", "Вера", "Глеб", "Дарья", "Егор", "Жанна", "Захар", "Инна", "Кирилл")
VARIABLES = (
    "first_name",
    "last_name",
    "city",
    "company",
    "points",
    "level",
    "manager",
    "phone",
    "expires",
    "product",
    "promo",
    "discount",
)


def source() -> Source:
    paragraph = (
        '<tr><td class="text" style="padding:12px 48px;font-size:16px"><p>Dear {{ %s }}, this '
        "is a paragraph of an ordinary email, with some words about nothing in particular and a few more to "
        'make it as long as such paragraphs are.</p><p><a href="https://shop.example.com/catalogue/%d?from='
        'email">Read more about it</a></p></td></tr>\n'
    )
    rows = "".join(paragraph % (VARIABLES[n % 12], n) for n in range(14))
    filler = '<tr><td style="font-family:Arial,sans-serif;color:#2b2f3a">Constant text.</td></tr>\n'
    while len(rows) < 25_800:
        rows += filler
    html = (
        "<!DOCTYPE html><html><head><style>p { margin: 0 0 16px }</style>"
        f'</head><body><table width="600">{rows}</table>'
        '<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p></body></html>'
    )
    return Source("{{ first_name }}, news of the week", "What happened in {{ city }}", html)


def copies(count: int) -> list[RecipientHeaders]:
    made = []
    for n in range(count):
        values: dict[str, object] = {name: f"{name} {n % 997}" for name in VARIABLES}
        values |= {
            "first_name": NAMES[n % 10],
            "last_name": f"{NAMES[n % 7]}ов",
            "city": "Нижний Новгород",
            "points": n,
        }
        token = f"{n:022x}"
        base = "https://mail.example.com"
        made.append(
            RecipientHeaders(
                email=f"reader{n}@example.org",
                name=f"{values['first_name']} {values['last_name']}",
                values=values,
                urls=Urls(
                    f"{base}/u/{token}", f"{base}/v/{token}", f"{base}/o/{token}.gif", f"{base}/c/{token}"
                ),
                message_id=f"<{n:x}.{token[:16]}@mail.example.com>",
                date=datetime.fromtimestamp(1_790_000_000 + n // 50, UTC),
            )
        )
    return made


def ordinary(html: str, envelope: Envelope) -> Callable[[RecipientHeaders], bytes]:
    """The usual way: templates compiled once, the message built by the standard library."""
    page, subject = (
        Environment(autoescape=True).from_string(html),
        Environment().from_string("{{ first_name }}, news"),
    )

    def one(copy: RecipientHeaders) -> bytes:
        message = EmailMessage(policy=SMTP)
        message["From"] = f"{envelope.from_name} <{envelope.from_email}>"
        message["To"] = f"{copy.name} <{copy.email}>"
        message["Subject"] = subject.render(copy.values)
        message["Date"] = copy.date
        message["Message-ID"] = copy.message_id
        message.set_content("text")
        values = {**copy.values, "unsubscribe_url": copy.urls.unsubscribe}
        message.add_alternative(page.render(values), subtype="html")
        return bytes(message)

    return one


def measure(what: str, work: Callable[[RecipientHeaders], bytes], given: list[RecipientHeaders]) -> None:
    work(given[0])
    began, size = time.process_time(), 0
    for copy in given:
        size += len(work(copy))
    each = (time.process_time() - began) / len(given)
    print(f"{what:<44}{each * 1e6:>9.1f} us{1 / each:>12,.0f} /s{size / len(given) / 1024:>9.1f} KB")


def main() -> None:
    envelope = Envelope("Maria", "maria@example.com", list_id="news.example.com", list_name="News")
    written = source()
    began = time.perf_counter()
    email = compile_email(written)
    first = time.perf_counter() - began
    began = time.perf_counter()
    compile_email(written)
    second = time.perf_counter() - began
    given = copies(20_000)
    began = time.perf_counter()
    safe_render(email, given[0].values, urls=given[0].urls)
    preview = time.perf_counter() - began
    size, links, names = len(email.html) / 1024, len(email.links), len(email.variables)
    print(f"{size:.1f} KB of HTML, {links} links, {names} variables")
    print(f"compiled in {first * 1e3:.0f} ms at first, {second * 1e3:.0f} ms then;", end=" ")
    print(f"preview {preview * 1e3:.0f} ms\n")
    print(f"{'one email':<44}{'CPU':>12}{'one core':>15}{'size':>12}")
    renderer = MessageRenderer(email, envelope)
    measure("press: pieces encoded once", renderer.render, given)
    capturing = replace(
        email, html="{% set k %}{% endset %}" + email.html, text="{% set k %}{% endset %}" + email.text
    )
    measure(
        "press: rendered, then encoded as a whole", MessageRenderer(capturing, envelope).render, given[:5000]
    )
    measure("compiled template and EmailMessage", ordinary(written.html, envelope), given[:1000])
    email_of_json(email)


def email_of_json(email: CompiledEmail) -> None:
    began = time.perf_counter()
    for _again in range(100):
        CompiledEmail.from_json(email.to_json())
    print(f"\nkept and read as JSON values: {(time.perf_counter() - began) * 1e4:.0f} us")


if __name__ == "__main__":
    main()
