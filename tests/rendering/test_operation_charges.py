"""Every operation that a template can reach is charged before it runs.

The tables list all of them. An operation added by a new Jinja2 or Python is not listed, and fails here
before it runs anywhere.
"""

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
from jinja2 import filters as builtin
from jinja2 import nodes
from jinja2.runtime import LoopContext, Macro
from markupsafe import Markup

from mailganer.errors import EmailError
from mailganer.rendering import (
    MessageRenderer,
    operation_charges,
    render_budget,
    sandbox,
    sandbox_attributes,
    sandbox_filters,
    sandbox_hardening,
    sandbox_operations,
)
from mailganer.rendering.operation_charges import ITEM, Method
from mailganer.rendering.render_budget import RenderBudget, RenderTooLarge
from mailganer.rendering.sandbox import HTML, TEXT, CompiledTemplate

from .conftest import COPY, ENVELOPE, email_of

CASES = Path(__file__).parent / "cases"
SIZE = 9_000
LIST = ["ab"] * (SIZE // (ITEM + 2))
VALUES: dict[str, object] = {
    "x": "ab " * (SIZE // 3),
    "l": LIST,
    "d": {"a": 1},
    "n": 12,
    "day": date(2026, 11, 30),
    "at": datetime(2026, 11, 30, 10, 15),
}

# Filters: an expression on a long text or list each.
FILTERS = {
    "abs": "x|abs",
    "batch": "l|batch(3)",
    "capitalize": "x|capitalize",
    "center": "x|center(10)",
    "count": "l|count",
    "d": "x|d",
    "date": "x|date",
    "default": "x|default('y')",
    "dictsort": "{x: 1}|dictsort",
    "e": "x|e",
    "escape": "x|escape",
    "first": "l|first",
    "float": "x|float",
    "forceescape": "x|forceescape",
    "format": "x|format",
    "indent": "x|indent",
    "int": "x|int",
    "items": "{'a': x}|items",
    "join": "l|join",
    "last": "l|last",
    "length": "l|length",
    "list": "l|list",
    "lower": "x|lower",
    "map": "l|map('upper')",
    "max": "l|max",
    "min": "l|min",
    "plural": "x|plural('a', 'b')",
    "reject": "l|reject('none')",
    "rejectattr": "l|rejectattr('a')",
    "replace": "x|replace('q', 'r')",
    "reverse": "x|reverse",
    "round": "x|round",
    "safe": "x|safe",
    "select": "l|select('none')",
    "selectattr": "l|selectattr('a')",
    "slice": "l|slice(3)",
    "sort": "l|sort",
    "string": "l|string",
    "striptags": "x|striptags",
    "sum": "l|sum",
    "title": "x|title",
    "tojson": "x|tojson",
    "trim": "x|trim",
    "truncate": "x|truncate",
    "unique": "l|unique",
    "upper": "x|upper",
    "urlencode": "x|urlencode",
    "wordcount": "x|wordcount",
    "wordwrap": "x|wordwrap",
}

# Tests that traverse their value, and those that check only its type.
TESTS = {
    "divisibleby": "x is divisibleby(2)",
    "even": "x is even",
    "filter": "x is filter",
    "in": "'q' is in(x)",
    "lower": "x is lower",
    "odd": "x is odd",
    "test": "x is test",
    "upper": "x is upper",
    **{
        name: f"x is {name}(x)"
        for name in ("eq", "equalto", "ge", "greaterthan", "gt", "le", "lessthan", "lt")
    },
    "ne": "x is ne(x)",
}
TESTS_BY_SIGN = {"!=", "<", "<=", "==", ">", ">="}  # only by name: [1, 2]|select(">", 1)
TESTS_OF_KIND = {
    "boolean": "x is boolean",
    "callable": "x is callable",
    "defined": "x is defined",
    "escaped": "x is escaped",
    "false": "x is false",
    "float": "x is float",
    "integer": "x is integer",
    "iterable": "x is iterable",
    "mapping": "x is mapping",
    "none": "x is none",
    "number": "x is number",
    "sameas": "x is sameas(x)",
    "sequence": "x is sequence",
    "string": "x is string",
    "true": "x is true",
    "undefined": "x is undefined",
}

# Methods of texts without arguments, and with those that they need.
TEXT_METHODS = {
    **{
        name: f"x.{name}()"
        for name in sandbox_filters.words(
            "capitalize casefold isalnum isalpha isascii isdecimal isdigit islower isnumeric isspace istitle "
            "isupper lower lstrip rsplit rstrip split splitlines strip swapcase title upper"
        )
    },
    **{
        name: f"x.{name}('q')"
        for name in sandbox_filters.words(
            "count endswith find partition removeprefix removesuffix rfind rpartition startswith"
        )
    },
    "replace": "x.replace('q', 'r')",
}
LIST_METHODS = {"count": "l.count('q')", "index": "l.index('ab')"}
# Of these only the arguments have a size, or none has.
OTHER_METHODS = {
    dict: {"get": "d.get(x)", "items": "d.items()", "keys": "d.keys()", "values": "d.values()"},
    date: {name: f"day.{name}()" for name in ("isoformat", "isoweekday", "weekday")},
    datetime: {name: f"at.{name}()" for name in ("date", "isoformat", "isoweekday", "weekday")},
    LoopContext: {"changed": "", "cycle": ""},  # within a loop, see below
}

OPERATORS = {
    **{f"x {sign}": f"x {sign} 2" for sign in ("+", "-", "*", "/", "//", "%", "**")},
    **{f"{sign}x": f"{sign}x" for sign in ("+", "-")},
    **{f"x {sign} x": f"x {sign} x" for sign in ("==", "!=", "<", "<=", ">", ">=", "in", "not in")},
    "x < x < x": "1 < 2 < x",
    "in a list": "'q' in l",
    "~": "x ~ 'a'",
    "+ of lists": "l + l",
    "[:]": "x[::-1]",
    "[:] of a list": "l[1:]",
    "[]": "d[(x, 1)]",
    "{}": "{x: 1}",
}

COUNTED = {**FILTERS, **TESTS, **OPERATORS, **LIST_METHODS, "get": "d.get(x)"} | {
    f".{name}": expression for name, expression in TEXT_METHODS.items()
}
FIXED = {**TESTS_OF_KIND} | {
    expression: expression for kind in (dict, date, datetime) for expression in OTHER_METHODS[kind].values()
}


def run(expression: str, account: RenderBudget) -> None:
    """Evaluate an expression without output. Errors of unsuitable values are ignored."""
    program = CompiledTemplate("{% if " + expression + " %}{% endif %}", "text", TEXT)
    try:
        program.render(VALUES, account)
    except RenderTooLarge:
        raise
    except EmailError:
        pass


@pytest.mark.parametrize("expression", COUNTED.values())
def test_an_operation_is_charged_by_the_size_of_what_it_is_given(expression: str) -> None:
    account = RenderBudget()
    run(expression, account)
    assert render_budget.WORKED - account.worked >= SIZE
    poor = RenderBudget()
    poor.worked = SIZE - ITEM * 4
    with pytest.raises(RenderTooLarge):
        run(expression, poor)


@pytest.mark.parametrize("expression", [*COUNTED.values(), *FIXED.values()])
def test_the_clock_is_looked_at_in_every_operation(expression: str) -> None:
    late = RenderBudget()
    late.deadline = 0.0
    with pytest.raises(RenderTooLarge, match="longer than a second"):
        run(expression, late)


class Untouchable(str):
    """A text that allows no operation except measuring its length."""

    def __getattribute__(self, name: str) -> Any:
        if name in sandbox_attributes.TEXT_METHODS:
            return MethodType(lambda *_args: pytest.fail(f"{name} ran before it was charged"), self)
        return super().__getattribute__(name)


@pytest.mark.parametrize("name", TEXT_METHODS)
def test_a_method_does_not_begin_what_cannot_be_paid(name: str) -> None:
    poor = RenderBudget()
    poor.worked = SIZE - 1
    with pytest.raises(RenderTooLarge):
        CompiledTemplate("{% if " + TEXT_METHODS[name] + " %}{% endif %}", "text", TEXT).render(
            {"x": Untouchable("a" * SIZE)}, poor
        )


@pytest.mark.parametrize("template", ["{% for i in l if i %}{% endfor %}", "{% for i in l %}{% endfor %}"])
def test_the_clock_is_looked_at_in_each_turn_of_a_loop(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    monkeypatch.setattr(render_budget, "monotonic", lambda: looks.append(1) or 0.0)
    CompiledTemplate(template, "text", TEXT).render(VALUES, RenderBudget())
    assert len(looks) > len(LIST)


def test_what_a_loop_offers_is_charged_by_its_arguments() -> None:
    for name in OTHER_METHODS[LoopContext]:
        account = RenderBudget()
        template = "{% for i in [1] %}{% if loop." + name + "(x) %}{% endif %}{% endfor %}"
        CompiledTemplate(template, "text", TEXT).render(VALUES, account)
        assert render_budget.WORKED - account.worked >= SIZE


def test_what_is_printed_and_what_is_made_is_charged() -> None:
    for environment in (TEXT, HTML):
        account = RenderBudget()
        CompiledTemplate("{{ x }}{{ l|join }}", "text", environment).render(VALUES, account)
        assert render_budget.OUTPUT - account.output >= SIZE + 2 * len(LIST)
    account = RenderBudget()
    run("x ~ x ~ x", account)
    assert render_budget.WORKED - account.worked >= 6 * SIZE, (
        "three texts read, and one of three times the size made"
    )
    account = RenderBudget()
    run("x.split()", account)
    assert render_budget.STEPS - account.steps >= SIZE // 3


# --- that the tables are complete


def test_every_filter_is_in_the_table_and_no_other_can_be_used() -> None:
    for environment in (TEXT, HTML):
        assert environment.filters.keys() == FILTERS.keys() | sandbox_hardening.INNER_FILTERS.keys()
    for name in builtin.FILTERS.keys() - FILTERS.keys():
        with pytest.raises(EmailError, match="no filter"):
            email_of("{{ x|" + name + " }}")


def test_every_test_is_in_the_table_and_no_other_can_be_used() -> None:
    for environment in (TEXT, HTML):
        assert environment.tests.keys() == TESTS.keys() | TESTS_OF_KIND.keys() | TESTS_BY_SIGN
    for sign in TESTS_BY_SIGN:
        account = RenderBudget()
        run(f"l|select('{sign}', 'q')", account)
        assert render_budget.WORKED - account.worked >= SIZE


def test_there_are_no_functions() -> None:
    assert not TEXT.globals
    assert not HTML.globals


def _loop() -> LoopContext:
    loop = LoopContext(["a", "b"], sandbox_operations.Missing)
    next(loop)
    return loop


REACHABLE = [
    *("text", Markup("text"), [1], (1,), {"a": 1}, 12, 1.5, True, None, Decimal("1.5")),
    *(date(2026, 11, 30), datetime(2026, 11, 30, 10, 15), {}.items(), {}.keys(), {}.values()),
    *(sandbox_operations.Missing(), _loop(), Method("", "upper")),
    Macro(TEXT, lambda: "", "m", [], False, False, False, True),
]
METHODS = {
    str: TEXT_METHODS,
    int: TEXT_METHODS,  # read as texts
    float: TEXT_METHODS,
    list: LIST_METHODS,
    tuple: LIST_METHODS,
    **OTHER_METHODS,
}


@pytest.mark.parametrize("value", REACHABLE, ids=lambda value: type(value).__name__)
def test_whatever_dir_names_is_refused_or_a_plain_value_or_a_method_that_is_charged(value: object) -> None:
    kinds = [table for kind, table in METHODS.items() if isinstance(value, kind)]
    reached = set()
    for name in dir(type(value)):
        try:
            found = sandbox_attributes.attribute(value, name)
        except EmailError:
            continue
        if isinstance(found, Method):
            reached.add(name)
        else:
            assert found is None or isinstance(found, int | str | sandbox_operations.Missing)
            assert not isinstance(found, str) or len(found) < 5
    assert reached <= {name for table in kinds for name in table}


@pytest.mark.parametrize("value", REACHABLE, ids=lambda value: type(value).__name__)
def test_nothing_but_macros_and_methods_can_be_called(value: object) -> None:
    assert sandbox_attributes.callable_in_emails(value) == isinstance(
        value, Macro | Method | sandbox_operations.Missing
    )


# Types of nodes: those replaced or wrapped are charged; the others cost as much as their source is
# long; the rest cannot occur in a template.
HARDENED = (
    "Call CallBlock Compare Concat Dict Filter FilterBlock For Getitem Macro Pair Slice Test"
    " Add Sub Mul Div FloorDiv Mod Pow Neg Pos"
    " Output"
)
AS_LONG_AS_THE_SOURCE = (
    "And Assign AssignBlock CondExpr Const EvalContextModifier Getattr If Keyword List Name NSRef Not Operand"
    " Or Scope ScopedEvalContextModifier Template TemplateData Tuple With"
)
WITHOUT_SYNTAX = (
    "Node Stmt Helper Expr BinExpr UnaryExpr Literal _FilterTestCommon EnvironmentAttribute"
    " ExtensionAttribute ImportedName InternalName MarkSafe MarkSafeIfAutoescape ContextReference"
    " DerivedContextReference Continue Break ExprStmt OverlayScope"
)


def _all_nodes() -> Iterator[type[nodes.Node]]:
    kinds = [nodes.Node]
    while kinds:
        kind = kinds.pop()
        if kind.__module__ == nodes.__name__:
            yield kind
        kinds += kind.__subclasses__()


def test_every_kind_of_node_is_known() -> None:
    known = f"{HARDENED} {AS_LONG_AS_THE_SOURCE} {WITHOUT_SYNTAX}".split()
    forbidden = [kind.__name__ for kind in sandbox._FORBIDDEN]
    assert {kind.__name__ for kind in _all_nodes()} == {*known, *forbidden}
    assert not TEXT.extensions


def test_every_operator_is_intercepted() -> None:
    assert TEXT.intercepted_binops == TEXT.binop_table.keys()
    assert TEXT.intercepted_unops == TEXT.unop_table.keys()


def test_the_guards_of_the_tree_cannot_be_called_by_name() -> None:
    # They trust their arguments: a negative charge would be a credit.
    with pytest.raises(EmailError, match="no filter"):
        CompiledTemplate("{{ [-1000000]|map('_iterate')|list }}", "text", TEXT).render({}, RenderBudget())


# --- weights


def test_a_nested_list_weighs_as_often_as_it_would_be_gone_through() -> None:
    value: Any = ["a"]
    for _again in range(10):
        value = [value, value]
    assert operation_charges.weigh(RenderBudget(), value) > 2**10 * (ITEM + 1)
    for _again in range(30):
        value = [value, value]
    with pytest.raises(RenderTooLarge, match="searches or comparisons"):
        operation_charges.weigh(RenderBudget(), value)


def test_lists_in_lists_in_lists_end_somewhere() -> None:
    value: Any = ["a"]
    for _again in range(200):
        value = [value]
    with pytest.raises(RenderTooLarge, match="nested"):
        operation_charges.weigh(RenderBudget(), value)


BOMBS = {
    "search": "{% set y = x|replace('a', 'a' * 9) %}{% if y.rfind('ab' ~ x ~ x ~ x ~ x) %}{% endif %}",
    "formatted number": "{{ '%1000000000d' is even }}",
    "formatted divisor": "{{ '%1000000000d' is divisibleby(5) }}",
    "indented": "{{ [1]|tojson(indent=1000000000) }}",
    "filled": "{{ 'x'|batch(1000000000, 'y')|list|length }}",
    "one hash": "{% set d = {" + ",".join(f"{n * (2**61 - 1)}: 1" for n in range(1, 3000)) + "} %}",
    "one hash, unique": "{{ [" + ",".join(f"{n * (2**61 - 1)}" for n in range(1, 3000)) + "]|unique|list }}",
    "hashed": "{% set a = (1,) %}" + "{% set a = (a, a) %}" * 60 + "{{ {a: 1} }}",
    "printed": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ a|string }}",
    "as a date": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ a|date }}",
    "as a key": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ 'a'[a] }}",
    "compared in a chain": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ 1 < 2 < a }}",
    "within": "{% set a = [1] %}{% set b = [1] %}"
    + "{% set a = [a, a] %}{% set b = [b, b] %}" * 60
    + "{{ a in [b] }}",
    "cut": "{% set a = x ~ x %}" + "{% if a[::-1] %}{% endif %}" * 300,
    "sorted": "{% set a = [" + "x," * 2000 + "] %}{{ a|sort|length }}",
    "wrapped": "{{ (x ~ x ~ x ~ x ~ x)|wordwrap(1) }}",
    "a long path": "{{ l|map(attribute='a" + ".a" * 1000 + "')|list }}",
    "a long number": "{% set a = ('f' * 20000)|int(0, 16) %}{{ a * a }}",
    "unpacked": "{% macro m() %}{{ varargs|length }}{% endmacro %}" + "{{ m(*l) }}" * 60,
}


