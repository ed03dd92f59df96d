"""Preprocessing: the steps from an image file to the input of a network.

The steps have the names, options and results of PaddleClas's operators, with which the model was
evaluated; tests hold that the results are the same.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Callable, Union

import numpy as np

from ..data.decoding import read_image
from ..errors import UserError, check_option, check_positive_int

Image = Union[str, "os.PathLike[str]", np.ndarray]
Step = Callable[[Any], Any]
Size = Union[int, Sequence[int]]

_CV2 = {
    "nearest": "INTER_NEAREST",
    "bilinear": "INTER_LINEAR",
    "area": "INTER_AREA",
    "bicubic": "INTER_CUBIC",
    "lanczos": "INTER_LANCZOS4",
}
_PIL = ("nearest", "bilinear", "bicubic", "box", "lanczos", "hamming")
# A resize of a narrow image by its short side could ask for any amount of memory.
_MAX_PIXELS = 2**27


class Preprocess:
    """From an image to the input of the network, and back to pixels.

    Args:
        steps: operators from decoding to channels first: those of
            :func:`build_steps`, or a host's own operators of the same names.
        origin: where they come from, for messages.
    """

    def __init__(self, steps: Sequence[Step], origin: str) -> None:
        self._origin = origin
        self._decode = [step for step in steps if type(step).__name__ == "DecodeImage"]
        self._steps = [step for step in steps if step not in self._decode]
        self._is_rgb = all(getattr(step, "to_rgb", True) for step in self._decode)

    def __call__(self, image: Image) -> np.ndarray:
        """The input of the network for an image.

        Args:
            image: path of a file, or RGB values ``[H, W, 3]`` from 0 to 255.

        Shape:
            ``[C, H, W]``, float32.

        Raises:
            UserError: the file cannot be read as an image, or does not suit the steps.
        """
        is_array = isinstance(image, np.ndarray)
        if not is_array and not isinstance(image, (str, os.PathLike)):
            raise UserError(
                f"an image must be a path or an array [H, W, 3], got {type(image).__name__}; "
                f"numpy.asarray(image) makes an array of an image of Pillow"
            )
        name = f"an array {list(image.shape)}" if is_array else image
        value = self._as_decoded(image) if is_array else self._decoded(image)
        for step in self._steps:
            try:
                value = step(value)
            except Exception as error:  # OpenCV and hosts raise any
                reason = " ".join(str(error).split()) or type(error).__name__
                raise UserError(
                    f"{name} does not suit {self._origin}: {type(step).__name__} fails: {reason}"
                ) from error
        value = np.asarray(value, dtype="float32")
        if value.ndim != 3:
            raise UserError(f"{name}: {self._origin} give {list(value.shape)}, not [C, H, W]")
        return value

    def _decoded(self, file: str | os.PathLike[str]) -> Any:
        value: Any = read_image(file)
        for step in self._decode:
            try:
                value = step(value)
            except Exception:  # messages of decoders do not help users
                value = None
            if value is None:
                raise UserError(f"{file} cannot be read as an image: it is corrupt, or no image")
        return value

    def _as_decoded(self, image: np.ndarray) -> np.ndarray:
        if image.ndim != 3 or image.shape[2] != 3:
            raise UserError(f"an image must have the shape [H, W, 3], got {list(image.shape)}")
        if not self._is_rgb:
            image = image[:, :, ::-1]
        channel_first = any(getattr(step, "channel_first", False) for step in self._decode)
        return image.transpose(2, 0, 1) if channel_first else image

    def denormalize(self, image: np.ndarray) -> np.ndarray:
        """The pixels of a preprocessed image, before they were normalized.

        Shape:
            ``[C, H, W]`` to ``[H, W, 3]``, RGB from 0 to 1.
        """
        pixels, white = image[:3].astype("float64"), 1.0
        for step in reversed(self._steps):
            if hasattr(step, "mean") and hasattr(step, "std"):
                mean, std = (
                    np.asarray(v, dtype="float64").reshape(-1, 1, 1)[:3]
                    for v in (step.mean, step.std)
                )
                pixels = pixels * std + mean
                # Normalize, which has no scale, follows ToTensor, which divides by 255.
                white = 255.0 * getattr(step, "scale", 1 / 255.0)
                break
        else:
            white = 255.0 if pixels.max() > 1 else 1.0
        pixels = np.clip(pixels / white, 0, 1).transpose(1, 2, 0)
        if not self._is_rgb:
            pixels = pixels[..., ::-1]
        return pixels if pixels.shape[2] == 3 else np.repeat(pixels[..., :1], 3, axis=2)


def build_steps(described: Sequence[dict[str, Any]], origin: str) -> list[Step]:
    """The steps that ``transform_ops`` describe, each ``{NAME: OPTIONS}``.

    Raises:
        UserError: a step or an option is unknown, or a value is wrong.
    """
    steps: list[Step] = []
    for entry in described:
        if not isinstance(entry, dict) or len(entry) != 1 or next(iter(entry)) not in STEPS:
            shown = ", ".join(map(str, entry)) if isinstance(entry, dict) else repr(entry)
            raise UserError(
                f"{origin}: {shown} is not a step that can be run; each entry is one of "
                f"{', '.join(STEPS)}"
            )
        ((name, options),) = entry.items()
        options = {} if options is None else options
        try:
            for option in options:
                check_option(name, option, [field.name for field in fields(STEPS[name])])
            steps.append(STEPS[name](**options))
        except (TypeError, ValueError, LookupError, OverflowError, AttributeError) as error:
            raise UserError(f"{origin}: {name}: {error}") from error
    return steps


@dataclass
class DecodeImage:
    """Bytes of a file to ``[H, W, 3]``, uint8; blue first unless ``to_rgb``."""

    to_rgb: bool = True
    to_np: bool = True
    channel_first: bool = False
    backend: str = "cv2"

    def __post_init__(self) -> None:
        self.backend = _choice("backend", self.backend, ("cv2", "pil"))
        for option in ("to_rgb", "to_np", "channel_first"):
            if not isinstance(getattr(self, option), bool):
                raise ValueError(f"{option} must be true or false, got {getattr(self, option)!r}")
        if not self.to_np:  # it stays as the backend decodes it
            self.to_rgb, self.channel_first = self.backend == "pil", False

    def __call__(self, content: bytes) -> np.ndarray:
        """Bytes to ``[H, W, 3]``, or ``[3, H, W]`` with ``channel_first``."""
        if self.backend == "pil":
            image = np.asarray(_pil().open(io.BytesIO(content)).convert("RGB"))[:, :, ::-1]
        else:
            import cv2

            image = cv2.imdecode(np.frombuffer(content, dtype="uint8"), cv2.IMREAD_COLOR)
        image = image[:, :, ::-1] if self.to_rgb else image
        return image.transpose(2, 0, 1) if self.channel_first else image


@dataclass
class ResizeImage:
    """Resize to ``size`` (width, height), or so that the short side is ``resize_short``."""

    size: Size | None = None
    resize_short: float | None = None
    interpolation: str | None = None
    backend: str = "cv2"

    def __post_init__(self) -> None:
        self.resize_short = _number("resize_short", self.resize_short or 0)
        if self.resize_short <= 0:
            self.size = _pair("size", self.size)
        self.backend = _choice("backend", self.backend, ("cv2", "pil"))
        # The defaults of the two libraries.
        default, names = ("bicubic", _PIL) if self.backend == "pil" else ("bilinear", _CV2)
        self.interpolation = _choice("interpolation", self.interpolation or default, names)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``[H, W, 3]`` to another height and width."""
        size = self.size
        if self.resize_short > 0:
            height, width = image.shape[:2]
            factor = float(self.resize_short) / min(width, height)
            size = int(round(width * factor)), int(round(height * factor))
        return _resize(image, size, self.backend, self.interpolation)


