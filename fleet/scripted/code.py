"""How scripted models trace a program: statement by statement, in their heads, never by running it."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from fleet.scripted.mind import Lost, Mind

MOST_STATEMENTS = 500
LARGEST = 10**12
_FENCED = re.compile(r"```(?:python)?\n(.*?)```", re.DOTALL)
_BARE = re.compile(r"^(?:def |\w+ = |for |while ).*^print\(.*?\)$", re.DOTALL | re.MULTILINE)
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def program(text: str, mind: Mind) -> str | None:
    """What a program in the text prints."""
    found = _FENCED.search(text) or _BARE.search(text)
    if found is None or "print(" not in found[0]:
        return None
    mind.needs("code")
    try:
        lines = ast.parse(found[1] if found.re is _FENCED else found[0]).body
    except SyntaxError:
        raise Lost("this does not parse") from None
    tracer = _Tracer(mind)
    tracer.run(lines, {})
    if not tracer.printed:
        raise Lost("nothing is printed")
    return tracer.printed[-1]


class _Return(Exception):  # noqa: N818
    def __init__(self, value: Any) -> None:
        self.value = value


class _Tracer:
    def __init__(self, mind: Mind) -> None:
        self.mind = mind
        self.printed: list[str] = []
        self._functions: dict[str, ast.FunctionDef] = {}
        self._open: list[str] = []
        self._left = MOST_STATEMENTS

    def run(self, body: list[ast.stmt], names: dict[str, Any]) -> None:
        for statement in body:
            self._left -= 1
            if self._left < 0:
                raise Lost("too long")
            self._run(statement, names)

    def _run(self, statement: ast.stmt, names: dict[str, Any]) -> None:  # noqa: PLR0912  one case a statement
        match statement:
            case ast.FunctionDef():
                self._functions[statement.name] = statement
            case ast.Assign(targets=[ast.Name(id=name)]):
                names[name] = self._value(statement.value, names)
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name), slice=index)]):
                names[name][self._value(index, names)] = self._value(statement.value, names)
                self._attend(names[name])
            case ast.AugAssign(target=ast.Name(id=name)):
                names[name] = self._calculated(statement.op, names[name], self._value(statement.value, names))
            case ast.If():
                self.run(statement.body if self._value(statement.test, names) else statement.orelse, names)
            case ast.For(target=ast.Name(id=name)):
                self.mind.needs("loops")
                if any(isinstance(inner, ast.For) for inner in statement.body):
                    self.mind.needs("nested loops")
                for value in self._value(statement.iter, names):
                    names[name] = value
                    self.run(statement.body, names)
            case ast.While():
                self.mind.needs("loops", "while loops")
                while self._value(statement.test, names):
                    self.run(statement.body, names)
            case ast.Return(value=value) if value is not None:
                raise _Return(self._value(value, names))
            case ast.Expr(value=value):
                self._value(value, names)
            case _:
                raise Lost("an unknown statement")

    def _value(self, node: ast.expr, names: dict[str, Any]) -> Any:  # noqa: PLR0911  one case an expression
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return names[name]
            case ast.List(elts=elements):
                return [self._value(element, names) for element in elements]
            case ast.BinOp(left=left, op=op, right=right):
                return self._calculated(op, self._value(left, names), self._value(right, names))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
                return _COMPARISONS[type(op)](self._value(left, names), self._value(right, names))
            case ast.Subscript(
                value=value, slice=ast.Slice(lower=ast.Constant(value=start), upper=None, step=None)
            ):
                kept = self._value(value, names)[start:]
                self._attend(kept)
                return kept
            case ast.Subscript(value=value, slice=index):
                return self._value(value, names)[self._value(index, names)]
            case ast.Call(func=ast.Attribute(value=value, attr=method), args=arguments):
                return self._changed(
                    self._value(value, names), method, [self._value(a, names) for a in arguments]
                )
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return self._called(name, [self._value(a, names) for a in arguments])
        raise Lost("an unknown expression")

    def _calculated(self, op: ast.operator, a: Any, b: Any) -> int:
        if max(abs(a), abs(b)) > LARGEST:
            raise Lost("too large")
        match op:
            case ast.Add():
                return int(self.mind.add(Fraction(a), Fraction(b)))
            case ast.Sub():
                return int(self.mind.subtract(Fraction(a), Fraction(b)))
            case ast.Mult():
                return int(self.mind.multiply(Fraction(a), Fraction(b)))
            case ast.FloorDiv():
                self.mind.needs("divide")
                return int(self.mind.divide(Fraction(a), Fraction(b)))
            case ast.Mod():
                return int(a % b)
        raise Lost("an unknown operation")

    def _changed(self, values: list[int], method: str, arguments: list[int]) -> int | None:
        if method not in ("append", "insert", "pop", "reverse", "sort"):
            raise Lost(method)
        self.mind.needs("lists in code")
        result: int | None = getattr(values, method)(*arguments)
        self._attend(values)
        return result

    def _attend(self, values: list[int]) -> None:
        """A change of a list is a step; when it slips, the list is remembered wrong."""
        self.mind.note(f"now {values}")
        if not self.mind.step() and len(values) > 1:
            at = self.mind.rng.randrange(len(values) - 1)
            values[at], values[at + 1] = values[at + 1], values[at]

    def _called(self, name: str, arguments: list[Any]) -> Any:
        if name == "print":
            self.printed.append(" ".join(map(str, arguments)))
            return None
        if name == "range":
            return range(*arguments)
        if name == "sum":
            self.mind.needs("lists in code")
            if len(arguments[0]) > MOST_STATEMENTS:
                raise Lost("too long")
            total = Fraction(0)
            for value in arguments[0]:
                total = self.mind.add(total, Fraction(value)) if total else Fraction(value)
            return int(total)
        if name not in self._functions:
            raise Lost(name)
        if name in self._open:
            self.mind.needs("recursion")
        self._open.append(name)
        function = self._functions[name]
        try:
            self.run(function.body, {a.arg: v for a, v in zip(function.args.args, arguments, strict=True)})
        except _Return as returned:
            return returned.value
        finally:
            self._open.pop()
        return None


SOLVERS = (program,)
