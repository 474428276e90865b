"""The template gallery: own and ready templates."""

import pytest
from sqlalchemy import select

from mailganer.models import Account, Campaign, Template


@pytest.fixture
def template(make, anna, read):
    template = make.template(read(select(Account))[0], "Monthly news", html="<p>Dear {{ first_name }}</p>")
    make.commit()
    return template


def form_to(page, path):
    return next(form for form in page.forms.values() if form.action == path)


def test_the_ready_emails_can_be_looked_at_and_used(anna, read):
    page = anna.get("/templates")
    for name in ("Welcome", "Announcement", "Digest", "Birthday", "Invitation"):
        assert name in page
    frame = anna.get("/templates/ready/welcome/frame")
    assert "Anna" in frame
    assert "sandbox" in frame.headers["Content-Security-Policy"]
    page = anna.get("/templates/ready/welcome")
    answer = form_to(page, "/templates/ready/welcome").submit(status=303)
    campaign = read(select(Campaign))[0]
    assert answer.location.endswith(f"/campaigns/{campaign.id}/target")
    assert "<table" in campaign.html


def test_an_email_that_does_not_exist_is_not_there(anna):
    anna.get("/templates/ready/nonsense", status=404)


def test_a_template_is_made_changed_and_deleted(anna, read):
    form = form_with(anna.get("/templates/new"), "html")
    form["name"], form["html"] = "Mine", "<p>{{ city }}</p>"
    page = form.submit().follow()
    assert "city" in page
    template = read(select(Template))[0]
    form = form_with(page, "html")
    form["subject"] = "Hello"
    form.submit(status=303)
    assert read(select(Template.subject)) == ["Hello"]
    form_to(anna.get(f"/templates/{template.id}"), f"/templates/{template.id}/delete").submit(status=303)
    assert read(select(Template)) == []


def form_with(page, field):
    return next(form for form in page.forms.values() if field in form.fields)


def test_a_nameless_template_is_asked_for_its_name_and_keeps_its_text(anna, read):
    form = form_with(anna.get("/templates/new"), "html")
    form["html"] = "<p>Do not lose me</p>"
    page = form.submit(status=422)
    assert "Enter a name for the template." in page
    assert "Do not lose me" in form_with(page, "html")["html"].value
    assert read(select(Template)) == []


def test_a_file_becomes_a_template(anna, read):
    form = form_with(anna.get("/templates/new"), "html")
    form["name"] = "From a file"
    form["file"] = ("email.html", "<p>Из файла</p>".encode(), "text/html")
    form.submit(status=303)
    assert read(select(Template.html)) == ["<p>Из файла</p>"]


def test_what_cannot_be_used_is_said_with_its_line(anna, template, session):
    template.html = "<p>one</p>\n{% if %}"
    session.commit()
    page = anna.get(f"/templates/{template.id}")
    assert "Line 2." in page
    assert "Use in campaign" not in page
    assert "cannot be previewed yet" in anna.get(f"/templates/{template.id}/frame")


def test_a_template_starts_a_campaign_and_a_campaign_becomes_a_template(anna, template, read):
    page = anna.get("/templates")
    form_to(page, f"/templates/{template.id}/use").submit(status=303)
    campaign = read(select(Campaign))[0]
    assert campaign.html == template.html
    page = anna.get(f"/campaigns/{campaign.id}/target")
    form_to(page, "/templates/new").submit(status=303)
    assert len(read(select(Template))) == 2


def test_a_copy_has_a_number(anna, template, read):
    form_to(anna.get(f"/templates/{template.id}"), f"/templates/{template.id}/duplicate").submit(status=303)
    assert sorted(read(select(Template.name))) == ["Monthly news", "Monthly news (2)"]


@pytest.mark.parametrize("page", ["", "/frame"])
def test_another_accounts_template_is_not_there(anna, make, page):
    stranger = make.template(make.account())
    make.commit()
    anna.get(f"/templates/{stranger.id}{page}", status=404)
