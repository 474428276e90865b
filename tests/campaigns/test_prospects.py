from mailganer.accounts import sender_limits
from mailganer.campaigns.prospects import LETTERS_A_SECOND, pace


def smtp(make, account, host, **values):
    fields = {"host": host, "port": 465, "security": "tls", "username": account.email}
    return make.sender(account, settings=fields, **values)


def test_a_provider_that_wants_one_connection_is_as_quick_as_one(make, account, registry):
    yandex = smtp(make, account, "smtp.yandex.ru")
    assert sender_limits(yandex, registry).max_connections == 1
    assert pace(yandex, registry) == LETTERS_A_SECOND
    assert pace(smtp(make, account, "smtp.example.com"), registry) == 2 * LETTERS_A_SECOND


def test_a_known_pace_says_more_than_connections(make, account, registry):
    assert pace(smtp(make, account, "smtp.example.com", per_second=3.0), registry) == 3.0
    assert pace(smtp(make, account, "smtp.example.com", per_second=3.0, slowed_to=0.5), registry) == 0.5
    assert pace(smtp(make, account, "smtp.example.com", slowed_to=0.5), registry) == 0.5
