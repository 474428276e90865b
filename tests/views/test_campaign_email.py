"""The email of a campaign through its pages, without JavaScript."""

from email import message_from_bytes, policy

import pytest

from mailganer.views import email_files
from tests.support.forms import submit
from tests.support.statements import recipient_scans, statements


def test_the_email_is_shown_as_a_recipient_gets_it(anna, draft):
    frame = anna.get(f"/campaigns/{draft.id}/email/frame")
    assert "Dear Ольга" in frame
    policy_header = frame.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy_header
    assert "sandbox" in policy_header
    page = anna.get(f"/campaigns/{draft.id}/email", {"as": "hardest"})
    assert "pyotr@example.org" in page
    assert "News for you" in page


def test_an_email_that_cannot_be_shown_is_reported_with_its_line(anna, draft):
    page = anna.get(f"/campaigns/{draft.id}/email")
    form = page.forms["email-form"]
    form["html"] = "<p>one</p>\n<p>{{ first_name</p>"
    page = form.submit().follow()
    assert "line 2" in page
    assert "Line 2." in anna.get(f"/campaigns/{draft.id}/email/frame")


def test_a_save_in_a_second_tab_is_refused_and_keeps_its_text(anna, draft, again):
    first = anna.get(f"/campaigns/{draft.id}/email").forms["email-form"]
    second = anna.get(f"/campaigns/{draft.id}/email").forms["email-form"]
    first["subject"] = "From the first tab"
    first.submit(status=303)
    second["subject"] = "From the second tab"
    page = second.submit(status=409)
    assert "changed in the meantime" in page
    assert page.forms["email-form"]["subject"].value == "From the second tab"
    page.forms["email-form"].submit(status=409)
    assert again(draft).subject == "From the first tab"


def test_values_of_the_campaign_fill_gaps_and_replace(anna, draft, again):
    form = anna.get(f"/campaigns/{draft.id}/email").forms["email-form"]
    form["html"] = "<p>{{ first_name }} of {{ place }}</p>"
    page = form.submit().follow()
    form = page.forms["email-form"]
    names = [field.value for field in form.fields["variable"]]
    assert names == ["first_name", "place", ""]
    form.fields["value"][0].value = "friend"
    form.fields["value"][1].value = "Moscow"
    form.fields["mode"][1].value = "replace"
    form.submit(status=303)
    assert again(draft).variables == {
        "first_name": {"value": "friend", "override": False},
        "place": {"value": "Moscow", "override": True},
    }
    page = anna.get(f"/campaigns/{draft.id}/email")
    page.forms["email-form"].submit("forget", value="place")
    assert list(again(draft).variables) == ["first_name"]


def test_a_file_becomes_the_email(anna, draft, again):
    page = anna.get(f"/campaigns/{draft.id}/email")
    form = next(form for form in page.forms.values() if form.action.endswith("/upload"))
    form["file"] = ("email.html", "<p>Привет</p>".encode("cp1251"), "text/html")
    form.submit(status=303)
    assert again(draft).html == "<p>Привет</p>"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"<p>\x00</p>", b"x" * 5_001])
def test_a_file_that_is_no_email_changes_nothing(anna, draft, again, content, monkeypatch):
    monkeypatch.setattr(email_files, "LARGEST_FILE", 5_000)
    page = anna.get(f"/campaigns/{draft.id}/email")
    form = next(form for form in page.forms.values() if form.action.endswith("/upload"))
    form["file"] = ("email.html", content, "text/html")
    form.submit(status=422)
    assert again(draft).html == draft.html


def test_a_ready_email_is_where_one_begins(anna, draft, again):
    page = anna.get(f"/campaigns/{draft.id}/email/template")
    form = next(
        form for form in page.forms.values() if "ready" in form.fields and form["ready"].value == "digest"
    )
    form.submit(status=303)
    assert "<table" in again(draft).html


def test_a_test_email_reaches_oneself(anna, draft, smtp_server):
    page = anna.get(f"/campaigns/{draft.id}/email")
    page = submit(page, f"/campaigns/{draft.id}/email/test#test").follow()
    assert "Test email sent." in page.html.find(id="test").find(role="status").text
    email = message_from_bytes(smtp_server.emails[-1].content, policy=policy.default)
    assert email["Subject"] == "News for Ольга"
    assert smtp_server.emails[-1].recipient == "anna@example.com"


def test_a_wrong_address_for_a_test_email_is_reported_at_its_field_and_stays_to_be_fixed(anna, draft):
    page = anna.get(f"/campaigns/{draft.id}/email")
    page = submit(page, f"/campaigns/{draft.id}/email/test#test", 422, to="olga at example.org")
    field = page.html.find(id="to")
    assert "Use the format name@example.com" in field.parent.text
    assert (field["value"], field["aria-invalid"]) == ("olga at example.org", "true")
    assert field.has_attr("autofocus")
    assert page.html.find(class_="flash") is None


def test_an_unknown_variable_is_no_step_that_is_done(anna, draft, session):
    draft.html = "<p>{{ favourite_colour }}</p>"
    session.commit()
    for step in ("email", "check"):
        page = anna.get(f"/campaigns/{draft.id}/{step}")
        email = page.html.find("a", href=f"/campaigns/{draft.id}/email").parent
        assert "step-problem" in email["class"]


@pytest.mark.parametrize(
    ("html", "why"),
    [("", "Write the email first."), ("<p>{{ first_name|shout }}</p>", "Fix the email first.")],
)
def test_a_test_email_that_cannot_be_sent_shows_why(anna, draft, session, html, why):
    draft.html = html
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/email")
    form = page.html.find(id="test")
    assert form.find("button").has_attr("disabled")
    assert why in form.text
    assert page.html.find(id="email-note").text


