from datetime import timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import select

from mailganer.billing import (
    PlanUsage,
    create_vouchers,
    load_providers,
    plan_of,
    plan_runs_until,
    redeem_voucher,
    require_subscriber_room,
    subscriber_room,
    usage,
)
from mailganer.billing.vouchers import VoucherProvider, normalised
from mailganer.errors import Conflict, InputError, LimitReached, SettingsError
from mailganer.models import Account, SubscriberStatus, Voucher
from mailganer.models import Usage as UsageRow
from mailganer.quota.plan_and_sender_usage import account_usage


def left(session, sender, moment, emails):
    session.add(
        UsageRow(
            sender_id=sender.id,
            account_id=sender.account_id,
            minute=int(moment.timestamp()) // 60,
            emails=emails,
        )
    )
    session.flush()


def test_a_new_account_has_the_first_plan(account, settings, now):
    assert plan_of(account, settings, now).name == "free"
    assert plan_runs_until(account, now) is None


def test_a_plan_that_ran_out_gives_way_to_the_first(account, settings, now):
    account.plan, account.plan_until = "pro", now + timedelta(days=1)
    assert plan_of(account, settings, now).name == "pro"
    assert plan_of(account, settings, now + timedelta(days=1)).name == "free"


def test_a_plan_that_is_no_longer_configured_gives_way_to_the_first(account, settings, now):
    account.plan = "platinum"
    assert plan_of(account, settings, now).name == "free"


def test_usage_counts_the_emails_of_all_senders_in_24_hours_and_no_one_elses(session, make, account, now):
    first, second = make.sender(account), make.sender(account)
    stranger = make.sender(make.account())
    left(session, first, now - timedelta(hours=25), 100)
    left(session, first, now - timedelta(hours=23), 3)
    left(session, second, now, 4)
    left(session, stranger, now, 50)
    left(session, first, now - timedelta(hours=24), 5)
    left(session, first, now - timedelta(hours=24, minutes=1), 6)
    assert usage(session, account, now).last_24h == 12 == account_usage(session, account.id, now)


def test_unsubscribed_addresses_do_not_count_towards_the_limit(session, make, account, now):
    make.subscriber(account)
    make.subscriber(account, status=SubscriberStatus.unconfirmed)
    make.subscriber(account, status=SubscriberStatus.unsubscribed)
    make.subscriber(account, status=SubscriberStatus.bounced)
    make.subscriber(make.account())
    assert usage(session, account, now) == PlanUsage(last_24h=0, subscribers=2)


def test_a_full_plan_takes_no_one_more(session, make, account, settings, now):
    make.subscribers(account, 999)
    assert subscriber_room(session, account, settings, now) == 1
    require_subscriber_room(session, account, settings, now)
    with pytest.raises(LimitReached) as full:
        require_subscriber_room(session, account, settings, now, wanted=2)
    assert full.value.counter == "max_subscribers"
    assert "1000" in str(full.value)
    assert "1 more can be added" in str(full.value)


def test_a_voucher_gives_its_days_once(session, account, settings, now):
    voucher = create_vouchers(session, "pro", 30, 1, now)[0]
    done = redeem_voucher(session, account, voucher.code.lower().replace("-", " "), now, settings=settings)
    assert done.plan.name == "pro"
    assert plan_of(account, settings, now).name == "pro"
    assert plan_runs_until(account, now) == now + timedelta(days=30) == done.until
    with pytest.raises(InputError, match="You have already redeemed this code"):
        redeem_voucher(session, account, voucher.code, now, settings=settings)
    assert account.plan_until == now + timedelta(days=30)


def test_another_accounts_used_voucher_says_nothing_about_them(session, make, account, settings, now):
    code = create_vouchers(session, "pro", 30, 1, now)[0].code
    redeem_voucher(session, account, code, now, settings=settings)
    session.commit()
    with pytest.raises(InputError) as used:
        redeem_voucher(session, make.account(), code, now, settings=settings)
    assert used.value.fields["code"].interpolate() == "This code has already been redeemed."


def test_a_second_voucher_of_the_same_plan_adds_to_the_first(session, account, settings, now):
    first, second = create_vouchers(session, "pro", 30, 2, now)
    redeem_voucher(session, account, first.code, now, settings=settings)
    later = now + timedelta(days=10)
    assert redeem_voucher(session, account, second.code, later, settings=settings).until == now + timedelta(
        days=60
    )


