from __future__ import annotations

import pytest

from paddleclas_eca.models.layers import matching


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a.0.c", ["a.0.c"]),
        ("a[0].c", ["a.0.c"]),
        ("a[*].c", ["a.0.c", "a.1.c"]),
        ("a.*.c", ["a.0.c", "a.1.c"]),
        ("a.?.?", ["a.0.c", "a.1.c", "a.1.d"]),
        ("a.??.d", ["a.10.d"]),
        ("a.*", ["a.0", "a.1"]),
        ("*.c", []),
        ("**.c", ["a.0.c", "a.1.c", "b_1_0.x.c"]),
        ("b_*_0.x", ["b_1_0.x"]),
        ("a.0.c.d", []),
        ("a+0.c", []),
        ("", []),
    ],
)
def test_patterns_of_sublayers(pattern, found):
    names = ["a", "a.0", "a.0.c", "a.1", "a.1.c", "a.1.d", "a.10.d", "b_1_0.x", "b_1_0.x.c"]
    assert matching(pattern, names) == found
