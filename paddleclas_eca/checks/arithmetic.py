"""Arithmetic in text, computed without executing anything."""

from __future__ import annotations

import ast
import math
import operator
from typing import Any

MAX_LENGTH = 200
_MAX_EXPONENT = 64
_MAX_NUMBER = 1e100
_OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


def evaluate(text: str) -> Any:
    """The value of an arithmetic expression, or of a list or tuple of such; nothing is executed.

    Raises:
        ValueError: it has anything but numbers, ``+ - * / **`` and brackets, or is out of bounds.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"it has more than {MAX_LENGTH} characters")
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, MemoryError, RecursionError) as wrong:
        raise ValueError("it is not arithmetic") from wrong
    except (ArithmeticError, TypeError) as wrong:
        raise ValueError(f"{wrong}") from wrong


def _value(node: ast.expr) -> Any:
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [_value(entry) for entry in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        result = node.value
    elif isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATIONS:
        result = _OPERATIONS[type(node.op)](_value(node.operand))
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = _value(node.left), _value(node.right)
        if isinstance(left, (list, tuple)) or isinstance(right, (list, tuple)):
            raise ValueError("it computes with lists")
        if isinstance(node.op, ast.Pow) and abs(right) > _MAX_EXPONENT:
            raise ValueError(f"its exponent is beyond {_MAX_EXPONENT}")
        result = _OPERATIONS[type(node.op)](left, right)
    else:
        raise ValueError("it is not arithmetic")
    if isinstance(result, complex) or not math.isfinite(result) or abs(result) > _MAX_NUMBER:
        raise ValueError("its value is not a number that can be used")
    return result
