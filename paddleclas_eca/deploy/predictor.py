"""Predict the classes of images with an exported model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UserError, check_positive_int
from ..runtime import tune_cpu
from .format import DESCRIPTION, METADATA, read_folder
from .preprocess import Image, Preprocess, build_steps
from .runtimes import BACKENDS, DEVICES


class Prediction(NamedTuple):
    """The most probable classes of an image, the best first.

    Attributes:
        class_ids: their numbers.
        names: their names.
        scores: their probabilities, from 0 to 1.
    """

    class_ids: list[int]
    names: list[str]
    scores: list[float]


class Predictor:
    """An exported model that is ready to predict.

    Images are preprocessed as in evaluation. Threads may share a predictor, and so may processes
    that are forked after it was loaded.

    Args:
        folder: the directory that ``export_model`` wrote (``Global.save_inference_dir``).
        backend: ``"paddle"`` for Paddle Inference, or ``"onnxruntime"``, for models that were
            exported with ``--onnx``.
        device: ``"cpu"``, with all cores unless ``OMP_NUM_THREADS`` says otherwise; or ``"gpu"``.

    Attributes:
        model: the description of the model: names of the classes, input shape.

    Raises:
        UserError: (a ValueError) the directory holds no exported classifier, or the backend or
            device is not available.

    Example:
        >>> predictor = Predictor("inference/digits")  # doctest: +SKIP
        >>> [three] = predictor.predict(["3.png"], topk=1)  # doctest: +SKIP
        >>> three.names  # doctest: +SKIP
        ['three']
    """

    def __init__(
        self, folder: str | os.PathLike[str], backend: str = "paddle", device: str = "cpu"
    ) -> None:
        for name, value, valid in (("backend", backend, BACKENDS), ("device", device, DEVICES)):
            if value not in valid:
                raise UserError(f"{name} must be one of {', '.join(valid)}, got {value!r}")
        self.model = read_folder(Path(folder))
        origin = f"the steps of {self.model.folder / DESCRIPTION}"
        self._preprocess = Preprocess(build_steps(self.model.steps, origin), origin)
        runtime = BACKENDS[backend]
        self.model.check_files(runtime.files)
        if device == "cpu":
            tune_cpu()
        self._session = runtime.open(self.model.folder, device)
        self._given = folder, backend, device
        # The first image takes longest, since the runtime chooses and prepares its kernels.
        scores = self.probabilities(np.zeros((1, *self.model.input_shape), "float32"))
        if scores.shape != (1, len(self.model.names)):
            raise UserError(
                f"{self.model.folder}: the network returns {list(scores.shape)} for an image, and "
                f"{METADATA} has {len(self.model.names)} classes. Export the model again"
            )
        if not np.isfinite(scores).all():
            raise UserError(
                f"{self.model.folder}: the network returns values that are no numbers; its weights "
                f"are damaged, or its training diverged. Export another checkpoint"
            )

    def __reduce__(self) -> tuple[type[Predictor], tuple[str | os.PathLike[str], str, str]]:
        # A process that gets it by pickle loads the directory itself.
        return type(self), self._given

    def preprocess(self, image: Image) -> np.ndarray:
        """The network's input for an image.

        Args:
            image: path of a file, or RGB values ``[H, W, 3]`` from 0 to 255.

        Returns:
            ``[C, H, W]`` in float32.

        Raises:
            UserError: the file cannot be read as an image, or the values have another form.
        """
        value = self._preprocess(image)
        if value.shape != self.model.input_shape:
            name = f"an array {list(image.shape)}" if isinstance(image, np.ndarray) else image
            raise UserError(
                f"{name}: preprocessing gives {list(value.shape)} and the model takes "
                f"{list(self.model.input_shape)}. Export it again with the image shape that its "
                f"transforms give"
            )
        return value

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """Run the network.

        Args:
            batch: preprocessed images, ``[N, C, H, W]``.

        Returns:
            The probability of every class, ``[N, classes]``.

        Raises:
            UserError: ``batch`` has another shape, or the network fails on it.
        """
        batch = np.asarray(batch, dtype="float32")
        if not batch.size or batch.shape[1:] != self.model.input_shape:
            raise UserError(
                f"a batch has the shape {['N', *self.model.input_shape]}, got {list(batch.shape)}"
            )
        output = self._session.run(batch)
        if self.model.has_softmax:
            return output
        powers = np.exp(output - output.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    def predict(self, images: Iterable[Image], topk: int | None = None) -> list[Prediction]:
        """Predict the classes of images, all in one batch.

        Args:
            images: paths of files, or RGB values ``[H, W, 3]`` from 0 to 255.
            topk: how many classes per image; by default as in the exported config.

        Raises:
            UserError: one of them cannot be read; :meth:`stream` continues after such an image.
        """
        if isinstance(images, (str, os.PathLike)):
            raise UserError(f"predict takes a list of images: predict([{os.fspath(images)!r}])")
        images = list(images)
        predictions = []
        for _, result in self.stream(images, batch_size=max(1, len(images)), topk=topk):
            if isinstance(result, UserError):
                raise result
            predictions.append(result)
        return predictions

    def stream(
        self, images: Iterable[Image], batch_size: int = 32, topk: int | None = None
    ) -> Iterator[tuple[Image, Prediction | UserError]]:
        """Predict the classes of any number of images; a batch of them is in memory at a time.

        Args:
            images: as for :meth:`predict`.
            batch_size: how many images the network sees at once.
            topk: as for :meth:`predict`.

        Yields:
            An image as it was given, and its prediction or the error that says why it cannot be
            read; in the order given.

        Raises:
            UserError: ``topk`` or ``batch_size`` is out of range.
        """
        check_positive_int("batch_size", batch_size)
        topk = self.model.topk if topk is None else topk
        check_positive_int("topk", topk)
        if topk > len(self.model.names):
            raise UserError(f"topk is {topk}, and the model has {len(self.model.names)} classes")
        return self._stream(images, batch_size, topk)

    def _stream(
        self, images: Iterable[Image], batch_size: int, topk: int
    ) -> Iterator[tuple[Image, Prediction | UserError]]:
        waiting: list[tuple[Image, np.ndarray | UserError]] = []
        for image in images:
            try:
                waiting.append((image, self.preprocess(image)))
            except UserError as error:
                waiting.append((image, error))
            if len(waiting) == batch_size:
                yield from self._predicted(waiting, topk)
                waiting = []
        yield from self._predicted(waiting, topk)

    def _predicted(
        self, waiting: list[tuple[Image, np.ndarray | UserError]], topk: int
    ) -> Iterator[tuple[Image, Prediction | UserError]]:
        inputs = [value for _, value in waiting if isinstance(value, np.ndarray)]
        rows = iter(self.probabilities(np.stack(inputs)) if inputs else ())
        for image, value in waiting:
            readable = isinstance(value, np.ndarray)
            yield image, self._ranked(next(rows), topk) if readable else value

    def _ranked(self, scores: np.ndarray, topk: int) -> Prediction:
        # Stable, so that of equal scores the lower class comes first, as in PaddleClas's metric.
        best = np.argsort(-scores, kind="stable")[:topk].tolist()
        return Prediction(best, [self.model.names[i] for i in best], scores[best].tolist())
