"""Insertion of charges to the render budget into a template's syntax tree."""

from typing import Any, cast

from jinja2 import nodes, pass_context
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer

from ..errors import EmailError, _
from . import operation_charges, sandbox_operations
from .operation_charges import ITEM
from .render_budget import budget_of


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


# By filter name. They trust their arguments, so a source may not use them itself.
INNER_FILTERS = {
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


class HardeningTransformer(NodeTransformer):
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
