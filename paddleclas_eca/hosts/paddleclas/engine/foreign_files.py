"""What PaddleClas opens itself: images, lists and names of classes, which may come from anywhere.

``open`` waits for the other end of a pipe, reads devices without end, and decoders allocate what
the header of an image asks for.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from ....configs import load_yaml
from ....data.decoding import MAX_BYTES, has_too_many_scans, too_large
from ....errors import UserError
from ....files import open_foreign, read_file
from ....runtime import MAX_PIXELS
from ..locate import PaddleClas
from ..monkeypatch import ModuleView, MonkeyPatch

# Modules that open files for a run, where PaddleClas has them; and packages of such modules.
_READERS = (
    *("data.dataloader", "data.postprocess"),
    *("data.utils.get_image_list", "engine.engine", "utils.config"),
)


def guard(ppcls: PaddleClas, changes: MonkeyPatch) -> None:
    """Have PaddleClas read regular files of bounded size alone, and refuse images that are bombs.

    Args:
        ppcls: a PaddleClas with a trainer.
        changes: takes the changes.
    """
    prefixes = tuple(f"{ppcls.package}.{name}." for name in _READERS)
    for name, module in list(sys.modules.items()):
        if module is None or not f"{name}.".startswith(prefixes):
            continue
        if "open" not in vars(module):
            changes.set(module, "open", open_foreign)
        # Some data sets give these a path.
        if getattr(vars(module).get("Image"), "__name__", "") == "PIL.Image":
            changes.set(module, "Image", _pillow(module.Image))
        if getattr(vars(module).get("cv2"), "__name__", "") == "cv2":
            changes.set(module, "cv2", _opencv(module.cv2))
    changes.wrap(ppcls.module("utils.config"), "parse_config", _parse_config)
    changes.wrap(ppcls.module("data.preprocess.ops.operators").DecodeImage, "__call__", _decode)


def _parse_config(original: Any, path: Any) -> Any:
    """``parse_config``, which PaddleClas's own scripts call: of a config within bounds.

    Raises:
        UserError: as :func:`paddleclas_eca.configs.load_yaml`.
    """
    load_yaml(path)
    return original(path)


def _pillow(pillow: Any) -> ModuleView:
    def opened(file: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, (str, os.PathLike)):
            file = io.BytesIO(read_file(file, "an image", MAX_BYTES))
        return pillow.open(file, *args, **kwargs)

    return ModuleView(pillow, open=opened)


def _opencv(cv2: Any) -> ModuleView:
    def imread(path: Any, *flags: Any) -> Any:
        import numpy as np

        content = np.frombuffer(read_file(path, "an image", MAX_BYTES), np.uint8)
        return cv2.imdecode(content, *(flags or (cv2.IMREAD_COLOR,)))

    return ModuleView(cv2, imread=imread)


def _decode(original: Any, step: Any, image: Any, *args: Any, **kwargs: Any) -> Any:
    """``DecodeImage``: says of an image that is too large how large it is.

    Raises:
        UserError: it is too large.
    """
    if not isinstance(image, bytes):
        return original(step, image, *args, **kwargs)
    # Where OpenCV was imported before the limit could be set, it is not set.
    if MAX_PIXELS not in os.environ or has_too_many_scans(image):
        _refuse(image)
    try:
        return original(step, image, *args, **kwargs)
    except Exception:
        _refuse(image)
        raise


def _refuse(image: bytes) -> None:
    reason = too_large(image)
    if reason:
        raise UserError(f"it cannot be decoded: {reason}")
