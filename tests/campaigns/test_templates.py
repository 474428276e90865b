import pytest

from mailganer.campaigns import templates
from mailganer.errors import InputError, NotFound
from mailganer.i18n.ready_templates import ready_template
from tests.support.statements import statements


def test_an_email_is_kept_and_found_again(session, account, now):
    template = templates.create_template(session, account, name="Welcome", html="<p>{{ city }}</p>", now=now)
    assert templates.list_templates(session, account.id) == [template]
    assert templates.variables_of(template) == ("city",)


def test_a_template_needs_a_name(session, account, now):
    with pytest.raises(InputError) as caught:
        templates.create_template(session, account, name=" ", now=now)
    assert "name" in caught.value.fields


def test_changing_a_template_keeps_what_is_not_given(session, make, account, now):
    template = make.template(account, subject="Before")
    templates.update_template(session, template, {"html": "<p>After</p>"}, now)
    assert (template.subject, template.html) == ("Before", "<p>After</p>")


def test_a_copy_lives_on_without_its_original(session, make, account, now):
    template = make.template(account, "News")
    copy = templates.duplicate_template(session, template, now)
    templates.delete_template(session, template)
    assert (
        [each.name for each in templates.list_templates(session, account.id)] == [copy.name] == ["News (2)"]
    )


def test_a_campaigns_email_can_become_a_template(session, account, campaign, now):
    template = templates.keep_as_template(session, account, campaign, now)
    assert (template.name, template.html) == (campaign.name, campaign.html)


def test_another_accounts_templates_are_not_listed(session, make, account):
    make.template(make.account())
    assert templates.list_templates(session, account.id) == []


def test_a_ready_email_that_does_not_exist_is_not_found():
    with pytest.raises(NotFound):
        ready_template("nonsense", "en")


def test_neither_a_gallery_nor_a_new_template_reads_the_emails_of_the_others(
    engine, session, make, account, now
):
    make.template(account)
    session.expire_all()
    with statements(engine) as seen:
        templates.create_template(session, account, name="Second", now=now)
        assert {each.name for each in templates.list_templates(session, account.id)} == {"News", "Second"}
    assert not any("template.html" in statement for statement in seen if "SELECT" in statement)


def test_a_loop_over_copies_does_not_fill_the_disk(session, make, account, now, monkeypatch):
    monkeypatch.setattr(templates, "MOST_TEMPLATES", 2)
    template = make.template(account)
    templates.duplicate_template(session, template, now)
    with pytest.raises(InputError):
        templates.duplicate_template(session, template, now)
