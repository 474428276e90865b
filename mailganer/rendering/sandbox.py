"""Template sandbox: Jinja2 without anything that could reach outside an email or run without limit.

``check`` reports errors of a source in the user's terms; ``CompiledTemplate`` is a compiled source. Both are
safe with untrusted text within the limits of ``render_budget``; memory and time of compiling itself are
bounded by the limited process that every template passes first.
"""

import math
import re
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, cast

from jinja2 import TemplateSyntaxError, nodes, pass_context
from jinja2.environment import Template
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from ..errors import EmailError, _
from . import operation_charges, render_budget, sandbox_attributes, sandbox_filters, sandbox_operations
from .operation_charges import ITEM, Method
from .render_budget import RenderBudget, RenderTooLarge, budget_of

TOO_LARGE = _("A number is too large.")
_OF_COMPILER = frozenset(("_loop_vars", "_block_vars"))


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2 environment of emails. ``html``: whether values are escaped."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))
    intercepted_unops = frozenset(("+", "-"))

    def __init__(self, *, html: bool) -> None:
        super().__init__(
            autoescape=html,
            undefined=sandbox_operations.Missing,
            finalize=self.printing(),
            # Nothing is evaluated while compiling: a constant expression can be huge, too.
            optimized=False,
            cache_size=0,
            keep_trailing_newline=True,
        )
        self.globals.clear()
        self.filters.clear()
        self.filters.update(sandbox_filters.FILTERS)
        self.filters.update(_INNER)
        self.tests.clear()
        self.tests.update(sandbox_filters.TESTS)

    def printing(self) -> Any:
        return sandbox_operations.finalize

    def getattr(self, obj: Any, attribute: str) -> Any:
        return sandbox_attributes.attribute(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, str):
            return sandbox_attributes.attribute(obj, argument)
        try:
            return obj[argument]
        except (TypeError, LookupError):
            return sandbox_operations.Missing(obj=obj, name="")

    def call_filter(self, name: str, *args: Any, **kwargs: Any) -> Any:
        # Called by ``map("...")``. Not the internal filters of ``_Harden``: they trust their arguments.
        if name in _INNER:
            raise EmailError(_("Emails have no filter “${name}”.", mapping={"name": name}))
        return super().call_filter(name, *args, **kwargs)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        if isinstance(obj, Method):
            # These come from the compiler and are meant for macros.
            given = {name: value for name, value in kwargs.items() if name not in _OF_COMPILER}
            return sandbox_attributes.call(context, obj, args, given)
        budget_of(context).charge(ITEM * (len(args) + len(kwargs)))
        return super().call(context, obj, *args, **kwargs)

    def is_safe_callable(self, obj: Any) -> bool:
        return sandbox_attributes.callable_in_emails(obj)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        return sandbox_operations.calculate(context, operator, left, right)

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        return sandbox_operations.calculate(context, operator, 0, arg)


# --- functions that the hardened tree calls


@pass_context
def _iteration(context: Context, constant: int) -> str:
    """Count one more iteration of a loop or call of a macro, and its constant text once more."""
    run = budget_of(context)
    run.step()
    run.charge_output(constant)
    return ""


@pass_context
def _iterate(context: Context, value: Any) -> Any:
    if sandbox_operations.is_missing(value):
        return ()
    if isinstance(value, dict):
        value = list(value)
    if not isinstance(value, str | list | tuple | type({}.items()) | type({}.keys()) | type({}.values())):
        raise EmailError(_("A loop needs a list to iterate over."))
    budget_of(context).step(len(value))
    return value


@pass_context
def _concat(context: Context, first: Any, *others: Any) -> str:
    return sandbox_operations.join_texts(context, (first, *others))


@pass_context
def _compare(context: Context, first: Any, *signs_and_others: Any) -> bool:
    """Evaluate ``first < second <= third``: every pair of neighbours is compared."""
    run, left = budget_of(context), first
    for sign, right in zip(signs_and_others[::2], signs_and_others[1::2], strict=True):
        if not sandbox_operations.compare(run, left, sign, right):
            return False
        left = right
    return True


@pass_context
def _loop_condition(context: Context, value: Any) -> Any:
    """Charge for the filter condition of a loop, which is evaluated for each item."""
    budget_of(context).charge(ITEM)
    return value


@pass_context
def _item(context: Context, value: Any, argument: Any) -> Any:
    run = budget_of(context)
    run.charge(ITEM) if isinstance(argument, str | int) else operation_charges.weigh(run, argument)
    return context.environment.getitem(value, argument)


@pass_context
def _slice(context: Context, value: Any, start: Any, stop: Any, step: Any) -> Any:
    run = budget_of(context)
    run.charge(len(value) if isinstance(value, str) else operation_charges.weigh(run, value))
    return operation_charges.charge_result(run, value[start:stop:step])


