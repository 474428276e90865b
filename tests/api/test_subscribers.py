"""Lists and subscribers by API."""

import json

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailganer.audience import erase_subscriber, subscriber_values
from mailganer.models import IdempotentResponse, Subscriber
from mailganer.rendering import Source, compile_email, safe_render

from ..fixtures.api import Client


def test_a_list_is_made_renamed_counted_and_deleted(client: Client) -> None:
    made = client.post("lists", {"name": "Friends"}, status=201).json
    assert made["counts"] == dict.fromkeys(
        ("active", "unconfirmed", "unsubscribed", "bounced", "complained"), 0
    )
    path = f"lists/{made['id']}"
    assert client.patch(path, {"name": "Close friends"}).json["name"] == "Close friends"
    client.post(f"{path}/subscribers", {"email": "a@example.org"}, status=201)
    assert client.get(path).json["counts"]["active"] == 1
    client.delete(path, status=204)
    client.get(path, status=404)


def test_a_subscriber_keeps_what_a_program_stores(client: Client) -> None:
    lst = client.post("lists", {"name": "Friends"}).json["id"]
    person = client.post(
        f"lists/{lst}/subscribers",
        {
            "email": "Пётр@Пример.РФ".replace("Пётр", "petr"),
            "first_name": "Пётр",
            "last_name": "Ёлкин",
            "birthday": "1990-05-14",
            "fields": {"city": "Псков", "visits": 3},
        },
        status=201,
    ).json
    assert person["birthday"] == "1990-05-14"
    assert person["fields"] == {"city": "Псков", "visits": 3}
    assert person["lists"] == [lst]
    changed = client.patch(f"subscribers/{person['id']}", {"fields": {"city": None, "cat": "Мурка"}}).json
    assert changed["fields"] == {"visits": 3, "cat": "Мурка"}
    gone = client.patch(f"subscribers/{person['id']}", {"status": "unsubscribed"}).json
    assert gone["status"] == "unsubscribed"
    again = client.post(f"lists/{lst}/subscribers", {"email": person["email"]}).json
    assert again["status"] == "unsubscribed", "only they themselves come back"


def test_fields_keep_their_types_through_json_and_email(client: Client, session: Session) -> None:
    lst = client.post("lists", {"name": "Friends"}).json["id"]
    fields = {"vip": False, "visits": 0, "share": 0.5, "code": "007", "year": 2026.0, "gone": None}
    body = {"email": "a@example.org", "fields": fields}
    person = client.post(f"lists/{lst}/subscribers", body, status=201).json
    del fields["gone"]
    assert json.dumps(person["fields"], sort_keys=True) == json.dumps(fields, sort_keys=True)
    again = client.patch(f"subscribers/{person['id']}", person).json
    assert json.dumps(again["fields"], sort_keys=True) == json.dumps(fields, sort_keys=True)
    # 0, 0.0 and false are equal to Python, and not to JSON.
    changed = client.patch(f"subscribers/{person['id']}", {"fields": {"visits": False}}).json
    session.expire_all()
    assert session.get_one(Subscriber, person["id"]).fields["visits"] is False is changed["fields"]["visits"]
    row = session.get_one(Subscriber, person["id"])
    values = subscriber_values(row, ())
    session.commit()  # no template runs inside a transaction
    html = "<p>{% if vip %}VIP{% endif %}{{ vip == 'false' }}, {{ share * 2 }}, {{ code }}, {{ year }}</p>"
    email = compile_email(Source("Hi", "", html, ""))
    assert "<p>True, 1, 007, 2026</p>" in safe_render(email, values).html


@pytest.mark.parametrize("number", ["1e999", "-1e999", str(2**256), "1" + "0" * 5000])
def test_a_number_that_no_email_can_hold_is_refused(client: Client, number: str) -> None:
    lst = client.post("lists", {"name": "Friends"}).json["id"]
    body = f'{{"email": "a@example.org", "fields": {{"points": {number}}}}}'
    client.app.post(
        f"/api/v1/lists/{lst}/subscribers",
        body,
        headers=client.headers | {"Content-Type": "application/json"},
        status=422,
    )


def test_a_birthday_without_a_year_has_none_in_json_either(client: Client) -> None:
    path = f"lists/{client.post('lists', {'name': 'Friends'}).json['id']}/subscribers"
    person = client.post(path, {"email": "a@example.org", "birthday": "--02-29"}, status=201).json
    assert person["birthday"] == "--02-29"
    person = client.patch(f"subscribers/{person['id']}", person | {"first_name": "Anna"}).json
    assert (person["birthday"], person["first_name"]) == ("--02-29", "Anna")
    assert client.patch(f"subscribers/{person['id']}", {"birthday": None}).json["birthday"] is None
    for wrong in ("--02-30", "02-29", "14.05.1990", "1990-02-30"):
        client.patch(f"subscribers/{person['id']}", {"birthday": wrong}, status=422)


