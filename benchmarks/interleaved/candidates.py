"""What can be measured: networks by name, and what is done with them."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from paddleclas_eca.errors import UserError

from .worker import Case

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

_PADDLE_WORKER = Path(__file__).resolve().parents[1] / "paddle_worker.py"


class Candidate(NamedTuple):
    """Something that is measured.

    Attributes:
        label: its name in the report.
        command: starts its worker.
    """

    label: str
    command: tuple[str, ...]


def parse_candidate(text: str) -> Candidate:
    """The candidate ``NETWORK`` or ``NETWORK:ATTENTION``, see :func:`build`."""
    return Candidate(text, (sys.executable, str(_PADDLE_WORKER), text))


def check_case(case: Case) -> None:
    """Raise UserError, with the option to change, where nothing can be measured in a case."""
    if case.precision != "fp32" and case.device == "cpu":
        raise UserError(
            f"--precision {case.precision} needs --device gpu: Paddle has mixed precision there "
            f"only"
        )
    if case.mode in EXPORTED and case.precision != "fp32":
        raise UserError(f"--precision {case.precision} does not apply to --modes {case.mode}")
    if case.mode in EXPORTED and case.layout != "NCHW":
        raise UserError(
            f"--layout {case.layout} does not apply to --modes {case.mode}: models are exported "
            f"as NCHW"
        )


def build(text: str, layout: str) -> nn.Layer:
    """Build the network of a candidate.

    Args:
        text: a network of this project or of PaddleClas; ``NETWORK:ATTENTION`` for one of ours
            with another attention (``none``, ``SE``, ...) or with ECA in another form, see
            ``eca_forms.py``.
        layout: ``"NCHW"`` or ``"NHWC"``.

    Raises:
        UserError: there is no such network or attention, or not in this layout.
    """
    from paddleclas_eca.models import MODELS

    name, _, attention = text.partition(":")
    if name not in MODELS:
        return _build_of_paddleclas(name, attention, layout)
    import eca_forms

    if attention in eca_forms.FORMS:
        return eca_forms.build(name, attention, layout)
    options = {"attention": attention} if attention else {}
    return MODELS[name](data_format=layout, **options)


def _build_of_paddleclas(name: str, attention: str, layout: str) -> nn.Layer:
    from paddleclas_eca.hosts.paddleclas.registry import find_network
    from paddleclas_eca.hosts.paddleclas.session import activate

    if attention:
        raise UserError(f"{name} is not a network of this project: it has no attention to choose")
    factory = find_network(activate(), name, "NETWORK")
    options = {} if layout == "NCHW" else {"data_format": layout}
    refused = f"{name} cannot be built{' with data_format NHWC' if options else ''}: "
    try:
        network = factory(**options)
    except Exception as error:
        raise UserError(f"{refused}{error}") from error
    # Many of PaddleClas's networks take any option, and ignore those that they do not know.
    signatures = [inspect.signature(f).parameters for f in (factory, type(network).__init__)]
    if options and not any("data_format" in parameters for parameters in signatures):
        raise UserError(f"{refused}it has no such option")
    return network
