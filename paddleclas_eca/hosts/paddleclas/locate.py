"""Find the PaddleClas that this process uses.

PaddleClas ships its code as ``ppcls``, and where that is depends on how it was
obtained:

==============================  ==========================  ==========
obtained as                     ``ppcls`` is                trainer
==============================  ==========================  ==========
source checkout                 top level of the checkout   yes
wheels 2.2.x, 2.4.0 to 2.4.2    in ``paddleclas``, made     yes
                                to be at top level
wheels 2.4.3 to 2.6.0           ``paddleclas.ppcls``        no
==============================  ==========================  ==========

Whichever ``ppcls`` is imported first wins for the whole process, silently. So it is
looked for once, in a fixed order; ``paddleclas-eca doctor`` shows the choice.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from ...errors import UserError

ROOT_VARIABLE = "PADDLECLAS_ROOT"
TRAINING_WHEEL = "2.4.2"
INSTALL_COMMANDS = (
    "pip install .",
    f"pip install --no-deps paddleclas=={TRAINING_WHEEL}",
)

HOW_TO_GET_A_TRAINER = f"""Two ways to get one:
  1. the newest PaddleClas wheel with a trainer, without its outdated pins:
       {INSTALL_COMMANDS[0]}    (in a clone of paddleclas_eca; brings what a trainer needs)
       {INSTALL_COMMANDS[1]}
  2. a source checkout (release/2.5 or develop):
       git clone https://github.com/PaddlePaddle/PaddleClas
       export {ROOT_VARIABLE}=$PWD/PaddleClas"""


@dataclass(frozen=True)
class PaddleClas:
    """One PaddleClas on this machine.

    Attributes:
        package: import name of its code, ``"ppcls"`` or ``"paddleclas.ppcls"``.
        folder: directory of that package.
        found_by: how it was found, in words.
        version: version of the wheel; None for a checkout.
    """

    package: str
    folder: Path
    found_by: str
    version: str | None = None

    @property
    def can_train(self) -> bool:
        """Whether the trainer is there (PyPI wheels after 2.4.2 lack it)."""
        return (self.folder / "engine" / "engine.py").is_file()

    def module(self, name: str = "") -> ModuleType:
        """Import a module of this PaddleClas, for example ``module("utils.config")``.

        Raises:
            UserError: a package that PaddleClas needs is missing or cannot be loaded.
        """
        full_name = f"{self.package}.{name}".rstrip(".")
        try:
            return importlib.import_module(full_name)
        except ImportError as error:
            if f"{full_name}.".startswith(f"{error.name}."):
                raise  # this PaddleClas has no such module: an error of the caller
            advice = (
                f"`{INSTALL_COMMANDS[0]}` (in a clone of paddleclas_eca) brings what it needs."
                if self.can_train
                else f"It has no trainer either. {HOW_TO_GET_A_TRAINER}"
            )
            raise UserError(
                f"PaddleClas in {self.folder} cannot be imported: {error}. {advice}"
            ) from error

    def check_trainer(self) -> None:
        """Raise UserError, with how to get a trainer, if this PaddleClas has none."""
        if not self.can_train:
            version = f" {self.version}" if self.version else ""
            raise UserError(
                f"PaddleClas{version} in {self.folder} has no trainer (ppcls/engine): it can "
                f"build models, not train, evaluate or export them.\n{HOW_TO_GET_A_TRAINER}"
            )

    def make_importable(self) -> None:
        """Put this PaddleClas on ``sys.path`` where it is not importable already."""
        if self.package != "ppcls" or "ppcls" in sys.modules:
            return
        root = str(self.folder.parent)
        spec = _find_spec("ppcls")
        if spec and spec.origin and Path(spec.origin).resolve().parent == self.folder:
            return
        if spec is None:
            # At the end: the root also holds directories named tools, deploy and tests.
            sys.path.append(root)
        else:
            sys.path.insert(0, root)


def find_paddleclas(script: Path | None = None) -> PaddleClas:
    """Find the PaddleClas to use, without importing it.

    Order: a ``ppcls`` imported already, ``$PADDLECLAS_ROOT``, the checkout that ``script``
    lies in, an importable ``ppcls``, the working directory, the installed wheel.

    Args:
        script: a script of PaddleClas that is about to run, if any.

    Raises:
        UserError: there is none, or ``$PADDLECLAS_ROOT`` is not one, comes too late, or is
            another than the checkout of ``script``.
    """
    chosen = next(_candidates(script), None)
    if chosen is None:
        raise UserError(f"PaddleClas is not installed. {HOW_TO_GET_A_TRAINER}")
    return chosen


def _candidates(script: Path | None) -> Iterator[PaddleClas]:
    requested = _requested_root()
    checkout = _checkout_of(script)
    if requested and checkout and requested != checkout:
        raise UserError(
            f"${ROOT_VARIABLE} asks for {requested.parent}, but {script} belongs to "
            f"{checkout.parent}. Unset {ROOT_VARIABLE}, or run the script of that checkout."
        )
    imported = sys.modules.get("ppcls")
    if imported is not None and getattr(imported, "__file__", None):
        folder = Path(imported.__file__).resolve().parent
        if requested and requested != folder:
            raise UserError(
                f"${ROOT_VARIABLE} asks for {requested.parent}, but ppcls is already imported "
                f"from {folder.parent}. Import and register paddleclas_eca first, or unset "
                f"{ROOT_VARIABLE}."
            )
        yield _found(folder, "already imported")
    if requested:
        yield _found(requested, f"${ROOT_VARIABLE}")
    if checkout:
        yield _found(checkout, f"checkout of {script.name}")
    spec = _find_spec("ppcls")
    if spec and spec.origin and _is_ppcls(Path(spec.origin).parent):
        yield _found(Path(spec.origin).resolve().parent, "importable as ppcls")
    working = Path.cwd() / "ppcls"
    if _is_ppcls(working):
        yield _found(working.resolve(), "working directory")
    wheel = _wheel_folder()
    if wheel and _is_ppcls(wheel):
        yield _found(wheel, "installed wheel")
    elif wheel and (wheel / "arch" / "__init__.py").is_file():
        yield PaddleClas("paddleclas.ppcls", wheel, "installed wheel", _wheel_version())


def _checkout_of(script: Path | None) -> Path | None:
    parents = script.resolve().parents if script else ()
    return next((p / "ppcls" for p in parents if _is_ppcls(p / "ppcls")), None)


def _found(folder: Path, found_by: str) -> PaddleClas:
    version = _wheel_version() if folder == _wheel_folder() else None
    return PaddleClas("ppcls", folder, found_by, version)


def _requested_root() -> Path | None:
    value = os.environ.get(ROOT_VARIABLE)
    if not value:
        return None
    folder = (Path(value).expanduser() / "ppcls").resolve()
    if not _is_ppcls(folder):
        raise UserError(
            f"${ROOT_VARIABLE} is {value}, which holds no PaddleClas: {folder} should be its "
            f"code. Set {ROOT_VARIABLE} to the directory that contains ppcls/, or unset it."
        )
    return folder


def _wheel_folder() -> Path | None:
    # Finding the spec of a top-level package does not run it: paddleclas/__init__.py
    # imports the deployment code, with packages that models and trainer do not need.
    spec = _find_spec("paddleclas")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))).resolve() / "ppcls"


def _wheel_version() -> str | None:
    try:
        return importlib.metadata.version("paddleclas")
    except importlib.metadata.PackageNotFoundError:
        return None


def _find_spec(package: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(package)
    except ValueError:  # imported already, by other means than the import system
        return None


def _is_ppcls(folder: Path) -> bool:
    """Whether a directory is a ppcls that works at top level (wheels after 2.4.2 do not)."""
    return all((folder / part / "__init__.py").is_file() for part in (".", "arch", "utils"))
