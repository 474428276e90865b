import pytest

from mailganer.rendering.link_faults import LinkFault, fault_of, suggested_address

SOUND = [
    "https://shop.test/?a=1&b=2",
    "HTTPS://SHOP.TEST/UP",
    "https://пример.рф/путь?q=тест",
    "https://shop.test/a b/c?x=y z",
    "https://shop.test/p?u=50%25",
    "https://192.168.0.1:8080/x",
    "https://[2001:db8::1]/x",
    "https://intranet/",
    "mailto:sales@shop.test?subject=Hi%20there",
    "tel:+78001234567",
    "sms:+78001234567?body=x",
    "viber://chat?number=1",
    "tg://resolve?domain=x",
    "ftp://shop.test/f",
    "market://details?id=1",
    "#top",
]

FAULTS = [
    ("", LinkFault.empty, ""),
    ("www.shop.test", LinkFault.no_scheme, "https://www.shop.test"),
    ("shop.test/x", LinkFault.no_scheme, "https://shop.test/x"),
    ("shop.test:8080/x", LinkFault.no_scheme, "https://shop.test:8080/x"),
    ("пример.рф", LinkFault.no_scheme, "https://пример.рф"),
    ("httpbin.test/get", LinkFault.no_scheme, "https://httpbin.test/get"),
    ("/news", LinkFault.relative, ""),
    ("page.html", LinkFault.relative, ""),
    ("?utm=1", LinkFault.relative, ""),
    ("//shop.test/x", LinkFault.no_protocol, "https://shop.test/x"),
    ("file:///C:/news.html", LinkFault.file, ""),
    ("C:\\Users\\anna\\news.html", LinkFault.file, ""),
    ("\\\\server\\news.html", LinkFault.file, ""),
    ("cid:part1", LinkFault.inside, ""),
    ("mid:part1", LinkFault.inside, ""),
    ("data:text/html,x", LinkFault.unopened, ""),
    ("about:blank", LinkFault.unopened, ""),
    ("%7B%7Bpage%7D%7D", LinkFault.code, "{{ page }}"),
    ("https://shop.test/%7b%7b%20slug%20%7d%7d", LinkFault.code, "https://shop.test/{{ slug }}"),
    ("http:/shop.test", LinkFault.mistyped, "http://shop.test"),
    ("https//shop.test", LinkFault.mistyped, "https://shop.test"),
    ("https:///shop.test", LinkFault.mistyped, "https://shop.test"),
    ("htp://shop.test", LinkFault.mistyped, "http://shop.test"),
    ("https://https://shop.test", LinkFault.mistyped, "https://shop.test"),
    ("https://", LinkFault.mistyped, ""),
    ("javascript:void(0)", LinkFault.script, ""),
    ("sales@shop.test", LinkFault.mail, "mailto:sales@shop.test"),
    ("mailto:", LinkFault.mail, ""),
]


@pytest.mark.parametrize("address", SOUND)
def test_an_address_that_can_be_followed_has_no_fault(address):
    assert fault_of(address) is None


@pytest.mark.parametrize(("address", "fault", "likely"), FAULTS)
def test_an_address_that_leads_nowhere_names_its_fault_and_what_is_meant(address, fault, likely):
    assert (fault_of(address), suggested_address(address)) == (fault, likely)
    assert not likely or fault_of(likely) in (None, LinkFault.code)


def test_line_breaks_inside_an_address_are_read_as_browsers_do():
    assert fault_of(" https://shop.test/\n new\t") is None
    assert suggested_address("www.\nshop.test") == "https://www.shop.test"
