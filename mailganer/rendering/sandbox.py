"""Template sandbox: Jinja2 without anything that could reach outside an email or run without limit.

``check`` reports errors of a source in the user's terms; ``CompiledTemplate`` is a compiled source. Both are
safe with untrusted text within the limits of ``render_budget``; memory and time of compiling itself are
bounded by the limited process that every template passes first.
"""

import math
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from jinja2 import TemplateSyntaxError, nodes
from jinja2.environment import Template
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..errors import EmailError, _
from . import render_budget, sandbox_attributes, sandbox_filters, sandbox_operations
from .operation_charges import ITEM, Method
from .render_budget import RenderBudget, RenderTooLarge, budget_of
from .sandbox_hardening import INNER_FILTERS, HardeningTransformer
from .sandbox_syntax import syntax_error

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
        self.filters.update(INNER_FILTERS)
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
        # Called by ``map("...")``. Not for the internal filters: they trust their arguments.
        if name in INNER_FILTERS:
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
        raise EmailError(_("The text is longer than 0.5 MB. Email apps would not show all of it."), field)
    try:
        tree = environment.parse(source)
    except TemplateSyntaxError as error:
        raise syntax_error(error, field) from None
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
            tree = HardeningTransformer().visit(tree)
            code = environment.compile(tree.set_environment(environment), field, f"<{field}>")
        except TemplateSyntaxError as error:
            raise syntax_error(error, field) from None
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
