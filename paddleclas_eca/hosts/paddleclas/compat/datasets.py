"""Reading label lists and images, and mixing images."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import paddle

from ....data.label_lists import (
    PLAIN_LISTS,
    TrackedLines,
    check_images,
    check_labels,
    delimiter_of,
    read_list,
)
from ....errors import UserError
from ....training.corrupt_images import DEFAULT_SHARE, IN_A_ROW, Tally, file_of, leaves
from ..locate import PaddleClas
from ..monkeypatch import Edits
from ..source import source_has
from .base import Patch

_MULTI_LABEL = "data.dataloader.multilabel_dataset"
_BATCH_OPERATORS = "data.preprocess.batch_ops.batch_operators"


def _dataset_classes(ppcls: PaddleClas, method: str) -> list[type]:
    """The data set classes that define ``method`` themselves."""
    package = ppcls.module("data.dataloader").__name__
    classes = {
        value: None
        for name, module in list(sys.modules.items())
        if name.startswith(f"{package}.")
        for value in list(vars(module).values())
        if isinstance(value, type) and method in vars(value)
    }
    return list(classes)


def _retrying_datasets(ppcls: PaddleClas) -> list[type]:
    """The data set classes that answer an unreadable image with a random other one."""
    classes = _dataset_classes(ppcls, "__getitem__")
    return [c for c in classes if source_has(c.__getitem__, "self.__getitem__(rnd_idx)")]


# How long to wait for the worker processes of a loader.
_SECONDS_TO_STOP = 5


class _EndOfData(StopIteration):
    """Ends the reading of data without a traceback, whichever process or thread reads.

    In the thread that reads where there are no worker processes, StopIteration ends the loader;
    any other exception leaves it waiting for ever. From a worker process the loader brings the
    class, and raises it with a text in a thread of its own, which prints all but SystemExit.
    """

    def __new__(cls, *text: str) -> Any:
        return SystemExit() if text else super().__new__(cls)


@dataclass
class _Loading:
    """The loaders that are being built.

    Attributes:
        place: the loader's name in the config, such as ``Train``.
        share: what share of its images may be broken.
        tallies: those of the loaders of this Engine.
    """

    place: str = "Train"
    share: float = DEFAULT_SHARE
    tallies: list[Tally] = field(default_factory=list)


def _install_broken_images(ppcls: PaddleClas, edits: Edits) -> None:
    data = ppcls.module("data")
    logger = ppcls.module("utils.logger")
    tallies: WeakKeyDictionary[Any, Tally] = WeakKeyDictionary()
    loading = _Loading()
    under_way = threading.local()

    def read(original: Any, self: Any, index: Any) -> Any:
        # The retry is a recursion: what is under way when it comes back has failed.
        indices = under_way.indices = getattr(under_way, "indices", [])
        tally = tallies.get(self)
        if tally is not None:
            if indices:
                tally.failed(indices[-1])
            tally.saw(index)
        indices.append(index)
        try:
            if len(indices) <= IN_A_ROW:
                return original(self, index)
            if tally is None or _in_main_thread():
                raise UserError(
                    f"{IN_A_ROW} images in a row could not be read by {type(self).__name__}, "
                    f"{file_of(self, index)} would be the next; the errors are logged above. "
                    f"Check the images, and the transform_ops, whose errors look the same."
                )
            tally.give_up()
            raise _EndOfData
        finally:
            indices.pop()

    class Loader(paddle.io.DataLoader):
        """Counts the broken images of its data set, and looks at the count at every step."""

        def __init__(self, dataset: Any, *args: Any, **kwargs: Any) -> None:
            parts = [leaf for leaf in leaves(dataset) if isinstance(leaf, classes)]
            # Before any worker process is forked.
            self._tallies = [Tally(part, loading.place, loading.share) for part in parts]
            tallies.update(zip(parts, self._tallies))
            loading.tallies += self._tallies
            super().__init__(dataset, *args, **kwargs)

        def __iter__(self) -> Iterator[Any]:
            batches = super().__iter__()
            try:
                for batch in batches:
                    for tally in self._tallies:
                        tally.check(paddle.distributed.get_world_size())
                    yield batch
            except BaseException:
                # Where a traceback keeps the iterator until the garbage collector comes, Paddle
                # waits for ever for the worker processes: their queues are closed by then.
                if self.num_workers:
                    batches._try_shutdown_all(_SECONDS_TO_STOP)
                raise

    def build_loader(original: Any, config: Any, mode: str, *args: Any, **kwargs: Any) -> Any:
        loading.place = mode
        return original(config, mode, *args, **kwargs)

    def build(original: Any, self: Any, config: Any, mode: str = "train") -> None:
        loading.share = config["Global"].get("max_corrupt_images", DEFAULT_SHARE)
        loading.tallies = []
        original(self, config, mode)
        for name, trained in (("train_epoch_func", True), ("eval_func", False)):
            counted = [t for t in loading.tallies if (t.place == "Train") == trained]
            if counted and hasattr(self, name):
                setattr(self, name, counting(getattr(self, name), counted))

    def counting(run: Any, counted: list[Tally]) -> Any:
        """``run``, an epoch of training or an evaluation, with a report of broken images."""

        def epoch(*args: Any, **kwargs: Any) -> Any:
            with _clear_end(counted):
                result = run(*args, **kwargs)
            for tally in counted:
                if paddle.distributed.get_world_size() > 1:
                    tally.unite()
                report = tally.report()
                if report:
                    logger.warning(report)
                tally.check()
            return result

        return epoch

    classes = tuple(_retrying_datasets(ppcls))
    for dataset in classes:
        edits.wrap(dataset, "__getitem__", read)
    edits.set(data, "DataLoader", Loader)
    edits.wrap_everywhere(ppcls.package, data, "build_dataloader", build_loader)
    edits.wrap(ppcls.module("engine.engine").Engine, "__init__", build)


@contextmanager
def _clear_end(counted: list[Tally]) -> Iterator[None]:
    """Have what ended the reading of data speak, not what the loader made of it."""
    try:
        yield
    except UserError:
        raise
    except Exception:
        for tally in counted:
            tally.check()
        raise


def _in_main_thread() -> bool:
    in_worker = paddle.io.get_worker_info() is not None
    return not in_worker and threading.current_thread() is threading.main_thread()


def _list_readers(ppcls: PaddleClas) -> list[type]:
    classes = _dataset_classes(ppcls, "_load_anno")
    return [c for c in classes if source_has(c._load_anno, "readlines()")]


def _install_label_lists(ppcls: PaddleClas, edits: Edits) -> None:
    # Whether labels are classes of the network, and of how many, while a loader is built.
    classify, classes = False, None

    def build_loader(original: Any, config: Any, mode: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal classify, classes
        # The lists of retrieval have labels of their own.
        classify, classes = mode in ("Train", "Eval"), config.get("class_num")
        try:
            return original(config, mode, *args, **kwargs)
        finally:
            classify, classes = False, None

    def load_plain(kind: str, original: Any, self: Any, seed: int | None = None) -> None:
        path, root = str(self._cls_path), str(self._img_root)
        delimiter = delimiter_of(kind, getattr(self, "delimiter", None))
        entries = read_list(path, delimiter, lambda name: os.path.isfile(os.path.join(root, name)))
        if seed is not None:
            np.random.RandomState(seed).shuffle(entries)
        images = check_images(path, root, entries)
        labels = [np.int64(entry.label) for entry in entries]
        if getattr(self, "relabel", False):
            # Numbered as PaddleClas numbers them, in the order of a set.
            number = {old: new for new, old in enumerate({*labels})}
            labels = [number[label] for label in labels]
        elif classify:
            check_labels(path, entries, classes)
        self.images, self.labels = images, labels

    def load_other(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal lines
        lines = TrackedLines(str(self._cls_path))
        try:
            return original(self, *args, **kwargs)
        except (AssertionError, IndexError, ValueError) as error:
            if isinstance(error, UserError) or lines.reached is None:
                raise
            raise lines.unreadable(type(self).__name__, error) from error

    def open_list(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if lines is None or str(path) != lines.path or "b" in mode:
            return open(path, mode, *args, **kwargs)
        return lines

    lines: TrackedLines | None = None
    for reader in _list_readers(ppcls):
        if reader.__name__ in PLAIN_LISTS:
            load = partial(load_plain, reader.__name__)
        else:
            load = load_other
            edits.set(sys.modules[reader.__module__], "open", open_list)
        edits.wrap(reader, "_load_anno", load)
    edits.wrap_everywhere(ppcls.package, ppcls.module("data"), "build_dataloader", build_loader)


# The end of a JPEG, and the beginning of its pixels.
_END_OF_IMAGE, _START_OF_SCAN = b"\xff\xd9", b"\xff\xda"


def _decodes_truncated_jpegs(ppcls: PaddleClas) -> bool:
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    _, jpeg = cv2.imencode(".jpg", noise)
    return cv2.imdecode(jpeg[: len(jpeg) // 2], 1) is not None


def _decode_image(ppcls: PaddleClas) -> Any:
    return ppcls.module("data.preprocess.ops.operators").DecodeImage


def _first_scan(jpeg: bytes) -> int:
    """Where the pixels of a JPEG begin: behind previews, which have an end of their own."""
    place = 2
    while jpeg[place : place + 1] == b"\xff" and jpeg[place : place + 2] != _START_OF_SCAN:
        if jpeg[place + 1 : place + 2] == b"\xff":  # padding
            place += 1
        else:
            place += 2 + max(2, int.from_bytes(jpeg[place + 2 : place + 4], "big"))
    return place


def _install_truncated_jpeg(ppcls: PaddleClas, edits: Edits) -> None:
    def decode(original: Any, self: Any, image: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(image, bytes) and image.startswith(b"\xff\xd8"):
            if image.find(_END_OF_IMAGE, _first_scan(image)) < 0:
                raise ValueError("the JPEG file is truncated")
        return original(self, image, *args, **kwargs)

    edits.wrap(_decode_image(ppcls), "__call__", decode)


def _install_infer_image(ppcls: PaddleClas, edits: Edits) -> None:
    engine = ppcls.module("engine.engine")
    opened = ""

    def open_image(path: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal opened
        opened = str(path)
        return open(path, *args, **kwargs)

    def prepare(step: Any, image: Any) -> Any:
        try:
            return step(image)
        except Exception as error:
            raise UserError(
                f"Infer.infer_imgs: {opened} cannot be read as an image, or does not suit "
                f"Infer.transforms: {type(step).__name__} fails with {type(error).__name__}: "
                f"{error}"
            ) from error

    def infer(original: Any, self: Any) -> Any:
        steps = self.preprocess_func
        self.preprocess_func = [partial(prepare, step) for step in steps]
        try:
            return original(self)
        finally:
            self.preprocess_func = steps

    edits.set(engine, "open", open_image)
    edits.wrap(engine.Engine, "infer", infer)


def _multi_label_dataset(ppcls: PaddleClas) -> Any:
    return ppcls.module(_MULTI_LABEL).MultiLabelDataset


def _install_label_ratio(ppcls: PaddleClas, edits: Edits) -> None:
    edits.set(_multi_label_dataset(ppcls), "label_ratio", None)


def _fmix(ppcls: PaddleClas) -> Any:
    return getattr(ppcls.module(_BATCH_OPERATORS), "FmixOperator", None)


def _install_fmix_type(ppcls: PaddleClas, edits: Edits) -> None:
    def in_float32(original: Any, self: Any, batch: Any) -> Any:
        return [(image.astype(np.float32), target) for image, target in original(self, batch)]

    edits.wrap(_fmix(ppcls), "__call__", in_float32)


PATCHES = [
    Patch(
        name="broken-images",
        versions="all",
        symptom="unreadable images are replaced by others without a count; where none can be "
        "read, RecursionError after a thousand of them, or a hang",
        needed=lambda ppcls: bool(_retrying_datasets(ppcls)),
        install=_install_broken_images,
    ),
    Patch(
        name="label-lists",
        versions="all",
        symptom="label lists: a blank line or a blank in a name is an IndexError or ValueError "
        "that names no line, and a wrong label an error in the loss",
        needed=lambda ppcls: bool(_list_readers(ppcls)),
        install=_install_label_lists,
    ),
    Patch(
        name="truncated-jpeg",
        versions="all, with OpenCV before 4.11",
        symptom="the missing part of a truncated JPEG is trained on as grey or noise",
        needed=_decodes_truncated_jpegs,
        install=_install_truncated_jpeg,
    ),
    Patch(
        name="infer-image",
        versions="PaddleClas 2.4.2 and release/2.5; develop skips such images",
        symptom="infer on a broken image: 'NoneType' object has no attribute 'shape'",
        needed=lambda ppcls: (
            not source_has(ppcls.module("engine.engine").Engine.infer, "except Exception")
        ),
        install=_install_infer_image,
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
        symptom="Fmix: images become float64, and the first convolution refuses them",
        needed=lambda ppcls: source_has(_fmix(ppcls), "imgs = mask * imgs + (1 - mask) * imgs"),
        install=_install_fmix_type,
    ),
]
