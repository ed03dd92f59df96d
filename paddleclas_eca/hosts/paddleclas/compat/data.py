"""Reading and mixing images."""

from __future__ import annotations

import codecs
import locale
import logging
from functools import partial
from typing import Any

import numpy as np

from ....data.decoding import is_truncated_jpeg
from ....files import open_foreign
from ..locate import PaddleClas
from ..monkeypatch import ModuleView, MonkeyPatch
from ..source import source_has
from .base import Patch

_MULTI_LABEL = "data.dataloader.multilabel_dataset"
_BATCH_OPERATORS = "data.preprocess.batch_ops.batch_operators"


def _decodes_truncated_jpegs(ppcls: PaddleClas) -> bool:
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    _, jpeg = cv2.imencode(".jpg", noise)
    return cv2.imdecode(jpeg[: len(jpeg) // 2], 1) is not None


def _install_truncated_jpeg(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    def decode(original: Any, self: Any, image: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(image, bytes) and is_truncated_jpeg(image):
            raise ValueError("the JPEG file is truncated")
        return original(self, image, *args, **kwargs)

    changes.wrap(ppcls.module("data.preprocess.ops.operators").DecodeImage, "__call__", decode)


def _multi_label_dataset(ppcls: PaddleClas) -> Any:
    return ppcls.module(_MULTI_LABEL).MultiLabelDataset


def _install_label_ratio(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    changes.set(_multi_label_dataset(ppcls), "label_ratio", None)


def _fmix(ppcls: PaddleClas) -> Any:
    return getattr(ppcls.module(_BATCH_OPERATORS), "FmixOperator", None)


def _install_fmix_type(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    def in_float32(original: Any, self: Any, batch: Any) -> Any:
        return [(image.astype(np.float32), target) for image, target in original(self, batch)]

    changes.wrap(_fmix(ppcls), "__call__", in_float32)


def _install_scale(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    def as_text(part: Any) -> Any:
        if isinstance(part, dict):
            return {
                key: f"{value!r}/1"
                if key == "scale" and isinstance(value, float)
                else as_text(value)
                for key, value in part.items()
            }
        return [as_text(entry) for entry in part] if isinstance(part, list) else part

    def dump(original: Any, config: Any, path: Any) -> Any:
        return original(as_text(config), path)

    config = ppcls.module("utils.config")
    changes.wrap_everywhere(ppcls.package, config, "dump_infer_config", dump)


class _Names(dict):
    """Names of classes by number; those without one are named by it, as in exported models."""

    def __missing__(self, number: int) -> str:
        return str(number)


def _install_missing_name(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    def parse(original: Any, self: Any, file: Any) -> Any:
        names = original(self, file)
        return names and _Names(names)

    module = ppcls.module("data.postprocess")
    for kind in (module.Topk, module.ThreshOutput):
        if "parse_class_id_map" in vars(kind):
            changes.wrap(kind, "parse_class_id_map", parse)


def _install_utf8(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    for name in ("data.postprocess.topk", "data.postprocess.threshoutput", "utils.config"):
        changes.set(ppcls.module(name), "open", partial(open_foreign, encoding="utf-8"))
    handler = partial(logging.FileHandler, encoding="utf-8")
    changes.set(ppcls.module("utils.logger"), "logging", ModuleView(logging, FileHandler=handler))


PATCHES = [
    Patch(
        name="infer-scale",
        versions="develop",
        symptom="uniform output of a NormalizeImage.scale that is a number: 'float' object has no "
        "attribute 'split'",
        needed=lambda ppcls: source_has(ppcls.module("utils.config"), "scale_str.split("),
        install=_install_scale,
    ),
    Patch(
        name="missing-name",
        versions="all",
        symptom="infer with fewer names than classes: KeyError, or no predictions",
        needed=lambda ppcls: source_has(
            ppcls.module("data.postprocess").Topk, "self.class_id_map[i.item()]"
        ),
        install=_install_missing_name,
    ),
    Patch(
        name="utf-8",
        versions="all, where the locale is not UTF-8",
        symptom="names of classes are left out, and lines of the log that are not ASCII",
        needed=lambda ppcls: codecs.lookup(locale.getpreferredencoding(False)).name != "utf-8",
        install=_install_utf8,
    ),
    Patch(
        name="truncated-jpeg",
        versions="all, with OpenCV before 4.11",
        symptom="the missing part of a truncated JPEG is trained on as grey or noise",
        needed=_decodes_truncated_jpegs,
        install=_install_truncated_jpeg,
    ),
    Patch(
        name="label-ratio",
        versions="PaddleClas 2.4.2",
        symptom="MultiLabelDataset without label_ratio: AttributeError, retried forever",
        needed=lambda ppcls: source_has(
            _multi_label_dataset(ppcls), "self.label_ratio is not None"
        ),
        install=_install_label_ratio,
    ),
    Patch(
        name="fmix-type",
        versions="all",
        symptom="Fmix: images become float64, which the first convolution rejects",
        needed=lambda ppcls: source_has(_fmix(ppcls), "imgs = mask * imgs + (1 - mask) * imgs"),
        install=_install_fmix_type,
    ),
]
