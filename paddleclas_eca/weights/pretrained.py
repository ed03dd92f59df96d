"""Networks that start from a weight file, given by path or URL."""

from __future__ import annotations

import logging
import os
import warnings
from typing import TYPE_CHECKING, Any, Callable

from ..errors import UserError
from ..models import MODELS, check_model
from .published import BACKBONE, plain_weights
from .report import LoadReport
from .safe_load import load

if TYPE_CHECKING:
    from paddle import nn

    from ..models import ImageClassifier

INSTEAD = (
    "Give a file, pretrained: PATH.pdparams, which this project or PaddleClas has written, or "
    "backbone, to start from PaddleClas's weights without attention; or "
    "`paddleclas-eca convert` from the authors' or timm's PyTorch weights (docs/weights.md)."
)


def create_model(
    name: str, pretrained: bool | str | os.PathLike[str] = False, **options: Any
) -> ImageClassifier:
    """Build a model by name.

    Args:
        name: one of :func:`paddleclas_eca.list_models`.
        pretrained: a ``.pdparams`` file (or URL) to start from; ``"backbone"`` for PaddleClas's
            weights of the network without attention, which are downloaded; or False. Tensors that
            do not fit, such as the classifier of another number of classes, stay as initialised,
            and are logged. Weights without attention start the model as the same function.
        **options: options of the model, such as ``class_num``, ``k_size`` or ``attention``.

    Raises:
        UserError: (a ValueError) there is no such model, an option is wrong, or the weights
            cannot be loaded.

    Example:
        >>> create_model("ECA_ResNet18", class_num=10)(paddle.rand([2, 3, 32, 32])).shape
        [2, 10]
    """
    check_model(name)
    check_pretrained(name, pretrained, INSTEAD)
    model = MODELS[name](**options)
    load_pretrained(name, model, pretrained)
    return model


def check_pretrained(name: str, pretrained: Any, instead: str) -> None:
    """Raise UserError unless ``pretrained`` is a path, or false.

    Args:
        name: name of the network, for the message.
        pretrained: the value of the option.
        instead: what to do instead of True, as there are no weights to download.
    """
    if pretrained is True:
        raise UserError(f"{name}: there are no published Paddle weights of it. {instead}")
    if not isinstance(pretrained, (bool, str, os.PathLike, type(None))):
        raise UserError(f"{name}: pretrained must be false or a path, got {pretrained!r}")


def load_pretrained(
    name: str,
    model: nn.Layer,
    pretrained: bool | str | os.PathLike[str] | None,
    warn: Callable[[str], None] = logging.getLogger(__name__).warning,
    ssld: bool = False,
) -> None:
    """Load the weights, if any are given, as far as they fit.

    Args:
        name: name of the network, for messages.
        model: the network.
        pretrained: a ``.pdparams`` file, or URL; ``"backbone"``; or nothing.
        warn: called with a message about what does not fit.
        ssld: ``"backbone"`` stands for the weights of PaddleClas's distillation.

    Raises:
        UserError: they cannot be loaded, or nothing in them fits.
    """
    if pretrained == BACKBONE:
        pretrained = plain_weights(name, ssld)
    if pretrained:
        report = load_weights(model, os.fspath(pretrained))
        if not report.complete:
            warn(f"{name}: weights {pretrained}: {report}")


def load_weights(model: nn.Layer, path: str) -> LoadReport:
    """Load a ``.pdparams`` file into a model, as far as it fits.

    Args:
        model: the model; a tensor that does not fit keeps its value.
        path: the file, with or without ``.pdparams``, or the http(s) URL of one, which is
            downloaded once and kept in Paddle's cache.

    Raises:
        UserError: there is no such file, it cannot be downloaded, or nothing in it fits.
    """
    state = read_state(download(path) if is_url(path) else path)
    report = fill([model], state)
    check_match(report, path)
    return report


def fill(layers: list[nn.Layer], state: dict[str, Any]) -> LoadReport:
    """Load what fits of ``state`` into the layers, and report it.

    Weights of a network without attention start one that has it as the same function
    (:mod:`paddleclas_eca.weights.warm_start`).
    """
    from .warm_start import neutral_state

    # Older Paddle adds a table of names, which is not a tensor.
    state = {name: value for name, value in state.items() if hasattr(value, "shape")}
    known = dict(state)
    with warnings.catch_warnings():
        # The report says so in one line, not in one per tensor.
        warnings.filterwarnings("ignore", message="Skip loading")
        for layer in layers:
            changes = neutral_state(layer, state)
            layer.set_state_dict({**state, **changes})
            known.update(changes)
    report = LoadReport.compare(layers, known)
    report.neutral = len(known) - len(state)
    return report


def read_state(path: str) -> dict[str, Any]:
    """Read a ``.pdparams`` file, given with or without its suffix.

    Raises:
        UserError: the file does not exist or is not a state dict of Paddle, or it refers to
            code; none of it has run.
    """
    file = without_suffix(path) + ".pdparams"
    if not os.path.exists(file):
        raise UserError(f"no weights at {file}: check the path")
    state = load(file)
    if not isinstance(state, dict) or not any(hasattr(v, "shape") for v in state.values()):
        raise UserError(f"{file} is not the state dict of a model")
    return state


def is_url(path: str) -> bool:
    """Whether weights are to be downloaded."""
    return path.startswith(("http://", "https://"))


def download(url: str) -> str:
    """Download weights into Paddle's cache, once; returns the path of the file."""
    from paddle.utils.download import get_weights_path_from_url

    try:
        return get_weights_path_from_url(url)
    except Exception as error:
        raise UserError(
            f"the weights {url} cannot be downloaded: {error}. Download them by other means, and "
            f"give the path of the file"
        ) from error


def without_suffix(path: str) -> str:
    """A path without ``.pdparams``."""
    return path[: -len(".pdparams")] if path.endswith(".pdparams") else path


def check_match(report: LoadReport, path: Any) -> None:
    """Raise UserError if nothing fits."""
    if not report.matched:
        raise UserError(
            f"nothing in the weights {path} fits this model ({report}): "
            f"they belong to another network, check Arch.name"
        )
