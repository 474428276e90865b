from datetime import UTC, date, datetime

from mailganer.campaigns import CampaignValues, SharedValues, list_names_of, values_for
from mailganer.campaigns.values import variables

SHARED = SharedValues.of(
    campaign_name="November",
    sender_name="Anna",
    sender_email="anna@example.com",
    list_names=["Friends", "Readers"],
    timezone="Asia/Vladivostok",
    now=datetime(2026, 11, 23, 20, 0, tzinfo=UTC),
)


def test_a_recipient_has_their_own_fields_and_those_of_the_campaign():
    values = values_for({"first_name": "Ольга", "city": "Казань"}, SHARED)
    assert values["first_name"] == "Ольга"
    assert values["campaign"] == {"name": "November"}
    assert values["sender"] == {"name": "Anna", "email": "anna@example.com"}
    assert values["list"] == {"name": "Friends"}


def test_today_is_the_day_where_the_account_lives():
    assert values_for({}, SHARED)["today"] == date(2026, 11, 24)


def test_a_field_cannot_take_the_place_of_what_mailganer_fills():
    assert values_for({"sender": "somebody else", "today": "never"}, SHARED)["today"] == date(2026, 11, 24)


def test_the_list_of_one_recipient_does_not_stay_for_the_next():
    values = CampaignValues(SHARED)
    assert values.of({}, "Readers")["list"] == {"name": "Readers"}
    assert values.of({})["list"] == {"name": "Friends"}


def test_every_recipient_is_written_to_for_the_first_list_they_are_on(session, make, account):
    friends, readers, others = (make.list(account, name) for name in ("Friends", "Readers", "Others"))
    both = make.subscriber(account, lists=(friends, readers))
    one = make.subscriber(account, lists=(readers, others))
    assert list_names_of(session, [friends.id, readers.id], [both.id, one.id]) == {
        both.id: "Friends",
        one.id: "Readers",
    }


def test_a_stored_variable_is_a_text_or_says_whether_it_wins():
    stored = {"city": "Москва", "code": {"value": "X1", "override": True}}
    assert [tuple(each) for each in variables(stored)] == [("city", "Москва", False), ("code", "X1", True)]