@pytest.mark.parametrize("template", BOMBS.values(), ids=BOMBS.keys())
def test_what_would_hold_a_worker_up_is_refused_before_it_is_done(template: str) -> None:
    with pytest.raises(EmailError):
        CompiledTemplate(template, "text", TEXT).render({"x": "a" * 9_900, "l": ["a"] * 1000}, RenderBudget())


@pytest.mark.parametrize("name", ["method-bomb-body.html", "lock-preview.html"])
def test_a_value_that_grew_after_the_check_stops_only_its_own_copy(name: str) -> None:
    source = (CASES / name).read_text().replace("{{ x == y }}", "{% if n %}{{ x == y }}{% endif %}")
    renderer = MessageRenderer(email_of(source), ENVELOPE)
    loaded = {"x": "a" * 9_900, "n": "1"}
    with pytest.raises(EmailError, match="cannot be rendered"):
        renderer.render(COPY._replace(values=loaded))
    assert renderer.render(COPY._replace(values={"x": "b", "n": ""}))


def test_a_row_of_plain_values_ends_where_an_email_has_to() -> None:
    names = [f"v{number}" for number in range(150)]
    renderer = MessageRenderer(email_of(" ".join(f"{{{{ {name} }}}}" for name in names)), ENVELOPE)
    with pytest.raises(RenderTooLarge, match="larger than 1 MB"):
        renderer.render(COPY._replace(values=dict.fromkeys(names, "я" * 9_900)))


def test_a_long_link_is_rendered_in_the_limited_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from mailganer import rendering

    asked: list[str] = []
    real = rendering.render_process.ask
    monkeypatch.setattr(
        rendering.render_process, "ask", lambda task, **more: asked.append(task) or real(task, **more)
    )
    address = "https://shop.example.com/{{ city }}"
    email = email_of(f'<a href="{address}">a</a><a href="{address}{"{{ city }}" * 250}">b</a>')
    assert rendering.render_link(email, 1, {"city": "riga"}) == "https://shop.example.com/riga"
    assert asked == []
    assert rendering.render_link(email, 2, {"city": "riga"}) == "https://shop.example.com/riga" + "riga" * 250
    assert asked == ["link"]


def test_filters_get_what_they_ask_for() -> None:
    assert (
        CompiledTemplate("{{ ['a', 'b']|map('upper')|join('-') }}", "text", TEXT).render({}, RenderBudget())
        == "A-B"
    )
    assert CompiledTemplate("{{ [1]|tojson }}", "text", TEXT).render({}, RenderBudget()) == "[1]"