@pass_context
def _dict(context: Context, keys: list[Any], values: list[Any]) -> dict[Any, Any]:
    operation_charges.charge_hashing(budget_of(context), keys)
    return dict(zip(keys, values, strict=True))


@pass_context
def _unpacked(context: Context, values: Any) -> Any:
    """Charge for arguments after ``*`` or ``**``."""
    run = budget_of(context)
    if sandbox_operations.is_missing(values):
        return ()
    operation_charges.weigh(run, values)
    run.step(len(values) if isinstance(values, str | list | tuple | dict) else 0)
    return values


_INNER = {
    "_iteration": _iteration,
    "_iterate": _iterate,
    "_concat": _concat,
    "_compare": _compare,
    "_loop_condition": _loop_condition,
    "_item": _item,
    "_slice": _slice,
    "_dict": _dict,
    "_unpacked": _unpacked,
}


class _Harden(NodeTransformer):
    """Inserts the charges to the ``RenderBudget`` into a syntax tree."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.iter = _filter(cast(nodes.Expr, node.iter), "_iterate")
        node.test = _filter(cast(nodes.Expr, node.test), "_loop_condition") if node.test else None
        node.body.insert(0, _iteration_of(node))
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:
        self.generic_visit(node)
        node.body.insert(0, _iteration_of(node))
        return node

    visit_CallBlock = visit_Macro

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        first, *others = node.nodes
        return _filter(first, "_concat", *others)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        others = [part for each in node.ops for part in (nodes.Const(each.op), each.expr)]
        return _filter(node.expr, "_compare", *others)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return _filter(node.node, "_item", node.arg)
        edges = (node.arg.start, node.arg.stop, node.arg.step)
        return _filter(node.node, "_slice", *(edge or nodes.Const(None) for edge in edges))

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        keys, values = [pair.key for pair in node.items], [pair.value for pair in node.items]
        return _filter(nodes.List(keys, lineno=node.lineno), "_dict", nodes.List(values, lineno=node.lineno))

    def visit_Call(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        for name in ("dyn_args", "dyn_kwargs"):
            given = getattr(node, name)
            setattr(node, name, _filter(given, "_unpacked") if given else None)
        return cast(nodes.Node, node)

    visit_Filter = visit_Call
    visit_Test = visit_Call


def _filter(node: nodes.Expr, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


def _iteration_of(node: nodes.For | nodes.Macro) -> nodes.Output:
    constant = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
    return nodes.Output([_filter(nodes.Const(constant), "_iteration")], lineno=node.lineno)


# --- what a source may contain

_FORBIDDEN: tuple[type[nodes.Node], ...] = (
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.Extends,
    nodes.Block,
)


def check(source: str, field: str, environment: Sandbox) -> nodes.Template:
    """Return the syntax tree of a user's source. Raises ``EmailError`` with the line."""
    if len(source) > render_budget.SOURCE:
        raise EmailError(_("The text is longer than 0.5 MB. Email apps do not show that much."), field)
    try:
        tree = environment.parse(source)
    except TemplateSyntaxError as error:
        raise _in_words(error, field) from None
    for node in tree.find_all(nodes.Node):
        problem = _problem(node, environment, tree)
        if problem:
            raise EmailError(problem, field, node.lineno)
    return tree


def _problem(node: nodes.Node, environment: Sandbox, tree: nodes.Template) -> str | None:
    if isinstance(node, nodes.Const) and isinstance(node.value, float) and not math.isfinite(node.value):
        return TOO_LARGE
    if isinstance(node, _FORBIDDEN):
        return _("An email cannot include or extend another.")
    if isinstance(node, nodes.For) and node.recursive:
        return _("A loop cannot be recursive in an email.")
    if isinstance(node, nodes.Filter) and (node.name not in sandbox_filters.FILTERS):
        return _("Emails have no filter “${name}”.", mapping={"name": node.name})
    if isinstance(node, nodes.Test) and node.name not in environment.tests:
        return _("Emails have no test “${name}”.", mapping={"name": node.name})
    if isinstance(node, nodes.Name) and (node.name.startswith("_") or node.name == "self"):
        return _("The name “${name}” cannot be used in emails.", mapping={"name": node.name})
    if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        return _("The name “${name}” cannot be used in emails.", mapping={"name": node.attr})
    if (
        isinstance(node, nodes.Call)
        and isinstance(node.node, nodes.Name)
        and node.node.name not in _made(tree)
    ):
        return _("Emails have no function “${name}”.", mapping={"name": node.node.name})
    return None


def _made(tree: nodes.Template) -> set[str]:
    """Return names that the source itself defines: set, loops, macros and their arguments."""
    names = {name.name for name in tree.find_all(nodes.Name) if name.ctx in ("store", "param")}
    names |= {macro.name for macro in tree.find_all(nodes.Macro)}
    return names | {"caller", "loop"} if names else {"caller"}