def test_a_voucher_never_shortens_what_one_has(session, account, settings, now):
    account.plan, account.plan_until = "pro", None
    code = create_vouchers(session, "pro", 30, 1, now)[0].code
    with pytest.raises(Conflict, match="has no end"):
        redeem_voucher(session, account, code, now, settings=settings)
    assert session.scalar(select(Voucher.redeemed_at)) is None

    account.plan_until = now + timedelta(days=5)
    code = create_vouchers(session, "free", 30, 1, now)[0].code
    with pytest.raises(Conflict, match="still active"):
        redeem_voucher(session, account, code, now, settings=settings)


def test_an_unknown_code_or_plan_is_said_in_a_sentence(session, account, settings, now):
    with pytest.raises(InputError, match="This code is not valid"):
        redeem_voucher(session, account, "", now, settings=settings)
    code = create_vouchers(session, "platinum", 30, 1, now)[0].code
    with pytest.raises(InputError, match="no longer available"):
        redeem_voucher(session, account, code, now, settings=settings)


def test_of_two_accounts_that_redeem_at_the_same_time_one_gets_it(sessions, session, make, settings, now):
    accounts = [make.account() for _number in range(4)]
    code = create_vouchers(session, "pro", 30, 1, now)[0].code
    session.commit()
    barrier, answers = Barrier(4), []

    def come(account_id):
        with sessions() as own:
            subscriber = own.get(Account, account_id)
            own.commit()
            barrier.wait()
            try:
                answers.append(redeem_voucher(own, subscriber, code, now, settings=settings))
                own.commit()
            except InputError as error:
                answers.append(str(error))

    threads = [Thread(target=come, args=(account.id,)) for account in accounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(isinstance(answer, str) for answer in answers) == [False, True, True, True]
    session.expire_all()
    assert sorted(account.plan for account in accounts) == ["free", "free", "free", "pro"]


def test_two_vouchers_redeemed_at_the_same_time_both_count(sessions, session, account, settings, now):
    codes = [voucher.code for voucher in create_vouchers(session, "pro", 10, 3, now)]
    session.commit()
    number, barrier = account.id, Barrier(len(codes))

    def come(code):
        with sessions() as own:
            subscriber = own.get(Account, number)
            own.commit()
            barrier.wait()
            redeem_voucher(own, subscriber, code, now, settings=settings)
            own.commit()

    threads = [Thread(target=come, args=(code,)) for code in codes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session.expire_all()
    assert session.get(Account, number).plan_until == now + timedelta(days=30)


def test_of_two_who_want_the_last_place_one_gets_it(sessions, session, make, account, settings, now):
    make.subscribers(account, 999)
    session.commit()
    barrier, answers = Barrier(3), []

    def add(number):
        from tests.support.factories import Factory

        with sessions() as own:
            barrier.wait()
            subscriber = own.get(Account, account.id)
            try:
                require_subscriber_room(own, subscriber, settings, now)
                Factory(own, now, None).subscriber(subscriber, f"new{number}@example.org")
                own.commit()
                answers.append("in")
            except LimitReached:
                answers.append("full")

    threads = [Thread(target=add, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["full", "full", "in"]
    assert subscriber_room(session, account, settings, now) == 0


def test_codes_survive_being_typed_by_hand():
    assert normalised(" o1il-abcd 0000zzzz") == "0111-ABCD-0000-ZZZZ"


def test_vouchers_with_senseless_numbers_are_not_made(session, now):
    with pytest.raises(InputError, match="1 to 3660 days"):
        create_vouchers(session, "pro", 0, 1, now)
    with pytest.raises(InputError, match="at a time"):
        create_vouchers(session, "pro", 1, 0, now)
    assert len({each.code for each in create_vouchers(session, "pro", 1, 500, now)}) == 500


def test_providers_are_found_by_entry_point_and_a_missing_one_is_named():
    assert isinstance(load_providers(["voucher"])["voucher"], VoucherProvider)
    with pytest.raises(SettingsError, match="'stripe', and no installed package has it"):
        load_providers(["voucher", "stripe"])


def test_a_broken_provider_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "broken_payments.py").write_text("raise RuntimeError('no key')\nnot_a_provider = 1\n")
    (tmp_path / "odd_payments.py").write_text("Provider = int\n")
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[mailganer.payments]\nbroken = broken_payments:Provider\nodd = odd_payments:Provider\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError) as problems:
        load_providers(["broken", "odd"])
    assert problems.value.problems == (
        "The payment provider 'broken' cannot be loaded: no key",
        "The payment provider 'odd' is no subclass of PaymentProvider.",
    )
