"""Names that PaddleClas uses and that NumPy, Python or Paddle lack."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import paddle

from ..locate import PaddleClas
from ..monkeypatch import ModuleView, MonkeyPatch
from ..source import source_has
from .base import Patch

_EVALUATION = "engine.evaluation.classification"


def _restore(module: str, library: str, attribute: str, value: Any, **words: str) -> Patch:
    """The patch by which ``module`` sees ``value`` as ``library.attribute``."""

    def needed(ppcls: PaddleClas) -> bool:
        here = ppcls.module(module)
        # NumPy 1.20 to 1.23 still has the deprecated names, with a warning.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            absent = not hasattr(getattr(here, library), attribute)
        return absent and source_has(here, f"{library}.{attribute}")

    def install(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
        here = ppcls.module(module)
        changes.set(here, library, ModuleView(getattr(here, library), **{attribute: value}))

    return Patch(needed=needed, install=install, **words)


def _install_device_id(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    class ParallelEnv(paddle.distributed.ParallelEnv):
        _device_id = 0

    distributed = ModuleView(paddle.distributed, ParallelEnv=ParallelEnv)
    changes.set(ppcls.module(_EVALUATION), "paddle", ModuleView(paddle, distributed=distributed))


PATCHES = [
    _restore(
        "data.preprocess.ops.autoaugment",
        "np",
        "int",
        int,
        name="numpy-int",
        versions="PaddleClas 2.4.2 with NumPy 1.24 or later",
        symptom="AutoAugment: AttributeError: module 'numpy' has no attribute 'int'",
    ),
    _restore(
        "data.preprocess.batch_ops.batch_operators",
        "np",
        "bool",
        bool,
        name="numpy-bool",
        versions="PaddleClas release/2.5 and develop with NumPy 1.24 to 1.26",
        symptom="MixupCutmixHybrid: no attribute 'bool' in every loader worker, training hangs",
    ),
    _restore(
        "optimizer.optimizer",
        "inspect",
        "getargspec",
        inspect.getfullargspec,
        name="getargspec",
        versions="PaddleClas 2.4.2 and release/2.5 with Python 3.11 or later",
        symptom="optimizer SGD: AttributeError: module 'inspect' has no attribute 'getargspec'",
    ),
    _restore(
        "metric.metrics",
        "paddle",
        "indechmx_sample",
        paddle.index_sample,
        name="minp-spelling",
        versions="all",
        symptom="mINP with a keep_mask: module 'paddle' has no attribute 'indechmx_sample'",
    ),
    Patch(
        name="cpu-device-id",
        versions="PaddleClas release/2.5 and develop with Paddle 3",
        symptom="eval on several CPU processes: 'ParallelEnv' object has no attribute '_device_id'",
        needed=lambda ppcls: (
            not hasattr(paddle.distributed.ParallelEnv, "_device_id")
            and source_has(ppcls.module(_EVALUATION), "ParallelEnv().device_id")
        ),
        install=_install_device_id,
    ),
]
