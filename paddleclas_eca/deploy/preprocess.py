"""Images as networks get them: the steps of an exported model, one after the other.

The steps have the names, options and results of PaddleClas's operators, with which the model was
evaluated; tests hold that the results are the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Real
from typing import Any, Callable, Union

import numpy as np

from ..data.decoding import read_image
from ..errors import UserError, check_option, check_positive_int

Image = Union[str, "os.PathLike[str]", np.ndarray]
Step = Callable[[Any], Any]

_CV2 = {
    "nearest": "INTER_NEAREST",
    "bilinear": "INTER_LINEAR",
    "area": "INTER_AREA",
    "bicubic": "INTER_CUBIC",
    "lanczos": "INTER_LANCZOS4",
}
_PIL = {name: name.upper() for name in ("nearest", "bilinear", "bicubic", "box", "lanczos")}
_PIL["hamming"] = "HAMMING"
# A resize of a narrow image by its short side could ask for any amount of memory.
_MAX_PIXELS = 2**27


class Preprocess:
    """From an image to what the network gets, and back to pixels.

    Args:
        steps: what is done to an image, from decoding to channels first: those of
            :func:`build_steps`, or a host's own operators of the same names.
        origin: where they come from, for messages.
    """

    def __init__(self, steps: Sequence[Step], origin: str) -> None:
        self._origin = origin
        self._decode = [step for step in steps if type(step).__name__ == "DecodeImage"]
        self._steps = [step for step in steps if step not in self._decode]
        self._is_rgb = all(getattr(step, "to_rgb", True) for step in self._decode)

    def __call__(self, image: Image) -> np.ndarray:
        """The image as the network gets it.

        Args:
            image: path of a file, or RGB values ``[H, W, 3]`` from 0 to 255.

        Shape:
            ``[C, H, W]``, float32.

        Raises:
            UserError: the file cannot be read as an image, or does not suit the steps.
        """
        is_array = isinstance(image, np.ndarray)
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
            except Exception:  # what decoders say of a file that they cannot read helps nobody
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
            known = STEPS[name].__init__.__kwdefaults__ or {}
            for option in options:
                check_option(name, option, known)
            steps.append(STEPS[name](**options))
        except (TypeError, ValueError, LookupError, OverflowError, AttributeError) as error:
            raise UserError(f"{origin}: {name}: {error}") from error
    return steps


class DecodeImage:
    """Bytes of a file to ``[H, W, 3]``, uint8; blue first unless ``to_rgb``."""

    def __init__(
        self,
        *,
        to_rgb: bool = True,
        to_np: bool = True,
        channel_first: bool = False,
        backend: str = "cv2",
    ) -> None:
        self._backend = _choice("backend", backend, ("cv2", "pil"))
        # What is not made an array stays as the backend decodes it.
        self.to_rgb = to_rgb if to_np else self._backend == "pil"
        self.channel_first = channel_first and to_np

    def __call__(self, content: bytes) -> np.ndarray:
        """Bytes to ``[H, W, 3]``, or ``[3, H, W]`` with ``channel_first``."""
        if self._backend == "pil":
            import io

            from PIL import Image as pil

            image = np.asarray(pil.open(io.BytesIO(content)).convert("RGB"))[:, :, ::-1]
        else:
            import cv2

            image = cv2.imdecode(np.frombuffer(content, dtype="uint8"), cv2.IMREAD_COLOR)
        if self.to_rgb:
            image = image[:, :, ::-1]
        return image.transpose(2, 0, 1) if self.channel_first else image


class ResizeImage:
    """Resize to ``size`` (width, height), or so that the short side is ``resize_short``."""

    def __init__(
        self,
        *,
        size: int | Sequence[int] | None = None,
        resize_short: float | None = None,
        interpolation: str | None = None,
        backend: str = "cv2",
    ) -> None:
        self._short = _number("resize_short", resize_short or 0)
        if self._short <= 0:
            self._size = _pair("size", size)
        self._backend = _choice("backend", backend, ("cv2", "pil"))
        # The defaults of the two libraries, which PaddleClas leaves to them.
        default, names = ("bicubic", _PIL) if self._backend == "pil" else ("bilinear", _CV2)
        self._interpolation = names[_choice("interpolation", interpolation or default, names)]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``[H, W, 3]`` to another height and width."""
        if self._short > 0:
            height, width = image.shape[:2]
            factor = float(self._short) / min(width, height)
            size = int(round(width * factor)), int(round(height * factor))
        else:
            size = self._size
        return _resize(image, size, self._backend, self._interpolation)


