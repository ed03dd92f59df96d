"""Files of class names: a line ``ID NAME`` per class, as PaddleClas's ``class_id_map_file``."""

from __future__ import annotations

import os

from ..errors import UserError
from ..files import read_file

# ImageNet-21k's names have less than 1 MB.
_LIMIT = 2**24


def read_class_names(path: str | os.PathLike[str], delimiter: str | None = None) -> dict[int, str]:
    """The names of classes by their ids; a class without a name is named by its id.

    Args:
        path: the file, in UTF-8; blank lines are ignored.
        delimiter: what separates id and name; a space by default. A name may contain it.

    Raises:
        UserError: the file cannot be read, a line is not ``ID NAME``, or a class has two names.
    """
    try:
        lines = read_file(path, "class names", _LIMIT).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error}). Save it as UTF-8") from error
    names: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        class_id, _, name = line.strip().partition(delimiter or " ")
        class_id = class_id.strip()
        if not line.strip():
            continue
        # PaddleClas's int() would also take signs and other digits, which number no class.
        if not (class_id.isascii() and class_id.isdigit() and len(class_id) <= 9):
            raise UserError(
                f"{path}, line {number} is {line[:100]!r}; write `ID NAME`, such as `3 rose`"
            )
        if int(class_id) in names:
            raise UserError(f"{path}, line {number}: class {class_id} already has a name")
        names[int(class_id)] = name.strip() or class_id
    return names
