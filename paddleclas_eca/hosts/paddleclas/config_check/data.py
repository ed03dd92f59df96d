"""The label lists of a config, and a sample of the images that they name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from ....data.label_lists import (
    NAMED,
    PLAIN_LISTS,
    Entry,
    delimiter_of,
    image_paths,
    missing_images,
    named,
    read_list,
    wrong_labels,
)
from ....errors import UserError
from ....training.corrupt_images import DEFAULT_SHARE, KEY
from ..locate import PaddleClas
from .findings import Finding, error, warning
from .rules import Config, read_datasets

# So many images of a list are opened.
SAMPLE = 100
# Of so many lines that cannot be read, reading a list ends: they are the wrong kind of file.
MALFORMED = 1000


def wrong_data(ppcls: PaddleClas, config: Config, mode: str) -> Iterator[Finding]:
    """What is wrong with the lists of a run, and with a sample of their images.

    Lists are checked where their form is known: those of ``PLAIN_LISTS``.
    """
    for place, dataset in read_datasets(config, mode):
        listed, root = dataset.get("cls_label_path"), dataset.get("image_root")
        if str(dataset.get("name")) not in PLAIN_LISTS or not isinstance(root, str):
            continue
        if isinstance(listed, str) and os.path.exists(listed):
            yield from _of_list(ppcls, config, place, dataset, listed, root)


def _of_list(
    ppcls: PaddleClas, config: Config, place: str, dataset: Config, listed: str, root: str
) -> Iterator[Finding]:
    key = f"{place}.cls_label_path"
    refused: list[UserError] = []

    def refuse(found: UserError) -> None:
        refused.append(found)
        if len(refused) == MALFORMED:
            raise found

    def exists(name: str) -> bool:
        return os.path.isfile(os.path.join(root, name))

    delimiter = delimiter_of(dataset["name"], dataset.get("delimiter"))
    try:
        entries = read_list(listed, delimiter, exists, refuse)
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
        return
    if not dataset.get("relabel"):
        yield from _of_labels(config, place, listed, entries)
    if os.path.exists(root):  # else that is told, once
        yield from _of_images(ppcls, config, place, dataset, entries)


def _of_labels(
    config: Config, place: str, listed: str, entries: Sequence[Entry]
) -> Iterator[Finding]:
    # The lists of retrieval, such as DataLoader.Eval.Query, have labels of their own.
    if place not in ("DataLoader.Train.dataset", "DataLoader.Eval.dataset"):
        return
    key, classes = _classes(config, place)
    for found in wrong_labels(listed, entries, classes, key):
        yield error(f"{place}.cls_label_path", str(found))
    labels = {entry.label for entry in entries}
    without = [] if classes is None else [c for c in range(classes) if c not in labels]
    if without:
        shown = ", ".join(map(str, without[:NAMED]))
        more = f" and {len(without) - NAMED:,} more" if len(without) > NAMED else ""
        yield warning(
            f"{place}.cls_label_path",
            f"{listed} has no image of {len(without):,} of {classes:,} classes ({key}): "
            f"{shown}{more}",
        )


def _classes(config: Config, place: str) -> tuple[str, int | None]:
    """The key that has the number of classes, and that number."""
    keys = ["Arch.class_num", "Global.class_num"]
    if place.startswith("DataLoader.Train"):
        keys.append("Arch.Head.class_num")
    for key in keys:
        section: Any = config
        for part in key.split("."):
            section = section.get(part) if isinstance(section, dict) else None
        if section is not None:
            return key, section
    return keys[0], None


def _of_images(
    ppcls: PaddleClas, config: Config, place: str, dataset: Config, entries: Sequence[Entry]
) -> Iterator[Finding]:
    listed, root = dataset["cls_label_path"], dataset["image_root"]
    count = min(SAMPLE, len(entries))
    # Evenly over the list, first and last included.
    chosen = [entries[i * (len(entries) - 1) // max(count - 1, 1)] for i in range(count)]
    missing, broken = [], []
    decode = _decoder(ppcls, dataset)
    for entry, image in zip(chosen, image_paths(root, chosen)):
        if not os.path.exists(image):
            missing.append(entry.line)
            continue
        try:
            with open(image, "rb") as file:
                decoded = decode(file.read())
            if decoded is None:
                raise ValueError
        except Exception:  # what decoders raise has no common base
            broken.append(entry.line)
    sample = "images" if count == len(entries) else "images looked at"
    if missing:
        told = missing_images(listed, root, missing, f"{len(missing):,} of {count:,} {sample}")
        yield error(f"{place}.image_root", str(told))
    if broken:
        share = config["Global"].get("max_broken_images")
        share = DEFAULT_SHARE if share is None else share
        # A sample proves little about a share of a hundredth; the run counts exactly.
        hopeless = len(broken) > max(share, 0.5) * count
        yield (error if hopeless else warning)(
            f"{place}.image_root",
            f"{len(broken):,} of {count:,} {sample} of {listed} do not decode: {named(broken)}. "
            f"Mend the files, or take them out of the list; {KEY}, {share:g}, is the share that "
            f"may be broken",
        )


def _decoder(ppcls: PaddleClas, dataset: Config) -> Any:
    """The operator that the data set decodes its images with, as the config sets it."""
    preprocess = ppcls.module("data.preprocess")
    listed = dataset.get("transform_ops")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and "DecodeImage" in entry:
            try:
                return preprocess.DecodeImage(**(entry["DecodeImage"] or {}))
            except (TypeError, AssertionError):
                break  # told as wrong keys
    return preprocess.DecodeImage()
