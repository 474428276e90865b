"""An email that was replaced by a template or a file can be restored completely."""

import pytest
from alembic import command
from sqlalchemy import inspect

from mailganer.campaigns import update_draft
from mailganer.campaigns.replacing import KEPT, bring_back, has_earlier, replace_email
from mailganer.errors import Conflict
from mailganer.migrations import _config, migrate
from mailganer.models import EarlierEmail

NEW = {"subject": "Another", "preheader": "", "html": "<p>Another</p>", "text": ""}


def parts(campaign):
    return {name: getattr(campaign, name) for name in KEPT}


def test_what_was_replaced_comes_back_and_can_be_exchanged_again(session, campaign, make, account, now):
    own = make.template(account)
    mine = {
        "subject": "Mine {{ first_name }}",
        "html": "<p>Mine</p>\n",
        "text": "mine",
        "template_id": own.id,
    }
    update_draft(session, campaign, mine, now)
    before, revision = parts(campaign), campaign.revision
    replace_email(session, campaign, NEW | {"template_id": None}, now)
    replaced = parts(campaign)
    assert replaced["html"] == "<p>Another</p>"
    bring_back(session, campaign, now)
    assert parts(campaign) == before
    assert campaign.revision == revision + 2  # another tab must not overwrite it
    bring_back(session, campaign, now)
    assert parts(campaign) == replaced


def test_nothing_is_kept_of_an_empty_email_or_of_the_same(session, campaign, now):
    replace_email(session, campaign, {"html": campaign.html}, now)
    assert not has_earlier(session, campaign)
    update_draft(session, campaign, {"html": " ", "text": ""}, now)
    replace_email(session, campaign, NEW, now)
    assert not has_earlier(session, campaign)
    with pytest.raises(Conflict):
        bring_back(session, campaign, now)


def test_an_email_whose_template_is_gone_comes_back_without_it(session, campaign, make, account, now):
    own = make.template(account)
    update_draft(session, campaign, {"template_id": own.id}, now)
    before = parts(campaign)
    replace_email(session, campaign, NEW | {"template_id": None}, now)
    session.delete(own)
    session.flush()
    bring_back(session, campaign, now)
    assert parts(campaign) == before | {"template_id": None}


def test_the_earlier_email_goes_with_its_campaign(session, campaign, now):
    replace_email(session, campaign, NEW, now)
    session.commit()
    session.delete(campaign)
    session.commit()
    assert session.query(EarlierEmail).count() == 0


def test_the_schema_can_be_taken_back(engine):
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0009")
    assert not inspect(engine).has_table("earlier_email")
    migrate(engine)
    assert inspect(engine).has_table("earlier_email")
