"""Predictions by PaddleClas's Engine: all images, or an error that names one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from paddle import distributed

from ....errors import UserError
from ..locate import PaddleClas
from ..monkeypatch import MonkeyPatch


class _Refused(BaseException):
    """Leaves ``Engine.infer``, which in some versions logs every ``Exception`` and goes on."""


def infer_all(ppcls: PaddleClas, engine: Any, infer: Callable[[], Any]) -> Any:
    """What ``infer`` returns, the original ``Engine.infer``.

    Raises:
        UserError: an image cannot be read, is not as large as others of its batch, or got no
            prediction.
    """
    names: list[str] = []
    predicted: list[str] = []

    def list_images(original: Any, *args: Any, **kwargs: Any) -> list[str]:
        listed = original(*args, **kwargs)
        names[:] = listed[distributed.get_rank() :: distributed.get_world_size()]
        return listed

    def predict(original: Any, output: Any, files: Sequence[str], *args: Any) -> Any:
        result = original(output, files, *args)
        predicted.extend(files)
        return result

    changes = MonkeyPatch()
    try:
        changes.wrap(ppcls.module("engine.engine"), "get_image_list", list_images)
        changes.wrap(engine, "postprocess_func", predict)
        batch_size = engine.config["Infer"]["batch_size"]
        prepare = _Preparation(engine.preprocess_func, names, batch_size)
        changes.set(engine, "preprocess_func", [prepare])
        result = infer()
    except _Refused as refused:
        raise UserError(str(refused)) from None
    finally:
        changes.undo()
    if len(predicted) < len(names):
        raise UserError(
            f"Infer.infer_imgs: {len(names) - len(predicted):,} of {len(names):,} images have no "
            f"prediction. The errors are logged above"
        )
    return result


class _Preparation:
    """The transforms of the images, which are called in the order of ``names``."""

    def __init__(self, operators: Sequence[Any], names: Sequence[str], batch_size: int) -> None:
        self._operators = operators
        self._names = names
        self._batch_size = batch_size
        self._number = 0
        self._first: tuple[Any, str] = ((), "")

    def __call__(self, image: Any) -> Any:
        """An image ``[C, H, W]`` from the content of its file."""
        number, self._number = self._number, self._number + 1
        name = self._names[number]
        for operator in self._operators:
            try:
                image = operator(image)
            except Exception as error:  # PaddleClas and OpenCV raise any
                kind = type(operator).__name__
                text = " ".join(str(error).split())[:300]
                fault = "cannot be read as an image" if kind == "DecodeImage" else "cannot be used"
                raise _Refused(
                    f"Infer.infer_imgs: {name} {fault}: {kind} fails with {type(error).__name__}: "
                    f"{text}. Replace or remove it, or change Infer.transforms"
                ) from None
        shape = np.shape(image)
        if number % self._batch_size == 0:
            self._first = shape, name
        first, other = self._first
        if shape != first:
            raise _Refused(
                f"Infer.transforms: the images have different shapes, {list(first)} of {other} "
                f"and {list(shape)} of {name}, which cannot be put in one batch. Add a transform "
                f"that gives all images the same size, such as ResizeImage, or set "
                f"-o Infer.batch_size=1"
            )
        return image
