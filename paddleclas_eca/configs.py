"""The configuration files that come with the package, and how they are named and read."""

from __future__ import annotations

import ast
import itertools
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError, suggestion
from .files import read_file

FOLDER = "ppcls_configs"
Config = dict[str, Any]
# The largest config file in bytes, the most values in it, and how deeply they may be nested.
_MAX_BYTES, _MAX_VALUES, _MAX_DEPTH = 16 << 20, 20_000, 64
_TOO_DEEP = "it is nested too deeply"
# Python takes minutes for millions of them, and refuses to print some thousands.
_MAX_DIGITS = 100
_WORDS = {"true": True, "false": False, "null": None}


def resource_root() -> Path:
    """The directory of ``ppcls_configs``: this package when installed, else the repository."""
    package = Path(__file__).resolve().parent
    return package if (package / FOLDER).is_dir() else package.parent


def list_configs() -> list[str]:
    """Names of the shipped configs, such as ``ECA_ResNet50`` and ``digits/ECA_ResNet18``."""
    folder = resource_root() / FOLDER
    return sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml"))


def find_config(given: str) -> Path:
    """The file that ``given`` stands for.

    Args:
        given: a path; or the name of a shipped config, with or without ``ppcls_configs/``
            and ``.yaml``. A file in the working directory comes first.

    Raises:
        UserError: there is no such file; the message names the configs most alike.
    """
    if os.path.isfile(given):  # which names that are too long do not make fail
        return Path(given)
    name = given.replace("\\", "/").removesuffix(".yaml").removeprefix("./")
    name = name.removeprefix(f"{FOLDER}/")
    names = list_configs()
    if name in names:
        return resource_root() / FOLDER / f"{name}.yaml"
    # Of the many configs in directories, only the directories are listed.
    folders = {f"{n.split('/')[0]}/..." if "/" in n else n: None for n in names}
    raise UserError(
        f"no config {given}: it is neither a file nor one of the shipped configs"
        + (suggestion(name, names) or f": {', '.join(folders)}")
    )


