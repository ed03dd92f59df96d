"""The attention of a network on images, as files: figures and a table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple

import numpy as np

from ..data.image_files import ImageFile
from ..errors import UserError, suggestion
from .attention import (
    HeatMap,
    channel_weights_figure,
    heat_maps_figure,
    most_frequent,
    write_channel_weights,
)
from .attention_maps import ClassMeans, GradCAM
from .style import save

# How many heat maps the common figure has.
_EXAMPLES = 10


class AttentionReport(NamedTuple):
    """What was written.

    Attributes:
        layers: the attention layers that were drawn.
        drawn: how many classes the figure of the weights has.
        classes: how many the table has.
        heat_maps: how many heat maps there are.
        examples: how many of them the common figure has.
        heat_size: height and width of the feature map that they are from.
        corrupt: the error of each image that could not be read.
    """

    layers: list[str]
    drawn: int
    classes: int
    heat_maps: int
    examples: int
    heat_size: tuple[int, int]
    corrupt: list[str]


def check_classes(
    classes: Sequence[str], images: Sequence[ImageFile], names: dict[int, str]
) -> None:
    """Raise UserError for a class that no image can be of, before the network runs.

    Args:
        classes: those to draw.
        images: the images, with their classes as far as they are known.
        names: of the classes, by their id; may be empty.
    """
    possible = {_name(names, file.label) for file in images if file.label is not None}
    if any(file.label is None for file in images):
        possible |= set(names.values()) or {word for word in classes if word.isdigit()}
    _check_known(classes, possible)


def write_attention_report(
    images: Sequence[ImageFile],
    preprocess: Any,
    cam: GradCAM,
    folder: Path,
    *,
    names: dict[int, str],
    class_id: int | None = None,
    classes: Sequence[str] = (),
    heat_maps: int = 3,
    batch_size: int = 32,
    warn: Callable[[str], None] = lambda message: None,
) -> AttentionReport:
    """Write ``channel_weights`` (.csv, .png, .svg) and ``heat_maps`` of a network on images.

    Args:
        images: the images; one whose class is not known counts for the predicted class.
        preprocess: a :class:`~paddleclas_eca.deploy.preprocess.Preprocess`.
        cam: the network.
        folder: where to write.
        names: of the classes, by their id.
        class_id: the class that heat maps are for; by default the predicted one.
        classes: those whose weights are drawn; by default the most frequent.
        heat_maps: how many heat maps per class; all are drawn of images of unknown class.
        batch_size: images at a time.
        warn: gets a message for each image that cannot be read; it is left out.

    Raises:
        UserError: no image can be read, no image is of a class, or a file cannot be written.
    """
    means, examples, corrupt = ClassMeans(), {}, []
    ranks: dict[Any, int] = {}
    written = 0
    heat_size = (0, 0)
    for files, batch in _batches(images, preprocess, batch_size, corrupt, warn):
        maps = cam(batch, class_id)
        best = maps.scores.argmax(axis=1)
        heat_size = maps.heat.shape[1:]
        means.add(
            maps.weights,
            [
                _name(names, int(best[i]) if file.label is None else file.label)
                for i, file in enumerate(files)
            ],
        )
        for i, file in enumerate(files):
            rank = ranks[file.label] = ranks.get(file.label, -1) + 1
            if rank >= heat_maps and (file.label is not None or not heat_maps):
                continue
            number = int(best[i]) if class_id is None else class_id
            title = f"{_name(names, number)} {maps.scores[i, number]:.2f}"
            right = None
            if file.label is not None:
                right = _name(names, file.label) == _name(names, number)
                title += "" if right else f"\n(is {_name(names, file.label)})"
            if class_id is not None:
                right = None  # of a class that was chosen, not predicted
            heat_map = HeatMap(preprocess.denormalize(batch[i]), maps.heat[i], title, right)
            # One of each class, then a second of each.
            examples[rank, written] = heat_map
            for last in sorted(examples)[_EXAMPLES:]:
                del examples[last]
            written += 1
            # A file name has at most 255 bytes.
            name = f"{written:05d}_{Path(file.path).stem[:50]}.png"
            save(heat_maps_figure([heat_map]), folder / "heat_maps" / name)
    if not means.counts:
        raise UserError(f"none of the {len(images)} images could be read: {corrupt[0]}")

    values = means.means()
    write_channel_weights(values, means.counts, folder / "channel_weights.csv")
    _check_known(classes, means.counts)
    drawn = classes or most_frequent(means.counts)
    known = any(file.label is not None for file in images)
    legend = "class (images)" if known else "predicted class (images)"
    figure = channel_weights_figure(values, means.counts, legend, drawn)
    save(figure, folder / "channel_weights")
    if examples:
        save(heat_maps_figure([examples[key] for key in sorted(examples)]), folder / "heat_maps")
    return AttentionReport(
        list(values), len(drawn), len(means.counts), written, len(examples), heat_size, corrupt
    )


def _check_known(classes: Sequence[str], known: Collection[str]) -> None:
    for name in classes:
        if name not in known:
            raise UserError(
                f"classes: no image is of the class {name}{suggestion(name, known)} "
                f"(classes: {', '.join(sorted(known)[:20])})"
            )


def _batches(
    images: Sequence[ImageFile],
    preprocess: Any,
    size: int,
    corrupt: list[str],
    warn: Callable[[str], None],
) -> Iterator[tuple[list[ImageFile], np.ndarray]]:
    """The images in batches of one shape; errors of the others go into ``corrupt``."""
    files: list[ImageFile] = []
    batch: list[np.ndarray] = []
    for file in images:
        try:
            image = preprocess(file.path)
        except UserError as error:
            corrupt.append(str(error))
            warn(f"{error}; it is left out")
            continue
        if batch and (len(batch) == size or image.shape != batch[0].shape):
            yield files, np.stack(batch)
            files, batch = [], []
        files.append(file)
        batch.append(image)
    if batch:
        yield files, np.stack(batch)


def _name(names: dict[int, str], label: int | str) -> str:
    return names.get(label, str(label)) if isinstance(label, int) else label
