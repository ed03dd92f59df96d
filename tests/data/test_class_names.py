from __future__ import annotations

import pytest

from paddleclas_eca.data.class_names import read_class_names
from paddleclas_eca.errors import UserError


def test_names_by_id(tmp_path):
    file = tmp_path / "names.txt"
    file.write_bytes("\ufeff2 red rose\r\n\r\n 0 tulip \n7\n".encode())
    assert read_class_names(file) == {2: "red rose", 0: "tulip", 7: "7"}
    file.write_text("2,red, rose\n")
    assert read_class_names(file, ",") == {2: "red, rose"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rose 1", "line 2 is 'rose 1'"),
        ("0 lily", "line 2: class 0 already has a name"),
        ("\u00b2 lily", "line 2 is '\u00b2 lily'"),
        ("-1 lily", "line 2 is '-1 lily'"),
        ("\udcff", "is not UTF-8 text"),
    ],
)
def test_lines_that_are_not_id_and_name(tmp_path, line, message):
    file = tmp_path / "names.txt"
    file.write_bytes(f"0 tulip\n{line}\n".encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=f"{file}.*{message}"):
        read_class_names(file)
