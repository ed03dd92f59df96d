"""Say what a weight file did to a model.

PaddleClas hands a state dict to ``set_state_dict``, which skips what does not fit with
a warning per tensor; and one of PaddleClas's modules silences all warnings of the process
when it is imported. So a checkpoint of another network loads "successfully", and the run
starts from noise.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import paddle

from ...errors import UserError
from ..edits import Edits, ModuleView
from ..locate import PaddleClas
from ..safe_load import load
from ..source import source_has
from .base import Patch

# So many names are written out; a report is for reading.
_SHOWN = 4


@dataclass
class LoadReport:
    """How the tensors of a state dict fit the layers that it was given to.

    Attributes:
        matched: names that were loaded.
        missing: names of the model that the file lacks; they keep their initial values.
        reshaped: (name, shape in the file, shape in the model); they keep theirs, too.
        unexpected: names of the file that no layer has.
    """

    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    reshaped: list[tuple[str, list, list]] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    @classmethod
    def compare(cls, layers: Iterable[paddle.nn.Layer], state: dict[str, Any]) -> LoadReport:
        """Compare ``state`` with the parameters and buffers of all ``layers``."""
        report = cls()
        known = set()
        for layer in layers:
            for name, tensor in layer.state_dict().items():
                known.add(name)
                if name not in state:
                    report.missing.append(name)
                elif list(state[name].shape) != list(tensor.shape):
                    shapes = (list(state[name].shape), list(tensor.shape))
                    report.reshaped.append((name, *shapes))
                else:
                    report.matched.append(name)
        # Older Paddle adds an entry that is a table of names, not a tensor.
        report.unexpected = [n for n in state if n not in known and hasattr(state[n], "shape")]
        return report

    @property
    def complete(self) -> bool:
        """Whether every tensor of the model was loaded and none was left over."""
        return not (self.missing or self.reshaped or self.unexpected)

    def __str__(self) -> str:
        total = len(self.matched) + len(self.missing) + len(self.reshaped)
        parts = [f"{len(self.matched)} of {total} tensors loaded"]
        if self.reshaped:
            shapes = [f"{name} {theirs} -> {ours}" for name, theirs, ours in self.reshaped]
            parts.append(f"{len(shapes)} of another shape, left as initialised: {some(shapes)}")
        if self.missing:
            parts.append(
                f"{len(self.missing)} not in the file, left as initialised: {some(self.missing)}"
            )
        if self.unexpected:
            parts.append(f"{len(self.unexpected)} not in the model: {some(self.unexpected)}")
        return "; ".join(parts)


def some(names: list[str]) -> str:
    """The first few of ``names``, and how many more there are."""
    shown = ", ".join(names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def load_weights(model: paddle.nn.Layer, path: str) -> LoadReport:
    """Load a ``.pdparams`` file into a model, as far as it fits.

    Args:
        model: the model; a tensor that does not fit keeps its value.
        path: the file, with or without ``.pdparams``, or the http(s) address of one, which
            is downloaded once and kept in Paddle's cache.

    Raises:
        UserError: there is no such file, it cannot be downloaded, or nothing in it fits.
    """
    state = read_state(_download(path) if _is_url(path) else path)
    report = _fill([model], state)
    _require_match(report, path)
    return report


def _fill(layers: list[paddle.nn.Layer], state: dict[str, Any]) -> LoadReport:
    """Load what fits of ``state`` into the layers, and report on it."""
    with warnings.catch_warnings():
        # The report says it, in one line instead of one per tensor.
        warnings.filterwarnings("ignore", message="Skip loading")
        for layer in layers:
            layer.set_state_dict(state)
    return LoadReport.compare(layers, state)


def read_state(path: str) -> dict[str, Any]:
    """Read a ``.pdparams`` file, given with or without its ending.

    Raises:
        UserError: there is no such file, it is no Paddle state dict, or it holds what could run
            a program; nothing of it has run.
    """
    file = _without_ending(path) + ".pdparams"
    if not os.path.isfile(file):
        raise UserError(f"no weights at {file}: check the path")
    state = load(file)
    if not isinstance(state, dict) or not any(hasattr(v, "shape") for v in state.values()):
        raise UserError(f"{file} holds no state dict of a model")
    return state


def _is_url(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def _download(url: str) -> str:
    from paddle.utils.download import get_weights_path_from_url

    try:
        return get_weights_path_from_url(url)
    except Exception as error:
        raise UserError(f"the weights {url} cannot be downloaded: {error}") from error


def _without_ending(path: str) -> str:
    return path[: -len(".pdparams")] if path.endswith(".pdparams") else path


def _require_match(report: LoadReport, path: Any) -> None:
    if not report.matched:
        raise UserError(
            f"nothing in the weights {path} fits this model ({report}): "
            f"they belong to another network, check Arch.name"
        )


class _Reporting:
    """Stands for layers in PaddleClas's loading functions, and reports on what they are given."""

    def __init__(self, layers: list[paddle.nn.Layer]) -> None:
        self._layers = layers
        self.report = LoadReport()

    def set_dict(self, state: dict[str, Any]) -> None:
        self.report = _fill(self._layers, state)


