"""Templates that use gigabytes, run endlessly, or access forbidden objects."""

import time

import pytest

from mailganer.errors import EmailError
from mailganer.rendering import (
    CompiledEmail,
    MessageRenderer,
    Source,
    compile_email,
    render_budget,
    safe_render,
    variables_of,
)
from tests.support.pace import within

from .conftest import COPY, ENVELOPE, email_of

# Some exceed the limits while compiling, some while rendering, some only with a recipient's value.
BOMBS = [
    "{{ 'a' * 10**9 }}",
    "{% if false %}{{ 'a' * 10**9 }}{% endif %}",
    "{{ ('a' * 10**5) * 10**5 }}",
    "{{ 10 ** 10 ** 7 }}",
    "{{ 9 ** 99999999 }}",
    "{{ 2 ** 64 ** 2 }}",
    "{{ 7 * 7 ** 60 * 7 ** 60 * 7 ** 60 * 7 ** 60 * 7 ** 60 }}",
    "{{ 'x'.ljust(10**9) }}",
    "{{ 'x'.rjust(10**9) }}",
    "{{ 'x'.center(10**9) }}",
    "{{ 'x'.zfill(10**9) }}",
    "{{ 'x\t'.expandtabs(10**9) }}",
    "{{ 'x'|center(10**9) }}",
    "{{ 'x'|indent(10**9, true) }}",
    "{{ 'x'|wordwrap(1, wrapstring='y' * 10**6) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ '%*d'|format(10**9, 1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:>{w}}'.format(1, w=10**9) }}",
    "{{ 1.5|round(10**7) }}",
    "{{ range(10**9)|list }}",
    "{{ lipsum(n=10**6) }}",
    "{% for a in range(10**9) %}x{% endfor %}",
    "{% for a in 'x' * 20000 %}{% for b in 'x' * 20000 %}{% endfor %}{% endfor %}",
    "{% for a in 'x' * 20000 %}{% for b in 'x' * 20000 if false %}{% endfor %}{% endfor %}",
    "{% for a in 'x' * 20000 %}" + "y" * 1000 + "{% endfor %}",
    "{% for a in 'x' * 20000 %}{{ 'y' * 1000 }}{% endfor %}",
    "{% set a = 'x' * 20000 %}" + "{% set a = a ~ a %}" * 40,
    "{% set a = 'x' * 20000 %}" + "{% set a = a + a %}" * 40,
    "{% set a = ['x'] %}" + "{% set a = a + a %}" * 40,
    "{% set a = 'x' * 20000 %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 40,
    "{% set a = 'x' * 20000 %}" + "{% set a = a|replace('x', 'xx') %}" * 40,
    "{% set a = 'x' * 20000 %}" + "{% set a = a.replace('x', a) %}" * 3,
    "{% set a = 'x' * 20000 %}{{ a|list|join(a) }}",
    "{% set a = 'x' * 20000 %}" + "{{ a }}" * 60,
    "{% set a = 'x' * 20000 %}{{ a|map('replace', 'x', a)|list }}",
    "{{ ('x' * 20000)|batch(1, 'y' * 20000)|list }}",
    "{{ ('x' * 20000)|slice(10**9)|list }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    "{% macro f(n) %}{% if n %}{% set x = f(n - 1) ~ f(n - 1) %}{% endif %}{% endmacro %}{{ f(40) }}",
    "{% macro f() %}{{ caller() }}{{ caller() }}{% endmacro %}"
    + "{% call f() %}" * 30
    + "xx"
    + "{% endcall %}" * 30,
    "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{% if x %}" * 3000 + "{% endif %}" * 3000,
    "{{ " + "[" * 2000 + "]" * 2000 + " }}",
    "{{ " + "-" * 20000 + "1 }}",
    "{{ " + "not " * 20000 + "x }}",
    "{{ a" + ".b" * 20000 + " }}",
    "{{ a" + "|upper" * 20000 + " }}",
    "{{ " + " ~ ".join(["a"] * 20000) + " }}",
    "{{ '" + "<" * 100000 + "'|striptags }}",
    "{{ ('<' * 20000)|forceescape|forceescape|forceescape|forceescape }}",
    "{{ cycler('a', 'b').next() }}",
    "{% set ns = namespace(a='x') %}{% for i in 'x' * 1000 %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}",
    "<" * 200_000,
    "<a href=" * 20_000,
    '<p class="' * 20_000,
    "<!--" * 50_000,
    "<style>" + "p" * 100 + " " * 100_000 + "{</style><p>x</p>",
    "<style>" + ".a > " * 20_000 + "p{color:red}</style>" + "<p>x</p>" * 2000,
    "<div>" * 20_000,
    "{{ x }}" * 60_000,
]


