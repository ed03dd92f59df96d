"""Images as networks get them: PaddleClas's operators, one after the other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Union

import numpy as np

from ..errors import UserError
from ..hosts.paddleclas.locate import PaddleClas

Image = Union[str, "os.PathLike[str]", np.ndarray]


class Preparation:
    """From an image to what the network gets, and back to a picture.

    Args:
        ppcls: a PaddleClas with a trainer.
        steps: operators as in ``transform_ops``, from DecodeImage to ToCHWImage.
        origin: where they come from, for messages.

    Raises:
        UserError: they cannot be built.
    """

    def __init__(self, ppcls: PaddleClas, steps: list[dict[str, Any]], origin: str) -> None:
        self._origin = origin
        try:
            operators = ppcls.module("data").create_operators(steps)
        except Exception as error:
            raise UserError(
                f"{origin}: this PaddleClas cannot prepare images as they say: "
                f"{type(error).__name__}: {error}"
            ) from error
        self._decoding = [step for step in operators if type(step).__name__ == "DecodeImage"]
        self._steps = [step for step in operators if step not in self._decoding]

    def __call__(self, image: Image) -> np.ndarray:
        """The image as the network gets it.

        Args:
            image: path of a file, or RGB values ``[H, W, 3]`` from 0 to 255.

        Shape:
            ``[C, H, W]``, float32.

        Raises:
            UserError: the file cannot be read or is no image, or does not suit the steps.
        """
        is_array = isinstance(image, np.ndarray)
        name = f"an array {list(image.shape)}" if is_array else image
        value = self._as_decoded(image) if is_array else self._decoded(Path(image))
        for step in self._steps:
            try:
                value = step(value)
            except Exception as error:  # PaddleClas and OpenCV have any
                reason = " ".join(str(error).split()) or type(error).__name__
                raise UserError(
                    f"{name} does not suit {self._origin}: {type(step).__name__} fails with "
                    f"{reason}"
                ) from error
        value = np.asarray(value, dtype="float32")
        if value.ndim != 3:
            raise UserError(f"{name}: {self._origin} make {list(value.shape)} of it")
        return value

    def _decoded(self, file: Path) -> Any:
        try:
            value: Any = file.read_bytes()
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
        if not value:
            raise UserError(f"{file} cannot be read as an image: the file is empty")
        for step in self._decoding:
            try:
                value = step(value)
            except Exception as error:
                # What is said of a file that OpenCV cannot read differs, and helps nobody.
                reason = error if type(error) is ValueError else "it is damaged, or no image"
                raise UserError(f"{file} cannot be read as an image: {reason}") from error
            if value is None:
                raise UserError(f"{file} cannot be read as an image: it is damaged, or no image")
        return value

    def _as_decoded(self, image: np.ndarray) -> np.ndarray:
        if image.ndim != 3 or image.shape[2] != 3:
            raise UserError(f"an image must have the shape [H, W, 3], got {list(image.shape)}")
        if not self._is_rgb():
            image = image[:, :, ::-1]
        moves = any(getattr(step, "channel_first", False) for step in self._decoding)
        return image.transpose(2, 0, 1) if moves else image

    def _is_rgb(self) -> bool:
        return all(getattr(step, "to_rgb", True) for step in self._decoding)

    def picture(self, image: np.ndarray) -> np.ndarray:
        """What a prepared image shows: its pixels before they were normalised.

        Shape:
            ``[C, H, W]`` to ``[H, W, 3]``, RGB from 0 to 1.
        """
        pixels, whole = image[:3].astype("float64"), 1.0
        for step in reversed(self._steps):
            if hasattr(step, "mean") and hasattr(step, "std"):
                mean, std = (
                    np.asarray(v, dtype="float64").reshape(-1, 1, 1)[:3]
                    for v in (step.mean, step.std)
                )
                pixels = pixels * std + mean
                # Paddle's own Normalize comes after ToTensor, which has divided by 255.
                whole = 255.0 * getattr(step, "scale", 1 / 255.0)
                break
        else:
            whole = 255.0 if pixels.max() > 1 else 1.0
        pixels = np.clip(pixels / whole, 0, 1).transpose(1, 2, 0)
        if not self._is_rgb():
            pixels = pixels[..., ::-1]
        return pixels if pixels.shape[2] == 3 else np.repeat(pixels[..., :1], 3, axis=2)
