from sqlalchemy import inspect

from mailganer.campaigns import list_campaigns
from tests.support.statements import statements


def asked(engine, session, account, **more):
    session.commit()
    session.expunge_all()
    with statements(engine) as seen:
        page = list_campaigns(session, account.id, **more)
        for line in page.items:
            assert [each.name for each in line.campaign.lists] == ["Readers"]
            assert [each.from_email for each in line.campaign.senders] == ["anna@example.com"]
    return seen


def test_a_long_list_asks_no_more_of_the_database_than_a_short_one(engine, session, make, account):
    readers, sender = make.list(account), make.sender(account)
    make.campaign(account, (readers,), (sender,))
    few = asked(engine, session, account)
    for _number in range(9):
        make.campaign(account, (session.merge(readers),), (session.merge(sender),))
    assert len(asked(engine, session, account)) == len(few)


def test_a_list_without_letters_leaves_them_where_they_are(engine, session, make, account):
    make.campaign(account, (make.list(account),), (make.sender(account),))
    seen = asked(engine, session, account, letters=False)
    assert not any("campaign.html" in statement for statement in seen)
    page = list_campaigns(session, account.id)
    assert not inspect(page.items[0].campaign).unloaded & {"html", "text"}
