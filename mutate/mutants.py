"""Mutants of a module: its source with one small change that some test should notice. Pure.

Left alone are texts for people (f-strings, what is raised), docstrings, annotations, decorators,
imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], ast.cmpop] = {
    ast.Lt: ast.LtE(), ast.LtE: ast.Lt(), ast.Gt: ast.GtE(), ast.GtE: ast.Gt(),
    ast.Eq: ast.NotEq(), ast.NotEq: ast.Eq(), ast.Is: ast.IsNot(), ast.IsNot: ast.Is(),
    ast.In: ast.NotIn(), ast.NotIn: ast.In(),
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], ast.operator] = {
    ast.Add: ast.Sub(), ast.Sub: ast.Add(), ast.Mult: ast.Add(), ast.Div: ast.Mult(),
    ast.FloorDiv: ast.Mult(), ast.Mod: ast.Add(), ast.LShift: ast.RShift(),
    ast.RShift: ast.LShift(), ast.BitOr: ast.BitAnd(), ast.BitAnd: ast.BitOr(),
    ast.BitXor: ast.BitOr(),
}  # fmt: skip
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_METHODS = {"startswith": "endswith", "endswith": "startswith", "partition": "rpartition",
            "rpartition": "partition", "find": "rfind", "rfind": "find"}  # fmt: skip
_DROPPED = {"lower", "upper", "strip", "lstrip", "rstrip", "copy", "casefold"}
"""Methods whose call is left out: the value stays as it was."""
_LEFT_ALONE = ("annotation", "returns", "decorator_list")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change. ``source``: of the whole module, changed; ``before``, ``after``: the change.

    ``statement``: the first line of the statement with the change.
    """

    line: int
    statement: int
    before: str
    after: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """The mutants of a module, by line."""
    tree = ast.parse(source)
    statements = _statement_lines(tree)
    found: dict[str, Mutant] = {}
    for node, after, shown in _changes(tree):
        changed = _spliced(source, node, after)
        before = ast.get_source_segment(source, node) or ""
        if _compiles(changed):
            texts = (_short(before), _short(shown or after))
            found.setdefault(changed, Mutant(node.lineno, statements[node], *texts, changed))
    return sorted(found.values(), key=lambda mutant: mutant.line)


def _statement_lines(tree: ast.AST) -> dict[ast.AST, int]:
    """For each node, the first line of its statement."""
    found: dict[ast.AST, int] = {tree: 0}
    # Breadth first: a parent is there before its children.
    for parent in ast.walk(tree):
        for child in ast.iter_child_nodes(parent):
            found[child] = child.lineno if isinstance(child, ast.stmt) else found[parent]
    return found


Change = tuple[ast.expr | ast.stmt, str, str]
"""What is replaced, by which text, and how the change is shown; empty for the text itself."""


def _changes(tree: ast.AST) -> Iterator[Change]:
    for node in _interesting(tree):
        if isinstance(node, ast.expr):
            for changed in _expressions(node):
                text = ast.unparse(changed)
                yield node, f"({text})", text
        elif isinstance(node, ast.stmt):
            yield from ((node, text, "") for text in _statements(node))
        for condition in _conditions(node):
            text = ast.unparse(condition)
            yield condition, f"(not ({text}))", f"not {text}"


def _interesting(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree, without those that are left alone."""
    yield tree
    # An error may go, but its text is for people.
    fields = () if isinstance(tree, ast.Raise) else ast.iter_fields(tree)
    for name, value in fields:
        if name in _LEFT_ALONE:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_left_alone(child):
                yield from _interesting(child)


def _is_left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom)


def _expressions(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left, ops, comparators):
            for at, op in enumerate(ops):
                changed = [*ops[:at], _COMPARISONS[type(op)], *ops[at + 1 :]]
                yield ast.Compare(left, changed, comparators)
        case ast.BoolOp(op, values):
            # A condition left out.
            for at in range(len(values)):
                rest = [*values[:at], *values[at + 1 :]]
                yield ast.BoolOp(op, rest) if len(rest) > 1 else rest[0]
        case ast.BinOp(left, operator, right) if type(operator) in _OPERATORS:
            if not any(_is_text(side) for side in (left, right)):
                yield ast.BinOp(left, _OPERATORS[type(operator)], right)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.Constant(value):
            yield from _constants(value)
        case ast.Call(ast.Name(name), args, keywords) if name in _NAMES:
            yield ast.Call(ast.Name(_NAMES[name]), args, keywords)
        case ast.Call(ast.Attribute(value, name), args, keywords):
            if name in _METHODS:
                yield ast.Call(ast.Attribute(value, _METHODS[name]), args, keywords)
            elif name in _DROPPED:
                yield value


def _constants(value: object) -> Iterator[ast.expr]:
    match value:
        case bool():
            yield ast.Constant(not value)
        case int():
            yield ast.Constant(value + 1)
        case float():
            yield ast.Constant(value + 1)
        case str():
            yield ast.Constant("" if value else "mutant")
        case bytes():
            yield ast.Constant(b"" if value else b"mutant")


def _is_text(node: ast.expr) -> bool:
    """Whether an operand is a text: - in place of + would be noticed by whatever runs it."""
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def _statements(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.Expr(ast.Call() | ast.Await()) | ast.Raise() | ast.AugAssign():
            yield "pass"
        case ast.Return(value) if value is not None and not isinstance(value, ast.Constant):
            yield "return None"
        case ast.Break():
            yield "continue"
        case ast.Continue():
            yield "break"


def _conditions(node: ast.AST) -> Iterator[ast.expr]:
    """Conditions to turn round: those that no other change does it to."""
    found: list[ast.expr] = []
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        found = [node.test]
    elif isinstance(node, ast.comprehension):
        found = node.ifs
    yield from (
        test
        for test in found
        if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant)
    )


def _spliced(source: str, node: ast.expr | ast.stmt, text: str) -> str:
    """The source with a text in place of a node."""
    lines = source.encode().splitlines(keepends=True)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
    after = lines[node.end_lineno - 1][node.end_col_offset :] + b"".join(lines[node.end_lineno :])
    return (before + text.encode() + after).decode()


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _short(text: str) -> str:
    """On one line that fits into a table."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
