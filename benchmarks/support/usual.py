"""The same work done the usual ways, for comparison: a loop, and a task per email."""

import os
import smtplib
import subprocess
import sys
import time
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from functools import cache

import psutil
from celery import Celery
from jinja2 import Environment

from mailganer.db import utcnow

from .installation import ROOT, SUBJECT, html
from .measure import Spent, cpu, peak

BASE = "https://mail.example.com"
app = Celery("usual", broker=os.environ.get("BROKER", "memory://"))
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=64, task_default_queue="usual")


@cache
def _templates():
    page = html()
    for number in range(10):  # the links, as in a template with tracking
        page = page.replace(
            f'"https://shop.example.com/catalogue/{number}?from=email"',
            f'"{BASE}/c/{{{{ token }}}}/{number}"',
        )
    page = page.replace("</body>", f'<img src="{BASE}/o/{{{{ token }}}}.gif"></body>')
    return Environment().from_string(SUBJECT), Environment(autoescape=True).from_string(page)


@cache
def _client(port: int) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", port)


def values(number: int) -> dict[str, str]:
    return {
        "first_name": f"Имя{number % 9973}",
        "last_name": f"Читатель{number}",
        "city": f"Town {number % 100}",
        "company": f"Company {number % 1000}",
        "points": str(number),
        "token": f"{number:022}",
        "unsubscribe_url": f"{BASE}/u/{number:022}",
    }


def send_one(port: int, number: int) -> None:
    subject, page = _templates()
    known = values(number)
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"] = "anna@example.com", f"reader{number}@example.org"
    message["Subject"] = subject.render(known)
    message["Date"], message["Message-ID"] = format_datetime(utcnow()), make_msgid(domain="example.com")
    message["List-Unsubscribe"] = f"<{known['unsubscribe_url']}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content("The text part.")
    message.add_alternative(page.render(known), subtype="html")
    _client(port).sendmail("anna@example.com", [f"reader{number}@example.org"], bytes(message))


@app.task(name="usual.email")
def email(number: int) -> None:
    send_one(int(os.environ["PORT"]), number)


def by_loop(port: int, emails: int) -> Spent:
    """One process, one persistent connection, one email after the other, without any ledger."""
    send_one(port, 0)
    used, begun = cpu(), time.perf_counter()
    for number in range(emails):
        send_one(port, number)
    _client.cache_clear()
    return Spent(emails, time.perf_counter() - begun, cpu() - used, peak())


def by_tasks(port: int, emails: int, broker: str, taken) -> Spent:
    """One Celery worker process and a task per email; ``taken()`` is the sink's count."""
    app.conf.broker_url = broker
    worker = subprocess.Popen(
        [
            *(sys.executable, "-W", "ignore", "-m", "celery", "-A", __name__, "worker", "--pool=solo"),
            *("--loglevel=critical", "--without-gossip", "--without-mingle"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "BROKER": broker, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    start = taken()
    email.delay(0)
    while taken() == start:
        time.sleep(0.05)
    started = sum(psutil.Process(worker.pid).cpu_times()[:2])
    used, begun = cpu(), time.perf_counter()
    for number in range(emails):
        email.delay(number)
    queued = cpu() - used
    while taken() < start + 1 + emails:
        time.sleep(0.02)
    took = time.perf_counter() - begun
    ended = sum(psutil.Process(worker.pid).cpu_times()[:2])
    memory = peak(worker.pid)
    worker.kill()
    worker.wait()
    return Spent(emails, took, queued + ended - started, memory)
