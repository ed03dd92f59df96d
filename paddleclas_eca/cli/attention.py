"""``paddleclas-eca attention``: what the attention of a trained network does, in pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError, check_positive_int, suggestion
from ..hosts.paddleclas.session import run_folder, warn
from .command import Command
from .engine import add_config_arguments, open_config

if TYPE_CHECKING:
    import numpy as np

    from ..data.image_files import ImageFile
    from ..deploy.preprocess import Preparation

# How many heat maps the common picture has.
_EXAMPLES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of this command."""
    add_config_arguments(parser)
    parser.add_argument(
        "--images",
        nargs="+",
        required=True,
        metavar="PATH",
        help="images, and folders of them; a sub-folder is a class",
    )
    parser.add_argument(
        "--list",
        metavar="FILE",
        help="label list of PaddleClas's; its paths are relative to the folder of --images",
    )
    parser.add_argument(
        "--output", metavar="FOLDER", help="where to write (default: attention/ of the run)"
    )
    parser.add_argument(
        "--layers",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="names of attention layers, such as 'blocks[*].attention'; '**' for all "
        "(default: the last of each stage)",
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        default=[],
        metavar="NAME",
        help="classes whose weights are drawn (default: all, of more than ten those with the most "
        "images)",
    )
    parser.add_argument(
        "--class",
        dest="wanted",
        metavar="CLASS",
        help="number or name of the class that heat maps are for (default: the predicted one)",
    )
    parser.add_argument(
        "--heat-maps",
        type=int,
        default=3,
        metavar="N",
        help="heat maps for the first N images of each class, and for all whose class is not "
        "known (default: %(default)s)",
    )
    parser.add_argument(
        "--heat-layer",
        metavar="NAME",
        help="layer whose feature map heat maps are made from (default: the last one)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=32,
        metavar="N",
        help="images at a time (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the pictures and the numbers.

    Returns:
        0, or 1 where images could not be read.

    Raises:
        UserError: an option or the config asks for what cannot be done.
    """
    check_positive_int("--batch-size", args.batch_size)
    if args.heat_maps < 0:
        raise UserError(f"--heat-maps {args.heat_maps}: give a number of at least 0")
    if args.list and len(args.images) > 1:
        raise UserError("--list takes one folder with --images, which its paths are relative to")
    ppcls, config = open_config(args)
    from ..data.image_files import find_images, listed_images
    from ..deploy.preprocess import Preparation
    from ..hosts.paddleclas.evaluation import load_network
    from ..hosts.paddleclas.inference_yml import class_names, transforms
    from ..visualize.attention_maps import Observer, attention_layers, select_layers

    images = listed_images(args.list, args.images[0]) if args.list else find_images(args.images)
    network = load_network(ppcls, config)
    names = class_names(config)
    _require_classes(args.classes, images, names)
    layers = select_layers(attention_layers(network), args.layers)
    preparation = Preparation(ppcls, transforms(config), "the config's transforms")
    observer = Observer(network, layers, args.heat_layer)
    folder = Path(args.output) if args.output else run_folder(ppcls, config) / "attention"
    return _look(args, images, preparation, observer, names, folder)


def _look(
    args: argparse.Namespace,
    images: list[ImageFile],
    preparation: Preparation,
    observer: Any,
    names: dict[int, str],
    folder: Path,
) -> int:
    from ..visualize import attention as pictures
    from ..visualize.attention_maps import ClassMeans

    wanted = _class_number(args.wanted, names)
    means, examples, broken = ClassMeans(), {}, []
    drawn: dict[Any, int] = {}
    written = 0
    for files, batch in _batches(images, preparation, args.batch_size, broken):
        seen = observer.observe(batch, wanted)
        best = seen.scores.argmax(axis=1)
        of_class = [
            _name(names, int(best[i]) if file.label is None else file.label)
            for i, file in enumerate(files)
        ]
        means.add(seen.weights, of_class)
        for i, file in enumerate(files):
            rank = drawn[file.label] = drawn.get(file.label, -1) + 1
            if rank >= args.heat_maps and (file.label is not None or not args.heat_maps):
                continue
            number = int(best[i]) if wanted is None else wanted
            title = f"{_name(names, number)} {seen.scores[i, number]:.2f}"
            if file.label is not None and _name(names, file.label) != _name(names, number):
                title += f" (is {_name(names, file.label)})"
            shown = pictures.HeatMap(preparation.picture(batch[i]), seen.heat[i], title)
            # One of each class, then a second of each.
            examples[rank, written] = shown
            for last in sorted(examples)[_EXAMPLES:]:
                del examples[last]
            written += 1
            pictures.draw_heat_maps(
                [shown], folder / "heat_maps" / f"{written:05d}_{Path(file.path).stem}.png"
            )
    if not means.counts:
        raise UserError(f"none of the {len(images)} images could be read: {broken[0]}")

    known = any(file.label is not None for file in images)
    legend = "class (images)" if known else "predicted class (images)"
    values = means.means()
    pictures.write_channel_weights(values, means.counts, folder / "channel_weights.csv")
    _require_known(args.classes, means.counts)
    classes = args.classes or pictures.most_frequent(means.counts)
    pictures.draw_channel_weights(values, means.counts, legend, folder / "channel_weights", classes)
    print(f"{folder / 'channel_weights'}.csv, .png, .svg: {', '.join(values)}")
    if len(classes) < len(means.counts):
        print(f"  the picture has {len(classes)} of {len(means.counts)} classes, the .csv has all")
    if examples:
        pictures.draw_heat_maps([examples[k] for k in sorted(examples)], folder / "heat_maps")
        size = "x".join(map(str, seen.heat.shape[1:]))
        print(f"{folder / 'heat_maps'}.png, .svg: {len(examples)} of the heat maps")
        print(f"{folder / 'heat_maps'}/: {written} of {observer.heat_layer}, {size}")
    if broken:
        total = f"{len(broken)} of {len(images)} images could not be read"
        print(f"error: {total}, and were left out", file=sys.stderr)
    return 1 if broken else 0


def _require_classes(wanted: list[str], images: list[ImageFile], names: dict[int, str]) -> None:
    """Refuse classes that no image can be of, before the network runs."""
    possible = {_name(names, file.label) for file in images if file.label is not None}
    if any(file.label is None for file in images):
        possible |= set(names.values()) or {word for word in wanted if word.isdigit()}
    _require_known(wanted, possible)


def _require_known(wanted: list[str], classes: Collection[str]) -> None:
    for name in wanted:
        if name not in classes:
            raise UserError(
                f"--classes {name}: no image is of it{suggestion(name, classes)} "
                f"(classes: {', '.join(sorted(classes)[:20])})"
            )


def _batches(
    images: list[ImageFile], preparation: Preparation, size: int, broken: list[str]
) -> Iterator[tuple[list[ImageFile], np.ndarray]]:
    """The images in batches of one shape; what cannot be read is told, and put into ``broken``."""
    import numpy as np

    files: list[ImageFile] = []
    batch: list[np.ndarray] = []
    for file in images:
        try:
            image = preparation(file.path)
        except UserError as error:
            broken.append(str(error))
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


def _class_number(given: str | None, names: dict[int, str]) -> int | None:
    if given is None:
        return None
    number = next((number for number, name in names.items() if name == given), None)
    if number is None and not given.isdigit():
        raise UserError(
            f"--class {given}: it is neither a number nor a name of "
            f"Infer.PostProcess.class_id_map_file"
        )
    return int(given) if number is None else number


COMMAND = Command(
    "attention",
    "draw the channel weights of a trained network per class, and heat maps of images",
    add_arguments,
    run,
)