class CropImage:
    """Crop the centre of ``size`` (width, height)."""

    def __init__(self, *, size: int | Sequence[int] | None = None) -> None:
        self._size = _pair("size", size)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``[H, W, 3]`` to ``[height, width, 3]``; raises ValueError for smaller images."""
        (width, height), (rows, columns) = self._size, image.shape[:2]
        if width > columns or height > rows:
            raise ValueError(
                f"an image {columns} wide and {rows} high cannot be cropped to {width}x{height}"
            )
        left, top = (columns - width) // 2, (rows - height) // 2
        return image[top : top + height, left : left + width]


class CropImageAtRatio:
    """Crop the central square of ``size / (size + pad)`` of the short side, and resize it."""

    def __init__(
        self, *, size: int | None = None, pad: float = 0, interpolation: str = "bilinear"
    ) -> None:
        self._size = _pair("size", size)
        self._ratio = self._size[0] / (self._size[0] + _number("pad", pad))
        self._interpolation = _CV2[_choice("interpolation", interpolation, _CV2)]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``[H, W, 3]`` to ``[size, size, 3]``."""
        rows, columns = image.shape[:2]
        side = int(self._ratio * min(rows, columns))
        left, top = (columns - side) // 2, (rows - side) // 2
        crop = image[top : top + side, left : left + side]
        return _resize(crop, self._size, "cv2", self._interpolation)