# With libyaml, which PyYAML's own wheels have: its parser takes seconds where that of pure Python
# takes minutes or, for many brackets, hours.
_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(yaml.composer.Composer, _Parser):
    """Reads YAML as PaddleClas does, within bounds, and refuses duplicate keys in a section.

    YAML forbids them; PyYAML silently takes the last. Nodes are counted with their aliases
    expanded: a few nested ones can stand for billions of values.
    """

    def __init__(self, text: str, most: int) -> None:
        _Parser.__init__(self, text)
        yaml.composer.Composer.__init__(self)
        self._most, self._depth, self._count = most, 0, 0
        # How many values a node stands for, and how deeply they are nested, once it is complete.
        self._sizes: dict[yaml.Node, tuple[int, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        event = self.peek_event()
        mark, alias = event.start_mark, isinstance(event, yaml.AliasEvent)
        self._depth += 1
        self._check(self._depth <= _MAX_DEPTH, _TOO_DEEP, mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._check(not alias or node in self._sizes, "an alias is of a part that it is in", mark)
        if not alias:
            parts = node.value if isinstance(node, yaml.CollectionNode) else ()
            if isinstance(node, yaml.MappingNode):
                parts = itertools.chain(*node.value)
            sizes = [self._sizes[part] for part in parts]
            size = 1 + sum(size for size, _ in sizes)
            depth = 1 + max((depth for _, depth in sizes), default=0)
            self._count += 1
            self._check(depth <= _MAX_DEPTH, _TOO_DEEP, mark)
            self._check(
                max(size, self._count) <= self._most,
                f"with its aliases, it has more than {self._most:,} values",
                mark,
            )
            self._sizes[node] = size, depth
        return node

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        # Here, not where the mapping is built: by then it has the keys that it merges, too.
        node = super().compose_mapping_node(anchor)
        seen: dict[tuple[str, str], yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                first = seen.setdefault((key.tag, key.value), key)
                self._check(
                    first is key,
                    f"the key {key.value} is in line {first.start_mark.line + 1}, too, and only "
                    f"one of the two would count",
                    key.start_mark,
                )
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        is_int = node.tag == "tag:yaml.org,2002:int"
        self._check(
            not is_int or len(node.value) <= _MAX_DIGITS,
            f"a number has more than {_MAX_DIGITS} digits",
            node.start_mark,
        )
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError, LookupError, AttributeError) as error:
            # Of values that do not fit their tags, such as `!!bool rose`, or 2001-13-01.
            text, kind = str(node.value)[:100], node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                problem=f"{text!r} is not of the type {kind} ({error})",
                problem_mark=node.start_mark,
            ) from error

    @staticmethod
    def _check(right: bool, problem: str, mark: yaml.Mark) -> None:
        if not right:
            raise yaml.composer.ComposerError(problem=problem, problem_mark=mark)


def load_yaml(path: str | os.PathLike[str], most: int = _MAX_VALUES) -> Config:
    """The content of a YAML file of sections, in which each alias has a value of its own.

    Args:
        path: the file.
        most: the most values, with aliases expanded.

    Raises:
        UserError: it cannot be read, is too large, too deeply nested or not valid YAML, has a key
            twice, or has no sections; the message names the line where there is one.
    """
    content = read_file(path, "a config", _MAX_BYTES)
    try:
        loader = _Loader(content.decode("utf-8"), most)
        config = _without_aliases(loader.get_single_data())
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}, line {line} is not valid YAML: it is not UTF-8 text ({error.reason}). Save "
            f"the file as UTF-8"
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(_yaml_problem(path, content, error)) from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is not a config: it must have sections such as Global and Arch")
    return config


def _without_aliases(value: Any) -> Any:
    """A copy in which each YAML alias has a value of its own, as overrides need it."""
    if isinstance(value, dict):
        return {key: _without_aliases(entry) for key, entry in value.items()}
    return [_without_aliases(entry) for entry in value] if isinstance(value, list) else value


def read_config(given: str, overrides: Sequence[str] = ()) -> tuple[Config, list[str]]:
    """A config with its overrides, read once for all that a command does with it.

    Args:
        given: a path or the name of a shipped config, see :func:`find_config`.
        overrides: ``KEY.KEY=VALUE`` options, see :func:`apply_overrides`.

    Returns:
        The config, and the remarks of :func:`apply_overrides`.

    Raises:
        UserError: there is no such config, it cannot be read, or an override does not fit it.
    """
    config = load_yaml(find_config(given))
    return config, apply_overrides(config, overrides)


def section(config: Any, *keys: str) -> Any:
    """The value at ``config[key][key]...``; None where a key or a section is missing."""
    for key in keys:
        config = config.get(key) if isinstance(config, dict) else None
    return config


def global_section(config: Config) -> Config:
    """The section ``Global``; an empty one where the config has none."""
    settings = config.get("Global")
    return settings if isinstance(settings, dict) else {}


def _yaml_problem(path: object, content: bytes, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f", line {mark.line + 1}" if mark else ""
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    if problem == "exceeded maximum nesting depth":  # libyaml's own limit
        problem = _TOO_DEEP
    if "cannot start any token" in problem:
        line = content.decode("utf-8-sig").splitlines()[mark.line]
        problem = f"{line[mark.column : mark.column + 1]!r} cannot start a value"
        if line[mark.column : mark.column + 1] == "\t":
            problem = "there is a tab, and YAML is indented with spaces. Replace it by spaces"
    return f"{path}{place} is not valid YAML: {problem}"


def parse_override(option: str) -> tuple[list[str], Any]:
    """Keys and value of ``KEY.KEY=VALUE``.

    The value is read as a Python literal (``0.1``, ``[3, 224, 224]``, ``True``, ``None``),
    or as YAML's ``true``, ``false`` and ``null``; all else is text. Nothing is executed.

    Raises:
        UserError: it does not have that form.
    """
    keys, separator, text = option.partition("=")
    path = keys.strip().split(".")
    if not separator or not all(path):
        raise UserError(f"-o {option}: give it as KEY=VALUE, such as -o Global.device=cpu")
    if text in _WORDS:
        return path, _WORDS[text]
    try:
        with warnings.catch_warnings():
            # Of escapes that Python does not know, such as in Windows paths.
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return path, text
    return path, value if _is_config_value(value) else text


def _is_config_value(value: Any) -> bool:
    """Whether a YAML file could hold it, which bytes, sets, `...` and complex numbers are not."""
    if isinstance(value, dict):
        return all(map(_is_config_value, [*value, *value.values()]))
    if isinstance(value, (list, tuple)):
        return all(map(_is_config_value, value))
    return value is None or isinstance(value, (bool, int, float, str))


def apply_overrides(config: dict[str, Any], options: Sequence[str]) -> list[str]:
    """Set ``KEY.KEY=VALUE`` options in a config, in place; a number as key indexes a list.

    Missing sections are created.

    Returns:
        A remark for each option that sets a key that the config does not have: it may be a typo.

    Raises:
        UserError: an option does not have that form, or leads through a value that is not a
            section.
    """
    remarks = []
    for option in options:
        keys, value = parse_override(option)
        here: Any = config
        new = False
        for depth, key in enumerate(keys):
            last = depth == len(keys) - 1
            if isinstance(here, list):
                if key not in map(str, range(len(here))):
                    place = f"{'.'.join(keys[:depth])} is a list of {len(here)} entries"
                    raise UserError(
                        f"-o {option}: {place}, so {key!r} must be a number from 0 to "
                        f"{len(here) - 1}"
                        if here
                        else f"-o {option}: {place}. Set the whole list"
                    )
                key = int(key)
            elif not isinstance(here, dict):
                raise UserError(
                    f"-o {option}: {'.'.join(keys[:depth])} is {here!r}, which has no {key!r}"
                )
            elif key not in here and not new:
                new = True
                remarks.append(
                    f"-o {option}: the config has no {'.'.join(keys[: depth + 1])} so far"
                    f"{suggestion(key, map(str, here))}"
                )
            if not last and isinstance(here, dict) and here.get(key) is None:
                here[key] = type(config)()
            if last:
                here[key] = value
            else:
                here = here[key]
    return remarks