def test_an_email_that_cannot_be_used_is_no_step_that_is_done(anna, draft, session):
    draft.html = "<p>{{ first_name|shout }}</p>"
    session.commit()
    page = anna.get(f"/campaigns/{draft.id}/email")
    assert "step-problem" in page.html.find(class_="step-here")["class"]


def test_a_refused_test_email_quotes_the_server(anna, draft, smtp_server):
    smtp_server.refuse["anna@example.com"] = "550 5.7.1 Not today"
    page = anna.get(f"/campaigns/{draft.id}/email")
    page = submit(page, f"/campaigns/{draft.id}/email/test#test").follow()
    assert "5.7.1 Not today" in page


def test_an_email_replaced_by_a_template_or_a_file_can_be_restored(anna, draft, session, again):
    draft.subject, draft.html = "Mine", "<p>My own words</p>"
    session.commit()
    here = f"/campaigns/{draft.id}/email"
    assert "Restore previous version" not in anna.get(here)
    page = anna.get(f"{here}/template")
    form = next(
        form for form in page.forms.values() if "ready" in form.fields and form["ready"].value == "digest"
    )
    page = form.submit(status=303).follow()
    assert "You can restore the previous version." in page
    assert again(draft).html != "<p>My own words</p>"
    page = submit(page, f"{here}/earlier", status=303).follow()
    assert "Previous version restored." in page
    assert (again(draft).subject, draft.html) == ("Mine", "<p>My own words</p>")
    form = next(form for form in page.forms.values() if form.action == f"{here}/upload")
    form["file"] = ("email.html", b"<p>From a file</p>")
    page = form.submit(status=303).follow()
    assert again(draft).html == "<p>From a file</p>"
    submit(page, f"{here}/earlier", status=303)
    assert again(draft).html == "<p>My own words</p>"


def test_an_email_that_is_being_sent_can_only_be_viewed(anna, under_way):
    page = anna.get(f"/campaigns/{under_way.id}/email")
    assert "email-form" not in page.forms
    assert "Pause it to edit the email" in page


def test_the_same_template_chosen_once_more_is_a_new_beginning(anna, make, owner, draft, again):
    template = make.template(owner, subject="From the template")
    make.commit()
    for subject in ("From the template", "My own"):
        page = anna.get(f"/campaigns/{draft.id}/email/template")
        form = next(form for form in page.forms.values() if "template" in form.fields)
        form.submit(status=303)
        assert again(draft).subject == "From the template"
        assert again(draft).template_id == template.id
        draft.subject = subject
        make.commit()


def test_a_page_of_the_email_counts_its_recipients_once(anna, draft):
    with statements(anna.app.registry["engine"]) as seen:
        anna.get(f"/campaigns/{draft.id}/email")
    assert len(recipient_scans(seen)) == 1  # those with a value for each variable; the recipients are kept
    with statements(anna.app.registry["engine"]) as seen:
        anna.get(f"/campaigns/{draft.id}/target")
    assert recipient_scans(seen) == []


def test_typing_counts_recipients_only_when_the_variables_change(anna, draft, again):
    path = f"/campaigns/{draft.id}/email"
    form = anna.get(path).forms["email-form"]

    def type_in(html):
        form["html"] = html
        with statements(anna.app.registry["engine"]) as seen:
            answer = anna.post(path, form.submit_fields(), headers={"HX-Request": "true"})
        assert again(draft).html == html
        form["revision"] = answer.html.find(id="revision")["value"]
        if chips := answer.html.find(id="email-chips"):
            form["counted"] = chips.find("input")["value"]
        return len(recipient_scans(seen)), chips

    assert type_in(draft.html + "<p>More words</p>") == (0, None)
    assert type_in("<p>{{ first_name</p>") == (0, None)
    number, chips = type_in("<p>{{ first_name }} of {{ city }}</p>")
    assert number == 1
    assert "1 of 2 filled" in chips.text
    assert type_in("<p>Dear {{ first_name }} of {{ city }}</p>") == (0, None)
    assert type_in("<p>Dear {{ first_name }} of {{ city|default('us') }}</p>")[0] == 0  # the same variables
    form.fields["variable"][-1].value, form.fields["value"][-1].value = "city", "Omsk"
    number, chips = type_in("<p>{{ first_name }} of {{ city }}</p>")
    assert number == 0
    assert "default value" in chips.text
    assert type_in("")[1].find("ul", class_="chips", attrs={"aria-label": "Variables of this email"}) is None


def test_a_save_while_typing_returns_only_what_it_changes(anna, draft):
    path = f"/campaigns/{draft.id}/email"
    form = anna.get(path).forms["email-form"]
    form["subject"] = "Typed for {{ first_name }}"
    answer = anna.post(path, form.submit_fields(), headers={"HX-Request": "true"})
    assert answer.html.find(id="inbox-subject").text == "Typed for Ольга"
    assert "Saved at" in answer.html.find(id="saved").text
    assert answer.html.find(id="email-form") is None
    stale = anna.post(path, form.submit_fields(), headers={"HX-Request": "true"}, status=409)
    assert "changed in the meantime" in stale.html.find(id="saved").text


def test_a_field_in_which_tab_indents_shows_how_to_leave_it(anna, draft):
    for address in (f"/campaigns/{draft.id}/email", "/templates/new"):
        page = anna.get(address).html
        editors = page.select("textarea[data-editor]")
        assert editors
        for editor in editors:
            told = [page.find(id=each) for each in editor["aria-describedby"].split()]
            assert any("press Esc, then Tab" in each.text for each in told), (address, editor["id"])
