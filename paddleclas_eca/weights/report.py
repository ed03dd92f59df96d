"""How the tensors of a weight file fit a network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import excerpt

if TYPE_CHECKING:
    from paddle import nn


@dataclass
class LoadReport:
    """How the tensors of a state dict fit the layers that it was given to.

    Attributes:
        matched: names that fit.
        missing: names of the model that are not in the file; they keep their initial values.
        reshaped: (name, shape in the file, shape in the model); they keep theirs as well.
        unexpected: names in the file that no layer has.
        neutral: number of attentions that the file lacks and that change nothing to begin with
            (:mod:`paddleclas_eca.weights.warm_start`); their parameters count as matched.
    """

    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    reshaped: list[tuple[str, list, list]] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    neutral: int = 0

    @classmethod
    def compare(cls, layers: Iterable[nn.Layer], state: dict[str, Any]) -> LoadReport:
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
        report.unexpected = [name for name in state if name not in known]
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
            parts.append(f"{len(shapes)} of another shape, left as initialised: {excerpt(shapes)}")
        if self.missing:
            parts.append(
                f"{len(self.missing)} not in the file, left as initialised: {excerpt(self.missing)}"
            )
        if self.unexpected:
            parts.append(f"{len(self.unexpected)} not in the model: {excerpt(self.unexpected)}")
        if self.neutral:
            parts.append(
                f"the file has no attention: {self.neutral} start at 0, the BatchNorm before each "
                f"doubled, so that the function is the same"
            )
        return "; ".join(parts)
