import pytest

from mailganer.campaigns.names import host_of_ids


@pytest.mark.parametrize(
    ("public_url", "host"),
    [
        ("https://mail.example.org/news", "mail.example.org"),
        ("https://mail.example.org:8443", "mail.example.org"),
        ("http://localhost:6543", "example.com"),
        ("http://mailer", "example.com"),
        ("http://192.0.2.7", "example.com"),
        ("http://[2001:db8::7]:6543", "example.com"),
        ("", "example.com"),
    ],
)
def test_ids_bear_a_public_name_or_the_senders_domain(public_url, host):
    assert host_of_ids(public_url, "anna@Example.com") == host
