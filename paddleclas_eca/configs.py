"""The configuration files that come with the package, and how they are named and read."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError, suggestion
from .files import read_file

FOLDER = "ppcls_configs"
Config = dict[str, Any]
# The largest config file, and the most values that its aliases may make of it.
_MAX_BYTES, _MAX_VALUES = 4 << 20, 100_000
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
    if Path(given).is_file():
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


class _Loader(yaml.SafeLoader):
    """Reads YAML as PaddleClas does, and refuses duplicate keys in a section.

    YAML forbids them; PyYAML silently takes the last.
    """

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        # Here, not where the mapping is built: by then it has the keys that it merges, too.
        node = super().compose_mapping_node(anchor)
        seen: dict[tuple[str, str], yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                first = seen.setdefault((key.tag, key.value), key)
                if first is not key:
                    raise yaml.composer.ComposerError(
                        problem=f"the key {key.value} is in line {first.start_mark.line + 1}, "
                        f"too, and only one of the two would count",
                        problem_mark=key.start_mark,
                    )
        return node


def load_yaml(path: Path) -> Config:
    """The content of a config file.

    Raises:
        UserError: it cannot be read, is too large, is not valid YAML, has a key twice, or has no
            sections; the message names the line where there is one.
    """
    content = read_file(path, "a config", _MAX_BYTES)
    try:
        config = without_aliases(yaml.load(content.decode("utf-8"), Loader=_Loader))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}, line {line} is not valid YAML: it is not UTF-8 text ({error.reason}). Save "
            f"the file as UTF-8"
        ) from error
    except RecursionError as error:
        raise UserError(f"{path} is not valid YAML: it is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(_yaml_problem(path, error)) from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is not a config: it must have sections such as Global and Arch")
    return config


def without_aliases(value: Any, most: int = _MAX_VALUES) -> Any:
    """A copy in which each YAML alias has a value of its own, as overrides need it.

    Raises:
        ValueError: a few nested aliases stand for more than ``most`` values.
    """
    left = most

    def copied(part: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"with its aliases, it has more than {most:,} values")
        if isinstance(part, dict):
            return {key: copied(entry) for key, entry in part.items()}
        return [copied(entry) for entry in part] if isinstance(part, list) else part

    return copied(value)


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


def _yaml_problem(path: Path, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f", line {mark.line + 1}" if mark else ""
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    if "'\\t'" in problem:
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