@dataclass
class CropImage:
    """Crop the centre of ``size`` (width, height)."""

    size: Size

    def __post_init__(self) -> None:
        self.size = _pair("size", self.size)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``[H, W, 3]`` to ``[height, width, 3]``; raises ValueError for smaller images."""
        if self.size[0] > image.shape[1] or self.size[1] > image.shape[0]:
            raise ValueError(_unfit(image, self.size))
        return _centre(image, *self.size)


@dataclass
class CropImageAtRatio:
    """Crop the central square of ``size / (size + pad)`` of the short side, and resize it."""

    size: int
    pad: float
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        check_positive_int("size", self.size)
        self.ratio = self.size / (self.size + _number("pad", self.pad))
        self.interpolation = _choice("interpolation", self.interpolation, _CV2)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``[H, W, 3]`` to ``[size, size, 3]``."""
        side = int(self.ratio * min(image.shape[:2]))
        crop = _centre(image, side, side)
        return _resize(crop, (self.size, self.size), "cv2", self.interpolation)


@dataclass
class Pad:
    """Surround the image by ``padding`` pixels of the value ``fill``."""

    padding: int
    fill: float = 0
    padding_mode: str = "constant"
    backend: str = "pil"

    def __post_init__(self) -> None:
        check_positive_int("padding", self.padding)
        _choice("padding_mode", self.padding_mode, ("constant",))
        self.fill = _number("fill", self.fill or 0)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``[H, W, 3]`` to ``[H + 2 padding, W + 2 padding, 3]``."""
        rows, columns = (side + 2 * self.padding for side in image.shape[:2])
        _check_size(columns, rows)
        around = (self.padding, self.padding)
        return np.pad(image, (around, around, (0, 0)), constant_values=self.fill)


@dataclass
class Padv2:
    """Pad with ``fill_value`` to ``size`` (width, height), or to multiples of ``size_divisor``.

    ``pad_mode`` says where the image goes: 0 left and up, 1 the centre, 2 right and down, -1 to
    ``offsets`` (x, y). The result is float32.
    """

    size: Size | None = None
    size_divisor: int = 32
    pad_mode: int = 0
    offsets: Sequence[int] = ()
    fill_value: float | Sequence[float] = (127.5, 127.5, 127.5)

    def __post_init__(self) -> None:
        check_positive_int("size_divisor", self.size_divisor)
        self.size = _pair("size", self.size) if self.size else None
        self.pad_mode = _choice("pad_mode", self.pad_mode, (-1, 0, 1, 2))
        self.fill_value = _numbers("fill_value", self.fill_value)
        if self.pad_mode == -1 and [type(v) for v in self.offsets or ()] != [int, int]:
            raise ValueError(f"offsets must be two integers, got {self.offsets!r}")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``[H, W, 3]`` to ``[height, width, 3]``; raises ValueError for larger images."""
        rows, columns = image.shape[:2]
        multiples = (-(-side // self.size_divisor) * self.size_divisor for side in (columns, rows))
        width, height = self.size or multiples
        if (width, height) == (columns, rows):
            return image.astype("float32")
        if self.pad_mode == -1:
            x, y = self.offsets
        else:
            x, y = (space * self.pad_mode // 2 for space in (width - columns, height - rows))
        if min(x, y, width - columns - x, height - rows - y) < 0:
            raise ValueError(_unfit(image, (width, height)))
        _check_size(width, height)
        canvas = np.empty((height, width, 3), dtype="float32")
        canvas[:] = self.fill_value
        canvas[y : y + rows, x : x + columns] = image
        return canvas


@dataclass
class NormalizeImage:
    """``(image * scale - mean) / std`` in float32; ``order`` is where the channels are."""

    scale: float | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    order: str | None = "chw"
    channel_num: int = 3
    output_fp16: bool = False

    def __post_init__(self) -> None:
        self.scale = np.float32(1 / 255 if self.scale is None else _number("scale", self.scale))
        mean = [0.485, 0.456, 0.406] if self.mean is None else self.mean
        std = [0.229, 0.224, 0.225] if self.std is None else self.std
        shape = (3, 1, 1) if self.order == "chw" else (1, 1, 3)
        self.mean, self.std = _mean_and_std(mean, std, shape)
        _choice("channel_num", self.channel_num, (3, 4))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The normalized values in the same layout; a fourth channel is 0."""
        image = (image.astype("float32") * self.scale - self.mean) / self.std
        if self.channel_num == 4:
            channels = [(0, 1), (0, 0), (0, 0)]
            image = np.pad(image, channels if self.order == "chw" else channels[::-1])
        return image.astype("float16" if self.output_fp16 else "float32")


@dataclass
class Normalize:
    """``(image - mean) / std`` in float32, as ``paddle.vision`` has it."""

    mean: float | Sequence[float] = 0.0
    std: float | Sequence[float] = 1.0
    data_format: str = "CHW"

    def __post_init__(self) -> None:
        _choice("data_format", self.data_format, ("CHW", "HWC"))
        shape = (-1, 1, 1) if self.data_format == "CHW" else (1, 1, -1)
        self.mean, self.std = _mean_and_std(self.mean, self.std, shape)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The normalized values in the same layout."""
        return (image - self.mean) / self.std


@dataclass
class ToTensor:
    """uint8 to float32 from 0 to 1, channels first, as ``paddle.vision`` has it."""

    data_format: str = "CHW"

    def __post_init__(self) -> None:
        _choice("data_format", self.data_format, ("CHW", "HWC"))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``[H, W, C]`` to ``[C, H, W]``, unless ``data_format`` is HWC."""
        image = image.astype("float32") / np.float32(255) if image.dtype == np.uint8 else image
        return image.transpose(2, 0, 1) if self.data_format == "CHW" else image


@dataclass
class ToCHWImage:
    """Channels last to channels first."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``[H, W, C]`` to ``[C, H, W]``."""
        return image.transpose(2, 0, 1)


_GEOMETRY = (DecodeImage, ResizeImage, CropImage, CropImageAtRatio, Pad, Padv2)
_VALUES = (NormalizeImage, Normalize, ToTensor, ToCHWImage)
STEPS = {step.__name__: step for step in (*_GEOMETRY, *_VALUES)}


def _resize(
    image: np.ndarray, size: tuple[int, int], backend: str, interpolation: str
) -> np.ndarray:
    _check_size(*size)
    if backend == "pil":
        filter = getattr(_pil(), interpolation.upper())
        return np.asarray(_pil().fromarray(np.ascontiguousarray(image)).resize(size, filter))
    import cv2

    return cv2.resize(image, size, interpolation=getattr(cv2, _CV2[interpolation]))


def _check_size(width: int, height: int) -> None:
    if width * height > _MAX_PIXELS:
        raise ValueError(f"the image would have {width}x{height} pixels")


def _centre(image: np.ndarray, width: int, height: int) -> np.ndarray:
    left, top = (image.shape[1] - width) // 2, (image.shape[0] - height) // 2
    return image[top : top + height, left : left + width]


def _unfit(image: np.ndarray, size: tuple[int, int]) -> str:
    return f"an image {image.shape[1]}x{image.shape[0]} does not suit {size[0]}x{size[1]}"


def _pil() -> Any:
    from PIL import Image

    return Image


def _choice(option: str, value: Any, valid: Collection[Any]) -> Any:
    value = value.lower() if isinstance(value, str) and value not in valid else value
    if isinstance(value, bool) or value not in valid:
        raise ValueError(f"{option} must be one of {', '.join(map(str, valid))}, got {value!r}")
    return value


def _number(option: str, value: Any) -> Any:
    # Not infinite in float32, and no nan.
    if isinstance(value, bool) or not isinstance(value, Real) or not abs(value) < 2**127:
        raise ValueError(f"{option} must be a number, got {value!r}")
    return value


def _numbers(option: str, value: Any) -> np.ndarray:
    values = value if isinstance(value, (list, tuple)) else [value]
    return np.array([_number(option, entry) for entry in values], dtype="float32")


def _mean_and_std(mean: Any, std: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    divisor = _numbers("std", std)
    if not divisor.all():
        raise ValueError(f"std must not be 0, got {std!r}")
    return _numbers("mean", mean).reshape(shape), divisor.reshape(shape)


def _pair(option: str, value: Any) -> tuple[int, int]:
    """(width, height) of a size, which may be one number for both."""
    width, height = value if isinstance(value, (list, tuple)) else (value, value)
    for side in (width, height):
        check_positive_int(option, side)
    return width, height