def test_every_wrong_field_is_named_at_once(client: Client) -> None:
    lst = client.post("lists", {"name": "Friends"}).json["id"]
    answer = client.post(
        f"lists/{lst}/subscribers",
        {"email": "two@example.org, three@example.org", "first_name": "a\nb"},
        status=422,
    )
    assert answer.content_type == "application/problem+json"
    assert {error["field"] for error in answer.json["errors"]} == {"email", "first_name"}
    unknown = client.post("lists", {"name": "x", "colour": "red"}, status=422)
    assert "colour" in str(unknown.json["errors"])


def test_pages_of_subscribers_follow_one_another_without_gaps(client: Client) -> None:
    lst = client.post("lists", {"name": "Friends"}).json["id"]
    for number in range(5):
        client.post(f"lists/{lst}/subscribers", {"email": f"r{number}@example.org"})
    seen, after = [], ""
    while after is not None:
        page = client.get(f"lists/{lst}/subscribers?limit=2" + (f"&after={after}" if after else "")).json
        assert len(page["items"]) <= 2
        seen += [person["email"] for person in page["items"]]
        after = page["next"]
    assert seen == [f"r{number}@example.org" for number in reversed(range(5))]
    client.get(f"lists/{lst}/subscribers?after=tomorrow", status=422)
    client.get(f"lists/{lst}/subscribers?limit=0", status=422)


def test_a_stranger_finds_nothing(client: Client, stranger: Client, anonymous: Client) -> None:
    lst = client.post("lists", {"name": "Friends"}).json["id"]
    person = client.post(f"lists/{lst}/subscribers", {"email": "a@example.org"}).json["id"]
    for path in (f"lists/{lst}", f"lists/{lst}/subscribers", f"subscribers/{person}", "lists/abc", "lists/0"):
        stranger.get(path, status=404)
    stranger.post(f"lists/{lst}/subscribers", {"email": "b@example.org"}, status=404)
    stranger.patch(f"subscribers/{person}", {"first_name": "x"}, status=404)
    stranger.delete(f"lists/{lst}", status=404)
    assert stranger.get("lists").json == {"items": [], "next": None}
    answer = anonymous.get("lists", status=401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.content_type == "application/problem+json"


def test_the_same_key_is_answered_once(client: Client) -> None:
    first = client.post("lists", {"name": "Once"}, key="k", status=201)
    assert client.post("lists", {"name": "Once"}, key="k", status=201).json == first.json
    assert len(client.get("lists").json["items"]) == 1
    client.post("lists", {"name": "Other"}, key="k", status=422)


def test_a_refused_request_does_not_use_its_key_up(client: Client) -> None:
    client.post("lists", {"name": " "}, key="k", status=422)
    client.post("lists", {"name": "Now"}, key="k2", status=201)


def test_a_stored_response_is_deleted_with_the_subscriber_it_names(client: Client, session: Session) -> None:
    path = f"lists/{client.post('lists', {'name': 'Friends'}).json['id']}/subscribers"
    made = {name: client.post(path, {"email": f"{name}@example.org"}, key=name).json for name in "ab"}
    erase_subscriber(session, session.get_one(Subscriber, made["a"]["id"]))
    assert session.scalars(select(IdempotentResponse.key)).all() == ["b"]
    session.commit()
    assert client.post(path, {"email": "b@example.org"}, key="b").json == made["b"]


def test_subscribers_are_found_by_address_by_words_by_list_and_by_status(
    client: Client, stranger: Client
) -> None:
    first, second = (client.post("lists", {"name": name}).json["id"] for name in ("One", "Two"))
    for lst, email, name in (
        (first, "Anna@Example.org", "Анна"),
        (first, "boris@example.org", "Boris"),
        (second, "annabel@example.com", "Bel"),
    ):
        client.post(f"lists/{lst}/subscribers", {"email": email, "first_name": name}, status=201)

    def found(query: str) -> list[str]:
        return [person["email"].lower() for person in client.get(f"subscribers{query}").json["items"]]

    all_addresses = ["annabel@example.com", "boris@example.org", "anna@example.org"]
    assert found("") == all_addresses
    assert found("?email=ANNA@example.org") == ["anna@example.org"]
    assert found("?email=nobody@example.org") == []
    assert found("?q=anna") == ["annabel@example.com", "anna@example.org"]
    assert found(f"?q=example&list={first}") == ["boris@example.org", "anna@example.org"]
    assert found("?email=anna@example.org&q=boris") == []
    assert found("?status=unsubscribed") == []
    page = client.get("subscribers?limit=2").json
    rest = client.get(f"subscribers?limit=2&after={page['next']}").json
    assert [each["email"].lower() for each in page["items"] + rest["items"]] == all_addresses
    assert rest["next"] is None
    on_list = client.get(f"lists/{first}/subscribers?q=anna").json["items"]
    assert [each["email"].lower() for each in on_list] == ["anna@example.org"]
    client.get("subscribers?email=anna", status=422)
    client.post(f"lists/{second}/subscribers", {"email": "anna+news@example.org"}, status=201)
    for written in ("anna%2Bnews@example.org", "anna+news@example.org", "%20Anna+News@EXAMPLE.org%20"):
        assert found(f"?email={written}") == ["anna+news@example.org"]
    assert stranger.get("subscribers?q=anna").json["items"] == []
    stranger.get(f"subscribers?list={first}", status=404)