def _install_reports(ppcls: PaddleClas, edits: Edits) -> None:
    logger = ppcls.module("utils.logger")
    save_load = ppcls.module("utils.save_load")
    # Its name changed between versions, and PaddleClas gives it by name, too.
    path_name = list(inspect.signature(save_load.load_dygraph_pretrain).parameters)[1]
    takes_urls = source_has(save_load.load_dygraph_pretrain, "get_weights_path_from_url")

    def pretrained(original: Any, model: Any, *args: Any, **kwargs: Any) -> None:
        path, rest = (args[0], args[1:]) if args else (kwargs.pop(path_name), ())
        file = path
        if _is_url(path) and not takes_urls:
            file = _download(path)
        if not _is_url(file):
            file = _without_ending(file)
            if not os.path.isfile(file + ".pdparams"):
                raise UserError(
                    f"pretrained weights: {file}.pdparams does not exist. Check the path in "
                    f"Global.pretrained_model or in the Arch section."
                )
        # Losses without parameters come along as None or as layers without set_dict.
        models = model if isinstance(model, list) else [model]
        stand_in = _Reporting([layer for layer in models if hasattr(layer, "set_dict")])
        original(stand_in, file, *rest, **kwargs)
        _require_match(stand_in.report, path)
        say = logger.info if stand_in.report.complete else logger.warning
        say(f"weights {path}: {stand_in.report}")

    edits.wrap_everywhere(ppcls.package, save_load, "load_dygraph_pretrain", pretrained)


def _install_safe_load(ppcls: PaddleClas, edits: Edits) -> None:
    edits.set(ppcls.module("utils.save_load"), "paddle", ModuleView(paddle, load=load))


def _install_resume_check(ppcls: PaddleClas, edits: Edits) -> None:
    def resume(original: Any, config: Any, net: Any, *args: Any, **kwargs: Any) -> Any:
        checkpoint = config.get("checkpoints")
        if checkpoint:
            # With EMA the weights to resume from lie beside .pdparams, which has the
            # averages; both are of the same network.
            report = LoadReport.compare([net], read_state(checkpoint))
            if report.missing or report.reshaped:
                raise UserError(
                    f"Global.checkpoints: {checkpoint} is of another model than this run's "
                    f"({report}). To start from its weights, use Global.pretrained_model."
                )
        return original(config, net, *args, **kwargs)

    edits.wrap_everywhere(ppcls.package, ppcls.module("utils.save_load"), "init_model", resume)


PATCHES = [
    Patch(
        name="safe-load",
        versions="all",
        symptom="a weight file from elsewhere runs the program that is hidden in it",
        needed=lambda ppcls: True,
        install=_install_safe_load,
        trainer=False,
    ),
    Patch(
        name="load-report",
        versions="all",
        symptom="weights of another network load without a word, and the run starts from noise",
        needed=lambda ppcls: True,
        install=_install_reports,
        trainer=False,
    ),
    Patch(
        name="resume-check",
        versions="all",
        symptom="Global.checkpoints of another network is resumed without a word",
        needed=lambda ppcls: True,
        install=_install_resume_check,
    ),
]
