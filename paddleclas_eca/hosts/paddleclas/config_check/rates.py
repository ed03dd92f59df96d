"""The learning rate, in proportion to the images per step.

Goyal et al., 2017 (arXiv:1706.02677): the learning rate of SGD scales with the batch.
The shipped config of a network is its recipe.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ....checks.findings import Finding, warning
from ....configs import FOLDER, Config, load_yaml, resource_root

# Number of GPUs that the shipped configs of ImageNet are written for.
RECIPE_PROCESSES = 4
# Optimizers whose steps grow with the gradient; Adam and the like scale differently.
_SGD = ("Momentum", "SGD")
# A larger factor gives a warning.
_TOLERANCE = 1.5


@dataclass(frozen=True)
class _Rate:
    """The learning rate of a config.

    Attributes:
        key: its config key.
        values: the rate, or those of a Piecewise schedule; the first is the highest.
        batch: images of a process in a step, with those whose gradients are accumulated.
    """

    key: str
    values: list[float]
    batch: int

    @property
    def peak(self) -> float:
        return max(self.values)


def disproportionate_rate(config: Config, processes: int) -> Iterator[Finding]:
    """A warning if the learning rate does not match the images per step.

    Args:
        config: the config, for training.
        processes: how many processes train, on all machines.
    """
    rate = _rate(config)
    recipe = _recipe(config)
    theirs = _rate(recipe) if recipe else None
    if not rate or not theirs:
        return
    if config["Optimizer"].get("name") != recipe["Optimizer"].get("name"):
        return
    suitable = theirs.peak * rate.batch * processes / (theirs.batch * RECIPE_PROCESSES)
    factor = rate.peak / suitable
    if 1 / _TOLERANCE <= factor <= _TOLERANCE or (factor < 1 and _starts_from_weights(config)):
        return
    scaled = [float(f"{value * suitable / rate.peak:.3g}") for value in rate.values]
    value = f"'{rate.key}={scaled}'" if rate.key.endswith("values") else f"{rate.key}={scaled[0]}"
    whose = "1 process" if processes == 1 else f"{processes} processes"
    yield warning(
        rate.key,
        f"{rate.peak:g} is {_times(factor)} the recipe's rate for this batch. "
        f"{config['Arch']['name']} has {theirs.peak:g} for "
        f"{theirs.batch * RECIPE_PROCESSES} images, and this run takes steps of "
        f"{rate.batch * processes}: {rate.batch} for each of {whose}. In proportion that is "
        f"-o {value}",
    )


def _times(factor: float) -> str:
    return f"{factor:.3g} times" if factor >= 1 else f"1/{1 / factor:.3g} of"


def _rate(config: Config) -> _Rate | None:
    optimizer = config.get("Optimizer")
    if not isinstance(optimizer, dict) or optimizer.get("name") not in _SGD:
        return None
    schedule, key = optimizer.get("lr"), "Optimizer.lr.learning_rate"
    if not isinstance(schedule, dict):
        return None
    values: Any = [schedule.get("learning_rate")]
    if schedule.get("values"):
        values, key = schedule["values"], "Optimizer.lr.values"
    batch: Any = config.get("DataLoader")
    for part in ("Train", "sampler", "batch_size"):
        batch = batch.get(part) if isinstance(batch, dict) else None
    numbers = [batch, *values]
    if any(isinstance(n, bool) or not isinstance(n, (int, float)) for n in numbers):
        return None
    steps = config["Global"].get("update_freq") or 1
    return _Rate(key, list(values), batch * steps) if batch > 0 and max(values) > 0 else None


def _recipe(config: Config) -> Config | None:
    """The shipped config that is named like the network, where it is for images of this size.

    Small images, such as those of CIFAR-10, have recipes of their own.
    """
    file = resource_root() / FOLDER / f"{config['Arch'].get('name')}.yaml"
    if not os.path.isfile(file):  # unlike Path.is_file, False for a name that is too long
        return None
    recipe = load_yaml(file)
    section, key = "Global", "image_shape"
    if config[section].get(key) is None:
        section, key = "Arch", "class_num"
    return recipe if config[section].get(key) == recipe[section].get(key) else None


def _starts_from_weights(config: Config) -> bool:
    return bool(config["Global"].get("pretrained_model") or config["Arch"].get("pretrained"))
