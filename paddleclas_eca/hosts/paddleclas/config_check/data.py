"""The label lists of a config, and a sample of their images, sent through the transforms."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ....checks.findings import Finding, error, warning
from ....configs import Config, section
from ....data.decoding import read_image
from ....data.label_lists import (
    NAMED,
    PLAIN_LISTS,
    Entry,
    delimiter_of,
    image_paths,
    keep_list,
    missing_images,
    named,
    read_list,
    wrong_labels,
)
from ....errors import UserError, numbers_without
from ....models.layers import image_channels
from ....training.corrupt_images import DEFAULT_SHARE
from ..locate import PaddleClas
from .build import Built, isolated
from .parts import class_count, datasets_read
from .rules import example_image

_SHARE = "Global.max_corrupt_images"
# So many images of a list are opened, and so many of them are transformed.
SAMPLE, TRANSFORMED = 100, 4
# Images have no more channels: a network whose first convolution in the order of its layers takes
# more runs another one first.
_MOST_CHANNELS = 16
# Where DataLoader workers put their batches.
_SHARED_MEMORY = "/dev/shm"
# After so many lines that cannot be read, reading a list ends: it is another kind of file.
MALFORMED = 1000


class _Image(NamedTuple):
    """An image of the sample.

    Attributes:
        name: as its list names it, or its path.
        content: the file.
        size: height and width.
        label: its label.
    """

    name: str
    content: bytes
    size: tuple[int, ...]
    label: int


def check_data(
    ppcls: PaddleClas, config: Config, built: Built | None, processes: int, keep_lists: bool
) -> Iterator[Finding]:
    """Errors in the label lists of a run, a sample of their images, and their preprocessing.

    Only lists of a known format are read: those of ``PLAIN_LISTS``.

    Args:
        ppcls: the PaddleClas that is to train.
        config: a config that the rules have been applied to.
        built: the parts built from it, if any.
        processes: how many processes are to train.
        keep_lists: keep the lists for the data sets of this process.
    """
    outputs: dict[str, list[np.ndarray]] = {}
    for place, dataset in datasets_read(config, "train"):
        listed, root = dataset.get("cls_label_path"), dataset.get("image_root")
        if str(dataset.get("name")) not in PLAIN_LISTS or not isinstance(root, str):
            continue
        images: list[_Image] = []
        if isinstance(listed, str) and os.path.exists(listed):
            images = yield from _of_list(ppcls, config, place, dataset, processes, keep_lists)
        operators = built.transforms.get(f"{place}.transform_ops") if built else None
        if images and operators is not None:
            with isolated(ppcls):
                found, outputs[place] = _transformed(place, dataset["name"], operators, images)
                batch = built.transforms.get(f"{place}.batch_transform_ops")
                if batch and not found:
                    found += _batched(place, batch, outputs[place], images)
            yield from found
            if not found and dataset["name"] != "MultiScaleDataset":
                yield from _of_sizes(config, place, images, outputs[place])
            yield from _of_shared_memory(config, place, outputs[place])
    if built:
        operators = built.transforms.get("Infer.transforms")
        if operators:
            with isolated(ppcls):
                found, outputs["Infer"] = _inferred(ppcls, config, operators)
            yield from found
        yield from _of_channels(config, built, outputs)
        yield from _of_image_shape(config, outputs)


# Lists and labels.


def _of_list(
    ppcls: PaddleClas, config: Config, place: str, dataset: Config, processes: int, keep: bool
) -> Any:
    """Yields findings; returns the images that are to be transformed."""
    key, listed, root = f"{place}.cls_label_path", dataset["cls_label_path"], dataset["image_root"]
    refused: list[UserError] = []

    def refuse(found: UserError) -> None:
        refused.append(found)
        if len(refused) == MALFORMED:
            raise found

    def exists(name: str) -> bool:
        return os.path.isfile(os.path.join(root, name))

    delimiter = delimiter_of(dataset["name"], dataset.get("delimiter"))
    try:
        entries = read_list(listed, delimiter, exists, refuse, reuse=False)
    except UserError as found:
        entries = []
        if not refused:
            yield error(key, str(found))
    for found in refused[:NAMED]:
        yield error(key, str(found))
    if len(refused) > NAMED:
        least = " at least" if len(refused) == MALFORMED else ""
        yield error(key, f"{listed} has{least} {len(refused) - NAMED:,} more lines like these")
    if not entries:
        return []
    if keep and not refused:
        keep_list(listed, delimiter, entries)
    if not refused:
        loader = place.rpartition(".")[0]
        sampler = section(config, *loader.split("."), "sampler")
        yield from check_length(loader, sampler, len(entries), processes)
    if not dataset.get("relabel"):
        yield from _of_labels(config, place, listed, entries)
    if not os.path.exists(root):  # reported already, once
        return []
    return (yield from _of_images(ppcls, config, place, dataset, entries))


def check_length(loader: str, sampler: Any, images: int, processes: int) -> Iterator[Finding]:
    """Whether an epoch or an evaluation has a step at all, and whether it leaves images out.

    Args:
        loader: key of the loader, such as ``DataLoader.Eval``.
        sampler: its section ``sampler``.
        images: number of its images.
        processes: how many processes share them.
    """
    batch, name = section(sampler, "batch_size"), section(sampler, "name") or "BatchSampler"
    if name not in ("BatchSampler", "DistributedBatchSampler") or not isinstance(batch, int):
        return
    if batch < 1 or not section(sampler, "drop_last"):
        return
    # This one gives each process as many images, some of them twice; the other gives it all.
    share = -(-images // processes) if name == "DistributedBatchSampler" else images
    trains, key = loader == "DataLoader.Train", f"{loader}.sampler"
    of_all = f" of the {images:,}" if share < images else ""
    if batch > share:
        yield error(
            f"{key}.batch_size",
            f"{'an epoch' if trains else 'an evaluation'} has no step: a process gets {share:,}"
            f"{of_all} images, less than a batch of {batch:,}, and drop_last leaves it out. Set a "
            f"smaller batch_size, or -o {key}.drop_last=False",
        )
    elif share % batch and not trains:  # each epoch of training leaves out others
        left = images - images * (share - share % batch) // share
        yield warning(
            f"{key}.drop_last",
            f"{left:,} of {images:,} images are left out, as they do not fill a batch of "
            f"{batch:,}. Set -o {key}.drop_last=False to evaluate all",
        )


def _of_labels(
    config: Config, place: str, listed: str, entries: Sequence[Entry]
) -> Iterator[Finding]:
    # The lists of retrieval, such as DataLoader.Eval.Query, have labels of their own.
    if place not in ("DataLoader.Train.dataset", "DataLoader.Eval.dataset"):
        return
    key, classes = class_count(config["Arch"], config["Global"])
    if key == "Arch.Head.class_num" and not place.startswith("DataLoader.Train"):
        classes = None
    for found in wrong_labels(listed, entries, classes, key):
        yield error(f"{place}.cls_label_path", str(found))
    labels = {entry.label for entry in entries}
    without, numbers = numbers_without(classes or 0, labels, NAMED)
    if without > 0:
        yield warning(
            f"{place}.cls_label_path",
            f"{listed} has no image of {without:,} of {classes:,} classes ({key}): {numbers}",
        )


# Images.


def _of_images(
    ppcls: PaddleClas, config: Config, place: str, dataset: Config, entries: Sequence[Entry]
) -> Any:
    """Yields findings; returns a few images that differ in size as much as the sample does."""
    listed, root = dataset["cls_label_path"], dataset["image_root"]
    count = min(SAMPLE, len(entries))
    # Evenly over the list, first and last included.
    chosen = [entries[i * (len(entries) - 1) // max(count - 1, 1)] for i in range(count)]
    missing, corrupt, decoded = [], [], []
    decode = _decoder(ppcls, dataset)
    for entry, path in zip(chosen, image_paths(root, chosen)):
        if not os.path.exists(path):
            missing.append(entry.line)
            continue
        try:
            content = read_image(path)
            size = decode(content).shape[:2]
        except Exception:  # what decoders raise has no common base
            corrupt.append(entry.line)
        else:
            decoded.append(_Image(entry.name, content, size, entry.label))
            decoded = _most_different(decoded)
    sample = "images" if count == len(entries) else "images looked at"
    if missing:
        how_many = f"{len(missing):,} of {count:,} {sample}"
        yield error(f"{place}.image_root", str(missing_images(listed, root, missing, how_many)))
    if corrupt:
        share = config["Global"].get("max_corrupt_images")
        share = DEFAULT_SHARE if share is None else share
        # A sample proves little about a share of a hundredth; the run counts exactly.
        hopeless = len(corrupt) > max(share, 0.5) * count
        yield (error if hopeless else warning)(
            f"{place}.image_root",
            f"{len(corrupt):,} of {count:,} {sample} of {listed} do not decode: {named(corrupt)}. "
            f"Replace the files, or remove them from the list; {_SHARE}, {share:g}, is the share "
            f"that may be corrupt",
        )
    return decoded


def _most_different(images: list[_Image]) -> list[_Image]:
    """The first image, and of the others the lowest, the narrowest and the largest."""
    kept = [images[0]]
    for rank in (lambda i: i.size[0], lambda i: i.size[1], lambda i: -i.size[0] * i.size[1]):
        best = min(images, key=rank)
        if all(best is not image for image in kept):
            kept.append(best)
    return kept[:TRANSFORMED]


def _decoder(ppcls: PaddleClas, dataset: Config) -> Any:
    """The operator that the data set decodes its images with, as the config sets it."""
    preprocess = ppcls.module("data.preprocess")
    listed = dataset.get("transform_ops")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and "DecodeImage" in entry:
            try:
                return preprocess.DecodeImage(**(entry["DecodeImage"] or {}))
            except (TypeError, AssertionError):
                break  # reported as wrong options
    return preprocess.DecodeImage()


# Transforms.


def _run(place: str, operators: Sequence[Any], image: Any, name: str) -> tuple[Any, Finding | None]:
    """What transforms make of the content of an image; an error where one of them fails."""
    for index, operator in enumerate(operators):
        try:
            image = operator(image)
        except Exception as failure:  # PaddleClas and OpenCV raise any
            kind = type(operator).__name__
            message = " ".join(str(failure).split())[:300]
            return None, error(
                f"{place}.{index}",
                f"{kind} fails on {name}: {type(failure).__name__}: {message}",
            )
    return image, None


def _transformed(
    place: str, kind: str, operators: Sequence[Any], images: Sequence[_Image]
) -> tuple[list[Finding], list[np.ndarray]]:
    """What the transforms of a data set make of images, ``[C, H, W]`` each; or errors."""
    place = f"{place}.transform_ops"
    outputs, failures = [], []
    for image in images:
        output, failure = _run(place, operators, image.content, image.name)
        if failure is None:
            try:
                # As the data sets do.
                output = np.asarray(output.transpose((2, 0, 1)))
            except Exception:
                shape = list(getattr(output, "shape", ()) or ()) or type(output).__name__
                failure = error(
                    place,
                    f"they make {shape} of {image.name}, and {kind} needs [height, width, "
                    f"channels]: it moves the channels to the front itself",
                )
        if failure is None:
            outputs.append(output)
        else:
            failures.append(failure)
    # Images that fail alone count as corrupt images in the run.
    return ([failures[0]] if failures and not outputs else []), outputs


def _batched(
    place: str, operators: Sequence[Any], outputs: Sequence[np.ndarray], images: Sequence[_Image]
) -> list[Finding]:
    batch = [(output, np.int64(image.label)) for output, image in zip(outputs, images)]
    if not batch or len({output.shape for output in outputs}) > 1:
        return []
    _, failure = _run(f"{place}.batch_transform_ops", operators, (batch * 4)[:4], "a batch")
    return [failure] if failure else []


def _of_sizes(
    config: Config, place: str, images: Sequence[_Image], outputs: Sequence[np.ndarray]
) -> Iterator[Finding]:
    batch = section(config, *place.split(".")[:-1], "sampler", "batch_size")
    shapes = {output.shape: image for output, image in zip(outputs, images)}
    if len(shapes) > 1 and batch != 1:
        shown = " and ".join(f"{list(shape)} of {i.name}" for shape, i in list(shapes.items())[:2])
        yield error(
            f"{place}.transform_ops",
            f"they make images of different sizes, {shown}, which cannot be put in one batch. Add "
            f"a transform that gives all images the same size, such as ResizeImage or "
            f"RandCropImage with `size`",
        )


def _of_shared_memory(
    config: Config, place: str, outputs: Sequence[np.ndarray]
) -> Iterator[Finding]:
    """Whether the batches that the workers prepare fit into the shared memory of this machine."""
    loader = section(config, *place.split(".")[:-1])
    shared, workers = (
        section(loader, "loader", key) for key in ("use_shared_memory", "num_workers")
    )
    batch = section(loader, "sampler", "batch_size")
    if not (outputs and shared and isinstance(workers, int) and isinstance(batch, int)):
        return
    try:
        free = shutil.disk_usage(_SHARED_MEMORY).free
    except OSError:
        return  # not Linux
    processes = int(os.environ.get("PADDLE_LOCAL_SIZE") or 1)
    # Paddle asks each worker for two batches ahead.
    needed = 2 * workers * processes * batch * outputs[0].nbytes
    if needed > free:
        place = place.removesuffix(".dataset")
        yield error(
            f"{place}.loader.use_shared_memory",
            f"{_SHARED_MEMORY} has {free >> 20:,} MB free, and {workers} workers with two batches "
            f"of {batch} images each, times {processes} processes, need {needed >> 20:,} MB. "
            f"Give the container more (--shm-size), or add -o "
            f"{place}.loader.use_shared_memory=False, or use fewer num_workers",
        )


def _inferred(
    ppcls: PaddleClas, config: Config, operators: Sequence[Any]
) -> tuple[list[Finding], list[np.ndarray]]:
    try:
        path, _ = example_image(ppcls, config)
        content = read_image(path)
    except (UserError, OSError):
        return [], []  # training does not need that image
    output, failure = _run("Infer.transforms", operators, content, str(path))
    if failure is None and (not isinstance(output, np.ndarray) or output.ndim != 3):
        shape = list(output.shape) if hasattr(output, "shape") else type(output).__name__
        failure = error(
            "Infer.transforms",
            f"they make {shape} of {path}, and the network needs [channels, height, width]. "
            f"Put ToCHWImage at the end",
        )
    return ([failure], []) if failure else ([], [output])


def _of_channels(
    config: Config, built: Built, outputs: dict[str, list[np.ndarray]]
) -> Iterator[Finding]:
    """Whether the network takes as many channels as the transforms give."""
    if built.network is None:
        return
    wanted = image_channels(built.network)
    if wanted > _MOST_CHANNELS:
        return
    for place, images in outputs.items():
        given = {image.shape[0] for image in images} - {wanted}
        if given:
            key = "Infer.transforms" if place == "Infer" else f"{place}.transform_ops"
            yield error(
                key,
                f"they give images of {given.pop()} channels, and the network takes {wanted}. Have "
                f"DecodeImage give {wanted}, or set the number of channels of the network in Arch",
            )
    shape = config["Global"].get("image_shape")
    if shape and shape[0] != wanted:
        yield error(
            "Global.image_shape",
            f"{shape} has {shape[0]} channels, and the network takes {wanted}",
        )


def _of_image_shape(config: Config, outputs: dict[str, list[np.ndarray]]) -> Iterator[Finding]:
    """Whether the exported network takes images of the size that predictions prepare."""
    shape = config["Global"].get("image_shape")
    images = next((outputs[k] for k in ("Infer", "DataLoader.Eval.dataset") if outputs.get(k)), [])
    for image in images[:1]:
        if shape and image.shape[0] == shape[0] and list(image.shape) != list(shape):
            key = "Infer.transforms" if outputs.get("Infer") else "DataLoader.Eval's transform_ops"
            yield error(
                "Global.image_shape",
                f"{shape} is what the exported network will take, and {key} give "
                f"{list(image.shape)}. Set one to the other",
            )