def a_bomb(template: str) -> str:
    return template if len(template) < 60 else f"{template[:45]}...{len(template)}"


@pytest.mark.parametrize("template", BOMBS, ids=a_bomb)
@pytest.mark.parametrize("field", ["html", "subject"])
def test_a_bomb_is_refused_in_words_or_turns_out_harmless(template: str, field: str) -> None:
    source = Source(template, html="<p>x</p>") if field == "subject" else Source("x", html=template)
    began = time.monotonic()
    try:
        email = compile_email(source)
    except EmailError as error:
        said = str(error)
    else:
        said = "harmless"
        for kind in (email.html, email.text, email.subject):
            assert len(kind) < 3_000_000
        assert len(safe_render(email, {}).html) < 1_100_000
    # Together: the render process may take three seconds, and is killed then.
    assert time.monotonic() - began < within(8)
    assert said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "template",
    [
        "{% if first_name == 'boom' %}{{ 'a' * 10**9 }}{% endif %}",
        "{% if n == 1e9 %}{% for a in 'x' * 999 %}{% for b in 'x' * 99 %}{% endfor %}{% endfor %}{% endif %}",
        "{{ 'x' * (n|int) }}",
        "{{ 2 ** (n|int) }}",
        "{{ big|replace('x', big) }}",
        "{{ big ~ big ~ big ~ big ~ big ~ big ~ big ~ big ~ big ~ big ~ big }}",
        "{% for a in big %}{{ big }}{% endfor %}",
        "{% set a = big %}" + "{% set a = a ~ a %}" * 12,
        "{{ big }}" * 40 + "{% for a in big %}{{ big }}{% endfor %}",
        "{% macro f(x) %}{% if x > 1 %}{{ f(x) }}{% endif %}{% endmacro %}{{ f(n) }}",
        "{% macro f(x) %}{% if x > 1 %}{{ f(x) }}{{ f(x) }}{% endif %}{% endmacro %}{{ f(n) }}",
    ],
    ids=a_bomb,
)
def test_a_value_that_sets_off_a_bomb_stops_only_this_copy(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counted limits stop it before the clock does: the clock stands still here."""
    monkeypatch.setattr(render_budget, "monotonic", lambda: 0.0)
    email = email_of(template)  # harmless for a recipient without values
    renderer = MessageRenderer(email, ENVELOPE)
    loaded = {"first_name": "boom", "n": "1000000000", "big": "x" * 10_000}
    with pytest.raises(EmailError, match="cannot be rendered"):
        renderer.render(COPY._replace(values=loaded))
    assert renderer.render(COPY._replace(values={"first_name": "Anna", "n": "1", "big": "x"}))


def test_limits_say_what_was_too_much() -> None:
    with pytest.raises(EmailError, match="cannot be rendered") as caught:
        compile_email(Source("x", html="<p>a</p>\n<p>{{ 'a' * 10**9 }}</p>"))
    assert (caught.value.field, caught.value.line) == ("html", 2)


def test_a_source_longer_than_any_mail_program_shows_is_refused() -> None:
    with pytest.raises(EmailError, match=r"longer than 0\.5 MB"):
        compile_email(Source("x", html="x" * 600_000))


# --- forbidden objects

REACHING_OUT = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ ''['\\x5f\\x5fclass\\x5f\\x5f'] }}",
    "{{ []['__cl' ~ 'ass__'] }}",
    "{{ {}.__class__.__bases__[0] }}",
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{{ self.__init__.__globals__ }}",
    "{{ config }}",
    "{{ request.application.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ url_for.__globals__ }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ range.__class__ }}",
    "{{ dict.__init__ }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ '{0.__class__}'|format('') }}",
    "{{ ''.format }}",
    "{{ (''|attr('format'))('{0.__class__}') }}",
    "{{ ['{0.__class__}']|map('format', '')|list }}",
    "{{ ['']|map(attribute='__class__')|list }}",
    "{{ ['']|map('attr', '__class__')|list }}",
    "{{ ['']|groupby('__class__') }}",
    "{{ ['']|sort(attribute='__class__')|list }}",
    "{{ ['']|selectattr('__class__')|list }}",
    "{{ ['']|join(attribute='__class__') }}",
    "{{ ['']|sum(attribute='__class__') }}",
    "{{ ''.encode() }}",
    "{{ ''.translate({}) }}",
    "{{ 1 .to_bytes(8) }}",
    "{{ (1).real.__class__ }}",
    "{{ _run }}",
    "{{ _click }}",
    "{% set _run = 1 %}",
    "{{ x|_turn(-1000000) }}",
    "{{ x|_concat('y') }}",
    "{{ caller.__self__ }}",
    "{% macro m() %}{{ caller }}{% endmacro %}{{ m.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func }}",
    "{% macro m() %}{% endmacro %}{{ m.name.__class__ }}",
    "{% for x in [1] %}{{ loop.__init__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop._iterable }}{% endfor %}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import popen %}",
    "{% extends 'layout' %}",
    "{% block a %}{{ super() }}{% endblock %}",
    "{{ ''.__doc__ }}",
    "{{ undefined_thing.__class__ }}",
    "{{ undefined_thing['__class__']['__init__'] }}",
    "{{ undefined_thing()['__globals__'] }}",
    "{{ today.strftime('%1000000000d') }}",
    "{{ today.__reduce__() }}",
    "{% set a = [] %}{{ a.append(1) }}",
    "{% set a = {} %}{{ a.update({1: 2}) }}",
    "{% set a = {} %}{{ a.setdefault('x', 1) }}",
    "{{ debug() }}",
    "{% debug %}",
    "{% do x %}",
    "{{ get_data() }}{{ open('/etc/passwd') }}",
    "{{ ''.join.__self__.__class__ }}",
    "{{ {}|tojson.__class__ }}",
    "{{ (x for x in y) }}",
    "{{ lambda: 1 }}",
    "{{ __import__('os') }}",
]
LEAKS = (
    "class '",
    "<class",
    "object at 0x",
    "built-in",
    "function",
    "root:",
    "__",
    "Markup",
    "Undefined",
    "uid=",
)


@pytest.mark.parametrize("template", REACHING_OUT)
def test_nothing_in_an_email_reaches_out_of_it(template: str) -> None:
    try:
        email = email_of(template)
    except EmailError:
        return
    printed = MessageRenderer(email, ENVELOPE).render(COPY).decode()
    body = printed.split("\r\n\r\n", 1)[1].split("Content-Type: text/html", 1)[0]
    assert not [leak for leak in LEAKS if leak in body.replace("=_mailganer", "")]


def test_the_child_knows_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "canary-7781")
    email = compile_email(Source("x", html="<p>{{ SECRET_KEY }}{{ environ }}{{ env }}</p>"))
    assert "canary" not in safe_render(email, {}).html


def test_names_of_a_source_are_found_under_the_same_limits() -> None:
    with pytest.raises(EmailError):
        variables_of(Source("x", html="{{ " + "(" * 50_000 + "1"))


def test_an_email_that_was_kept_is_still_bounded() -> None:
    # As if a row of the database had been changed: rendering does not trust compiled code.
    email = CompiledEmail("x", "", "<p>{{ 'a' * 10**9 }}</p>", "x", (), frozenset())
    with pytest.raises(EmailError):
        safe_render(email, {})
    with pytest.raises(EmailError):
        MessageRenderer(email, ENVELOPE).render(COPY)


def test_an_email_uses_a_bounded_number_of_variables() -> None:
    """The check counts each of them over all recipients, in one statement."""
    many = "".join(f"{{{{ a{number} }}}}" for number in range(render_budget.VARIABLES))
    assert len(compile_email(Source("x", html=many)).variables) == render_budget.VARIABLES
    for task in (compile_email, variables_of):
        with pytest.raises(EmailError, match="different variables"):
            task(Source("{{ b }}", html=many))