_SYNTAX: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"Encountered unknown tag '(?P<name>[^']*)'"), _("Emails have no tag “${name}”.")),
    (re.compile(r"No filter named '(?P<name>[^']*)'"), _("Emails have no filter “${name}”.")),
    (re.compile(r"No test named '(?P<name>[^']*)'"), _("Emails have no test “${name}”.")),
    (
        re.compile(
            r"needs to be closed is '(?P<name>\w+)'",
            re.S | re.I,
        ),
        _("“{% ${name} %}” is not closed."),
    ),
    (
        re.compile(r"unexpected char '(?P<name>[“”„‟«»‹›‘’‚‛″′`´])' at \d+"),
        _('${name} cannot be used as a quotation mark in code. Use straight quotes: "...".'),
    ),
    (re.compile(r"unexpected char (?P<name>.+) at \d+"), _("The character ${name} is not allowed here.")),
    (
        re.compile(r"unexpected end of template|unexpected 'end of template'", re.I),
        _("The email ends too early: a tag or bracket is not closed."),
    ),
    (re.compile(r"unexpected '(?P<name>[^']*)'"), _("“${name}” is not allowed here.")),
    (
        re.compile(r"expected token '(?P<other>[^']*)', got '(?P<name>[^']*)'"),
        _("“${name}” is not allowed here."),
    ),
    (
        re.compile(r"Missing end of (?:comment|raw) "),
        _("The email ends too early: a tag or bracket is not closed."),
    ),
)


def _in_words(error: TemplateSyntaxError, field: str) -> EmailError:
    message = error.message or ""
    for pattern, sentence in _SYNTAX:
        if match := pattern.search(message):
            groups = match.groupdict()
            name = groups.get("name") or groups.get("other") or ""
            reported = sentence % {"name": name[:40]} if "${name}" in sentence else sentence
            return EmailError(reported, field, error.lineno)
    return EmailError(
        _("This cannot be parsed: ${reason}", mapping={"reason": message[:200]}), field, error.lineno
    )


# --- compiled templates


class CompiledTemplate:
    """One compiled source, or a ``part`` of it. Rendering raises ``EmailError``, never anything else."""

    def __init__(
        self, source: str, field: str, environment: Sandbox, part: nodes.Template | None = None
    ) -> None:
        self.field = field
        self.source = source
        try:
            tree = part or environment.parse(source)
            self.captures = captures(tree)
            tree = _Harden().visit(tree)
            code = environment.compile(tree.set_environment(environment), field, f"<{field}>")
        except TemplateSyntaxError as error:
            raise _in_words(error, field) from None
        except (RecursionError, MemoryError, SyntaxError):
            raise RenderTooLarge(render_budget.DEEP) from None
        self._template = Template.from_code(environment, code, {})

    def render(self, values: Mapping[str, object], run: RenderBudget) -> str:
        """Render. ``values`` are plain texts, numbers, dates, dicts and lists. Raises ``EmailError``."""
        try:
            return "".join(self.pieces(values, run))
        except Exception as error:
            raise self.failed(error) from None

    def pieces(self, values: Mapping[str, object], run: RenderBudget) -> Iterator[str]:
        """Yield the rendered text in pieces; pass any exception it raises to ``failed``."""
        # Shared, because there are no globals to copy together with the values, which are a copy already.
        context = self._template.new_context({**values, "_run": run}, shared=True)
        return self._template.root_render_func(context)

    def failed(self, error: Exception) -> EmailError:
        """Return the error of a rendering with field and line. Any exception here is the email's fault."""
        if isinstance(error, EmailError):
            reported = error
        elif isinstance(error, RecursionError | MemoryError):
            reported = RenderTooLarge(render_budget.DEEP)
        elif isinstance(error, ZeroDivisionError):
            reported = EmailError(_("Division by zero."))
        elif isinstance(error, OverflowError):
            reported = EmailError(TOO_LARGE)
        else:
            reason = str(error)[:200] or type(error).__name__
            reported = EmailError(_("This cannot be computed: ${reason}", mapping={"reason": reason}))
        reported.field = self.field
        reported.line = reported.line or self._line(error.__traceback__)
        return reported

    def _line(self, traceback: TracebackType | None) -> int | None:
        line = None
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == f"<{self.field}>":
                line = self._template.get_corresponding_lineno(traceback.tb_lineno)
            traceback = traceback.tb_next
        return line


def captures(tree: nodes.Template) -> bool:
    """Return whether rendered text is stored or transformed inside the template, rather than only output."""
    return any(tree.find_all((nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.AssignBlock)))


TEXT = Sandbox(html=False)
HTML = Sandbox(html=True)
