"""What can be measured: networks by name, and what is done with them."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import UserError
from .workers import Case

if TYPE_CHECKING:
    from paddle import nn

# Mode, and what one step of it is.
MODES = {
    "train": "training: forward, backward, SGD with momentum",
    "train_static": "training under to_static: forward, backward, SGD with momentum",
    "eval": "evaluation in eager mode",
    "paddle_inference": "the exported model in Paddle Inference",
    "onnxruntime": "the exported model in ONNX Runtime",
}
EXPORTED = ("paddle_inference", "onnxruntime")
REPRODUCTION = "reproduction"

_ROOT = Path(__file__).resolve().parents[2]


class Subject(NamedTuple):
    """Something that is measured.

    Attributes:
        label: what it is called in the report.
        command: starts its worker.
    """

    label: str
    command: tuple[str, ...]


def parse_subject(text: str) -> Subject:
    """The subject that a user names.

    Args:
        text: ``NETWORK`` or ``NETWORK:ATTENTION``, see :func:`build`.
    """
    # Like a console script, and unlike -m, without the current folder: a file there may have the
    # name of a module.
    code = (
        f"import sys; sys.path[:] = [p for p in sys.path if p] + [{str(_ROOT)!r}]; "
        f"from {__package__}.paddle_worker import main; main(sys.argv[1])"
    )
    return Subject(text, (sys.executable, "-c", code, text))


def require_possible(case: Case) -> None:
    """Raise UserError, with the option to change, where nothing can be measured in a case."""
    if case.precision != "fp32" and case.device == "cpu":
        raise UserError(
            f"--precision {case.precision} needs --device gpu: Paddle has it there only"
        )
    if case.mode in EXPORTED and case.precision != "fp32":
        raise UserError(f"--precision {case.precision} is not for --modes {case.mode}")
    if case.mode in EXPORTED and case.layout != "NCHW":
        raise UserError(
            f"--layout {case.layout} is not for --modes {case.mode}: models are exported as NCHW"
        )


def build(text: str, layout: str) -> nn.Layer:
    """Build the network of a subject.

    Args:
        text: a network, ours or PaddleClas's; ``NETWORK:ATTENTION`` for one of ours with another
            attention: ``none``, ``SE``, ..., or ``reproduction`` for ECA as
            :class:`~.reproduction.ReproductionECA` writes it.
        layout: ``"NCHW"`` or ``"NHWC"``.

    Raises:
        UserError: there is no such network or attention, or not in this layout.
    """
    from ..models import MODELS

    name, _, attention = text.partition(":")
    if name in MODELS:
        return _build_ours(name, attention, layout)
    if attention:
        raise UserError(f"{name} is not of this project, and has no attention to choose")
    from ..hosts.paddleclas.registry import find_network
    from ..hosts.paddleclas.session import activate

    factory = find_network(activate(), name, "benchmark")
    options = {} if layout == "NCHW" else {"data_format": layout}
    try:
        network = factory(**options)
    except Exception as error:
        raise UserError(f"{name} cannot be built{_with(options)}: {error}") from error
    # Many of PaddleClas's networks take any option, and pass over those that they do not know.
    takes = [inspect.signature(f).parameters for f in (factory, type(network).__init__)]
    if options and not any("data_format" in parameters for parameters in takes):
        raise UserError(f"{name} cannot be built{_with(options)}: it has no such option")
    return network


def _with(options: dict[str, str]) -> str:
    return "".join(f" with {name} {value}" for name, value in options.items())


def _build_ours(name: str, attention: str, layout: str) -> nn.Layer:
    from ..weights.pretrained import create_model

    if attention != REPRODUCTION:
        options = {"attention": attention} if attention else {}
        return create_model(name, data_format=layout, **options)
    if layout != "NCHW":
        raise UserError(f"{name}:{REPRODUCTION} cannot be built with data_format {layout}")
    from .reproduction import ReproductionECA

    network = create_model(name)
    for block in network.blocks:
        block.attention = ReproductionECA(block.attention.k_size)
    return network