class Pad:
    """Surround the image by ``padding`` pixels of the value ``fill``."""

    def __init__(
        self,
        *,
        padding: int | None = None,
        fill: int = 0,
        padding_mode: str = "constant",
        backend: str = "pil",
    ) -> None:
        check_positive_int("padding", padding)
        _choice("padding_mode", padding_mode, ("constant",))
        _choice("backend", backend, ("cv2", "pil"))
        self._padding, self._fill = padding, _number("fill", fill or 0)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``[H, W, 3]`` to ``[H + 2 padding, W + 2 padding, 3]``."""
        around = (self._padding, self._padding)
        return np.pad(image, (around, around, (0, 0)), constant_values=self._fill)


class Padv2:
    """Pad with ``fill_value`` to ``size`` (width, height), or to multiples of ``size_divisor``.

    ``pad_mode`` says where the image goes: 0 left and up, 1 the centre, 2 right and down, -1 to
    ``offsets`` (x, y). The result is float32.
    """

    def __init__(
        self,
        *,
        size: int | Sequence[int] | None = None,
        size_divisor: int = 32,
        pad_mode: int = 0,
        offsets: Sequence[int] | None = None,
        fill_value: float | Sequence[float] = (127.5, 127.5, 127.5),
    ) -> None:
        check_positive_int("size_divisor", size_divisor)
        self._size = _pair("size", size) if size else None
        self._divisor = size_divisor
        self._mode = _choice("pad_mode", pad_mode, (-1, 0, 1, 2))
        self._fill = np.array(fill_value, dtype="float32")
        self._offsets = None
        if pad_mode == -1:
            x, y = offsets or ()
            if not (isinstance(x, int) and isinstance(y, int) and min(x, y) >= 0):
                raise ValueError(f"offsets must be two integers from 0, got {offsets!r}")
            self._offsets = x, y

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``[H, W, 3]`` to ``[height, width, 3]``; raises ValueError for larger images."""
        rows, columns = image.shape[:2]
        width, height = self._size or (
            -(-side // self._divisor) * self._divisor for side in (columns, rows)
        )
        if (width, height) == (columns, rows):
            return image.astype("float32")
        if self._mode == -1:
            x, y = self._offsets
        else:
            x, y = (space * self._mode // 2 for space in (width - columns, height - rows))
        if x + columns > width or y + rows > height or min(x, y) < 0:
            raise ValueError(
                f"an image {columns} wide and {rows} high does not fit into {width}x{height}"
            )
        canvas = np.empty((height, width, 3), dtype="float32")
        canvas[:] = self._fill
        canvas[y : y + rows, x : x + columns] = image
        return canvas


class NormalizeImage:
    """``(image * scale - mean) / std`` in float32; ``order`` is where the channels are."""

    def __init__(
        self,
        *,
        scale: float | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        order: str | None = "chw",
        channel_num: int = 3,
        output_fp16: bool = False,
    ) -> None:
        self.scale = np.float32(1 / 255 if scale is None else _number("scale", scale))
        self._is_chw = order == "chw"
        mean = [0.485, 0.456, 0.406] if mean is None else mean
        std = [0.229, 0.224, 0.225] if std is None else std
        shape = (3, 1, 1) if self._is_chw else (1, 1, 3)
        self.mean, self.std = (np.array(v, "float32").reshape(shape) for v in (mean, std))
        self._channels = _choice("channel_num", channel_num, (3, 4))
        self._dtype = "float16" if output_fp16 else "float32"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The values of an image, in the same layout."""
        image = (image.astype("float32") * self.scale - self.mean) / self.std
        if self._channels == 4:  # the fourth is 0
            axis = 0 if self._is_chw else 2
            padding = [(0, 1) if i == axis else (0, 0) for i in range(3)]
            image = np.pad(image, padding)
        return image.astype(self._dtype)


class Normalize:
    """``(image - mean) / std`` in float32, as ``paddle.vision`` has it."""

    def __init__(
        self,
        *,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        data_format: str = "CHW",
    ) -> None:
        shape = (-1, 1, 1) if _choice("data_format", data_format, ("CHW", "HWC")) == "CHW" else -1
        self.mean, self.std = (np.array(v, "float32").reshape(shape) for v in (mean, std))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The values of an image, in the same layout."""
        return (image - self.mean) / self.std


class ToTensor:
    """uint8 to float32 from 0 to 1, channels first, as ``paddle.vision`` has it."""

    def __init__(self, *, data_format: str = "CHW") -> None:
        self._is_chw = _choice("data_format", data_format, ("CHW", "HWC")) == "CHW"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``[H, W, C]`` to ``[C, H, W]``, unless ``data_format`` is HWC."""
        image = image.astype("float32") / np.float32(255) if image.dtype == np.uint8 else image
        return image.transpose(2, 0, 1) if self._is_chw else image


class ToCHWImage:
    """Channels last to channels first."""

    def __init__(self) -> None:
        pass

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``[H, W, C]`` to ``[C, H, W]``."""
        return image.transpose(2, 0, 1)


STEPS: dict[str, Callable[..., Step]] = {
    step.__name__: step
    for step in (
        DecodeImage,
        ResizeImage,
        CropImage,
        CropImageAtRatio,
        Pad,
        Padv2,
        NormalizeImage,
        Normalize,
        ToTensor,
        ToCHWImage,
    )
}


def _resize(
    image: np.ndarray, size: tuple[int, int], backend: str, interpolation: str
) -> np.ndarray:
    width, height = size
    if width * height > _MAX_PIXELS:
        raise ValueError(f"the resized image would have {width}x{height} pixels")
    if backend == "pil":
        from PIL import Image as pil

        filter = getattr(pil, interpolation)
        return np.asarray(pil.fromarray(np.ascontiguousarray(image)).resize(size, filter))
    import cv2

    return cv2.resize(image, size, interpolation=getattr(cv2, interpolation))


def _choice(option: str, value: Any, valid: Any) -> Any:
    value = value.lower() if isinstance(value, str) and value not in valid else value
    if isinstance(value, bool) or value not in valid:
        raise ValueError(f"{option} must be one of {', '.join(map(str, valid))}, got {value!r}")
    return value


def _number(option: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{option} must be a number, got {value!r}")
    return value


def _pair(option: str, value: Any) -> tuple[int, int]:
    """(width, height) of a size, which may be one number for both."""
    values = [value, value] if not isinstance(value, (list, tuple)) else value
    if len(values) != 2:
        raise ValueError(f"{option} must be an integer or two, got {value!r}")
    for side in values:
        check_positive_int(option, side)
    return values[0], values[1]
