"""Settings of the ranks of a job are compared."""

from __future__ import annotations

import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.training.agreement import check_same


def test_equal_settings_are_right():
    check_same([{"a": "1", "b": "2"}, {"b": "2", "a": "1"}])
    check_same([{}])


def test_each_difference_is_named_with_its_ranks():
    with pytest.raises(UserError) as raised:
        check_same([{"a": "1", "b": "2"}, {"a": "3", "b": "2"}, {"a": "1", "b": "2", "c": "4"}])
    message = str(raised.value)
    assert "a is 1 on ranks 0, 2 and 3 on rank 1" in message
    assert "c is not set on ranks 0, 1 and 4 on rank 2" in message
    assert "b is" not in message


def test_many_differences_are_counted():
    with pytest.raises(UserError, match="and 94 more"):
        check_same([{str(i): "1" for i in range(100)}, {}])
