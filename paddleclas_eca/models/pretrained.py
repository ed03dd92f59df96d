"""The option ``pretrained`` of the networks: a file or URL of weights to start from."""

from __future__ import annotations

from typing import Any

from paddle import nn

from ..errors import UserError
from ..host import warn
from ..host.patches.weights import load_weights


def require_pretrained(name: str, pretrained: Any, instead: str) -> None:
    """Raise UserError unless ``pretrained`` is a path, or stands for no weights.

    Args:
        name: name of the network, for the message.
        pretrained: the value of the option.
        instead: what to do instead of True, which would download weights that nobody has.
    """
    if pretrained is True:
        raise UserError(f"{name}: there are no published Paddle weights of it. {instead}")
    if not isinstance(pretrained, (bool, str, type(None))):
        raise UserError(f"{name}: pretrained must be false or a path, got {pretrained!r}")


def load_pretrained(name: str, model: nn.Layer, pretrained: bool | str | None) -> None:
    """Load the weights, if there are any, as far as they fit; what does not fit is logged.

    Raises:
        UserError: they cannot be loaded, or nothing in them fits.
    """
    if pretrained:
        report = load_weights(model, pretrained)
        if not report.complete:
            warn(f"{name}: weights {pretrained}: {report}")
