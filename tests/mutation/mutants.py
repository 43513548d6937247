"""The small changes that are made to a module: its mutants."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import attrs

__all__ = ["Mutant", "mutants_of"]

_PAIRS = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq)),
    *((ast.Is, ast.IsNot), (ast.In, ast.NotIn), (ast.And, ast.Or)),
    *((ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.BitAnd, ast.BitOr)),
)
SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    **dict(_PAIRS),
    **{right: left for left, right in _PAIRS},
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
REMOVABLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Raise, ast.Delete)
# Texts, types, and what only type checkers see.
SKIPPED = (ast.JoinedStr, ast.Import, ast.ImportFrom, ast.Assert)
SKIPPED_FIELDS = {"annotation", "returns", "decorator_list", "bases"}
SKIPPED_NAMES = {"TypeVar", "ParamSpec", "__repr__", "init", "repr", "eq", "slots"}
"""Calls, functions and keywords of these names."""
SHOWN = 70


@attrs.frozen
class Mutant:
    """A module with one change."""

    path: Path
    line: int
    column: int
    lines: range
    """Those of the statement that is changed."""

    change: str
    afresh: bool
    """Whether the change shows only when the module is imported, such as an option's default."""

    code: CodeType = attrs.field(repr=False)

    @property
    def source(self) -> str:
        """The line that is changed."""
        return self.path.read_text().splitlines()[self.line - 1].strip()


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Yield the mutants of a module, from top to bottom."""
    tree = ast.parse(path.read_text())
    for spot in _spots(tree):
        for new in _changes(spot.node, inside=spot.inside):
            old_text, new_text = _text(spot.node), _text(new)
            spot.put(ast.copy_location(new, spot.node))
            code = compile(ast.fix_missing_locations(tree), str(path), "exec")
            spot.put(spot.node)
            yield Mutant(
                path=path,
                line=spot.node.lineno,
                column=spot.node.col_offset + 1,
                lines=spot.lines,
                change=f"{old_text} -> {new_text}",
                afresh=not spot.inside,
                code=code,
            )


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.If | ast.While):
        return f"{'if' if isinstance(node, ast.If) else 'while'} {_text(node.test)}"
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


@attrs.frozen
class Spot:
    """A node that may be changed, and where it stands."""

    node: ast.expr | ast.stmt
    owner: ast.AST
    field: str
    index: int | None
    lines: range
    inside: bool
    """Whether it stands in the body of a function."""

    def put(self, node: ast.AST) -> None:
        """Put *node* where the own one stands."""
        if self.index is None:
            setattr(self.owner, self.field, node)
        else:
            getattr(self.owner, self.field)[self.index] = node


def _spots(
    owner: ast.AST,
    lines: range = range(0),
    inside: bool = False,
) -> Iterator[Spot]:
    for field, value in ast.iter_fields(owner):
        if field in SKIPPED_FIELDS or (isinstance(owner, ast.ClassDef) and field == "keywords"):
            continue
        within = inside
        if field == "body" and isinstance(
            owner, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
        ):
            within = True
        several = isinstance(value, list)
        for index, node in enumerate(value if several else [value]):
            if not isinstance(node, ast.AST) or _is_skipped(node):
                continue
            there = lines
            if isinstance(node, ast.stmt):
                there = range(node.lineno, _end_of_head(node) + 1)
            if isinstance(node, ast.expr | ast.stmt):
                yield Spot(node, owner, field, index if several else None, there, within)
            yield from _spots(node, there, within)


def _end_of_head(node: ast.stmt) -> int:
    body = getattr(node, "body", None)
    return body[0].lineno - 1 if body else node.end_lineno or node.lineno


def _is_skipped(node: ast.AST) -> bool:
    match node:
        case (
            ast.Expr(value=ast.Constant())
            | ast.Assign(targets=[ast.Name(id="__all__")])
            | ast.If(test=ast.Name(id="TYPE_CHECKING"))
            | ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="_LOG"))))
        ):
            return True
        case ast.Call(func=ast.Name(id=name)) | ast.FunctionDef(name=name) | ast.keyword(arg=name):
            return name in SKIPPED_NAMES
        case _:
            return isinstance(node, SKIPPED)


def _changes(node: ast.expr | ast.stmt, *, inside: bool) -> Iterator[ast.AST]:
    yield from _other_flow(node, inside=inside)
    yield from _other_values(node)


def _other_flow(node: ast.expr | ast.stmt, *, inside: bool) -> Iterator[ast.AST]:
    if inside and isinstance(node, REMOVABLE) and getattr(node, "value", node) is not None:
        yield ast.Pass()
    match node:
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.If() | ast.IfExp():
            yield from _with(node, "test", ast.Constant(True), ast.Constant(False))
        case ast.While():
            yield from _with(node, "test", ast.Constant(False))
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()


def _other_values(node: ast.expr | ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Name(id=name) if name in NAMES:
            yield ast.Name(NAMES[name], node.ctx)
        case ast.Constant(value=value):
            yield from _other_constants(value)
        case ast.Call(keywords=keywords) if any(each.arg == "validator" for each in keywords):
            yield from _with(
                node, "keywords", [each for each in keywords if each.arg != "validator"]
            )
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                yield from _with(
                    node, "ops", [*ops[:index], SWAPPED[type(op)](), *ops[index + 1 :]]
                )
        case ast.BoolOp(op=op) | ast.BinOp(op=op) | ast.AugAssign(op=op):
            if type(op) in SWAPPED and not _is_type(node):
                yield from _with(node, "op", SWAPPED[type(op)]())


def _other_constants(value: object) -> Iterator[ast.Constant]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
        if value:
            yield ast.Constant(0)


def _is_type(node: ast.AST) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in {"int", "float", "str", "bytes"} or (
                name[:1].isupper() and not name.isupper()
            )
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return _is_type(left) or _is_type(right)
        case _:
            return False


def _with(node: ast.AST, field: str, *values: object) -> Iterator[ast.AST]:
    for value in values:
        other = copy.copy(node)
        setattr(other, field, value)
        yield other
