"""Convert weights of other projects for the models, and back."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..errors import UserError, excerpt
from ..files import read_file, write_files
from ..models import MODELS, check_model
from .files import PADDLE_SUFFIX, WRITERS, check_free, read_weights
from .names import PADDLE, NamingScheme, block_of, recognise, stage_of
from .report import LoadReport
from .topology import depths_of, explain, family_of, native_scheme
from .warm_start import neutral_state

# A counter of PyTorch's BatchNorm that Paddle's lacks; no result depends on it.
_DROPPED = "num_batches_tracked"
_ATTENTION = ".attention.conv.weight"
_CLASSIFIER = "fc.weight"
_IMAGENET_CLASSES = 1000
# Of converted networks, relative to the spread of their logits: 1e-5 is common in float32.
MAX_DIFFERENCE = 1e-3
_MAX_ARRAY = 2**30
SHAPES_DO_NOT_SHOW = (
    "Shapes of weights show neither the pooling, nor antialiasing, nor the activation: timm's "
    "resnetaa50 and resnetblur50 fit where resnet50 does"
)


@dataclass
class Conversion:
    """Weights in the names of this project, and how they fit a model.

    Attributes:
        model: name of the model.
        options: options of the model that the weights need: ``class_num``, ``k_size`` (one per
            stage), and ``padding_mode`` if it was given.
        scheme: naming scheme of the weights.
        state: arrays by our names, in Paddle's layout; only those that fit.
        report: what fits and what does not; unexpected names are those of the file.
        new: our names of ECA's weights, if the weights are of a network without attention; they
            are 0 in ``state`` and the BatchNorm before each is doubled, so that the model starts
            as the same function.
        reasons: why the weights are of another network; or ``""``.
        difference: the largest difference to the original's logits, in standard deviations of
            these; None if it was not tried.
    """

    model: str
    options: dict[str, Any]
    scheme: NamingScheme
    state: dict[str, np.ndarray]
    report: LoadReport
    new: list[str]
    reasons: str
    difference: float | None = None

    @property
    def fits(self) -> bool:
        """Whether all weights are used, and none of the model's is missing but ECA's, if new."""
        return self.report.complete

    @property
    def k_size_differs(self) -> bool:
        """Whether the weights have other kernel sizes than the model's default."""
        return self.options["k_size"] != list(MODELS[self.model].k_size)

    def __str__(self) -> str:
        report = self.report
        matched = len(report.matched) - len(self.new)
        total = matched + len(self.new) + len(report.missing) + len(report.reshaped)
        missing = report.missing
        parts = [
            f"{matched} of {total} tensors matched",
            f"{len(self.new)} new" + (f" (ECA: {excerpt(self.new)})" if self.new else ""),
            f"{len(report.unexpected)} left over"
            + (f" ({excerpt(report.unexpected)})" if report.unexpected else ""),
        ]
        if missing:
            parts.append(f"{len(missing)} missing ({excerpt(missing)})")
        if report.reshaped:
            shapes = [f"{name} {theirs}, not {ours}" for name, theirs, ours in report.reshaped]
            parts.append(f"{len(shapes)} of another shape ({excerpt(shapes)})")
        return ", ".join(parts)

    def arch(self, weights: Path) -> str:
        """The ``Arch`` section of a config that builds the model with ``weights``, as YAML."""
        section = {"name": self.model, **self.options, "pretrained": str(weights)}
        remark = ""
        if self.k_size_differs:
            own = ", ".join(map(str, MODELS[self.model].k_size))
            remark = f"# k_size is that of these weights; {self.model} itself has {own}.\n"
        return remark + yaml.safe_dump(
            {"Arch": section}, sort_keys=False, default_flow_style=None, allow_unicode=True
        )


def convert(
    state: Mapping[str, np.ndarray],
    model: str,
    class_num: int | None = None,
    padding_mode: str | None = None,
) -> Conversion:
    """Convert weights to the names and the layout of a model.

    Args:
        state: arrays by name, as :func:`paddleclas_eca.weights.read_weights` gives them.
        model: name of the model.
        class_num: classes of the model; by default those of the weights' classifier.
        padding_mode: padding of ECA, which shapes do not show; the model's default if None.

    Raises:
        UserError: the model or the naming scheme is unknown, the weights are of another family of
            networks, nothing fits, or blocks of one stage have different kernel sizes.
    """
    check_model(model)
    state = {name: array for name, array in state.items() if not name.endswith(_DROPPED)}
    scheme = recognise(state)
    if scheme is None:
        raise UserError(
            f"the names in it are of no known ResNet or MobileNetV2: {excerpt(list(state))}"
        )
    if scheme.family not in ("", family_of(model)):
        raise UserError(f"it holds a {scheme.title}; {model} is a {family_of(model)}")
    depths = depths_of(model)
    decisive = [_CLASSIFIER, *(f"blocks.{i}{_ATTENTION}" for i in range(sum(depths)))]
    shapes = {
        ours: state[name].shape
        for name, ours in scheme.names(decisive, depths).items()
        if name in state
    }
    options: dict[str, Any] = {"class_num": class_num, "k_size": _k_sizes(shapes, model)}
    if class_num is None:
        options["class_num"] = _class_num(shapes, scheme)
    if padding_mode is not None:
        options["padding_mode"] = padding_mode
    network = MODELS[model].lazy(**options)
    names = scheme.names(network.state_dict(), depths)
    ours = {
        names[name]: _layout(names[name], array, scheme)
        for name, array in state.items()
        if name in names
    }
    leftover = {name: array for name, array in state.items() if name not in names}
    changes = neutral_state(network, ours)
    new = [name for name in changes if name not in ours]
    ours.update(changes)
    report = LoadReport.compare([network], {**leftover, **ours})
    if len(report.matched) == len(new):
        raise UserError(f"nothing in it fits {model}")
    return Conversion(
        model=model,
        options=options,
        scheme=scheme,
        state={name: ours[name] for name in report.matched},
        report=report,
        new=new,
        reasons=_reasons(state, scheme, model, report),
    )


def _layout(name: str, array: np.ndarray, scheme: NamingScheme) -> np.ndarray:
    """A parameter in Paddle's layout from theirs, or the reverse."""
    if name in scheme.transposed and array.ndim == 2:
        return np.ascontiguousarray(array.T)
    return array


def _class_num(shapes: Mapping[str, Sequence[int]], scheme: NamingScheme) -> int:
    """Number of classes of the classifier; ImageNet's if there is none."""
    shape = shapes.get(_CLASSIFIER, ())
    if len(shape) != 2:
        return _IMAGENET_CLASSES
    return shape[0] if _CLASSIFIER in scheme.transposed else shape[1]


def _k_sizes(shapes: Mapping[str, Sequence[int]], model: str) -> list[int]:
    """Kernel size of each stage: of the weights, or of the model if they have none."""
    found: dict[int, dict[int, str]] = {}
    for name, shape in shapes.items():
        if name.endswith(_ATTENTION):
            if len(shape) != 3 or tuple(shape[:2]) != (1, 1) or shape[2] % 2 == 0:
                raise UserError(f"{name} has the shape {list(shape)}, not [1, 1, odd k]")
            stage, _ = stage_of(block_of(name), depths_of(model))
            found.setdefault(stage, {})[shape[2]] = name
    k_sizes = list(MODELS[model].k_size)
    for stage, sizes in found.items():
        if len(sizes) > 1:
            which = ", ".join(f"{k} in {name}" for k, name in sorted(sizes.items()))
            raise UserError(
                f"blocks of stage {stage + 1} have different kernel sizes ({which}); the models "
                f"have one per stage"
            )
        k_sizes[stage] = next(iter(sizes))
    return k_sizes


def _reasons(
    state: Mapping[str, np.ndarray], scheme: NamingScheme, model: str, report: LoadReport
) -> str:
    reasons = explain(state, scheme, model)
    if any(re.search(r"\.(se|.*_se)\.(fc|conv_|conv[12]\.)", name) for name in report.unexpected):
        reasons = reasons or "it has SE modules, an attention with other parameters"
    statistics = ("._mean", "._variance")
    if report.missing and all(name.endswith(statistics) for name in report.missing):
        reasons = reasons or "the statistics of its BatchNorms are missing: save state_dict()"
    if not reasons and scheme.family and len(report.reshaped) > 2:
        reasons = "its layers have other widths, as in pruned (timm's *_pruned) or wide networks"
    if scheme is PADDLE and any(n.startswith("blocks.0.short.") for n in report.unexpected):
        reasons = (
            "PaddleClas's ResNet18 and ResNet34 have a projection in stage 1, which these "
            "networks lack"
        )
    return reasons


def to_pytorch(conversion: Conversion) -> dict[str, np.ndarray]:
    """The weights in the names and the layout of PyTorch code.

    Returns:
        Arrays by timm's names for the ``_vd`` models and its own, by the authors' for the others.
    """
    scheme = native_scheme(conversion.model)
    names = scheme.names(conversion.state, depths_of(conversion.model))
    return {theirs: _layout(ours, conversion.state[ours], scheme) for theirs, ours in names.items()}


def convert_file(
    source: Path,
    model: str,
    output: Path,
    class_num: int | None = None,
    padding_mode: str | None = None,
    allow_partial: bool = False,
    overwrite: bool = False,
    check: tuple[Path, Path] | None = None,
) -> tuple[Conversion, list[Path]]:
    """Convert a weight file.

    Args:
        source: the file, see :func:`paddleclas_eca.weights.read_weights`.
        model: name of the model.
        output: a ``.pdparams`` file, with the ``Arch`` section beside it as ``.yaml``; or a
            ``.pth`` or ``.safetensors`` file for PyTorch.
        class_num: see :func:`convert`.
        padding_mode: see :func:`convert`.
        allow_partial: write what fits, even if not everything does.
        overwrite: replace existing files.
        check: ``.npy`` files of images ``[N, C, H, W]`` and of the logits ``[N, class_num]`` that
            the original network gives for them; the model must give the same.

    Returns:
        The conversion and the files that were written.

    Raises:
        UserError: the file cannot be converted, or the output cannot be written; then nothing
            is written.
    """
    if output.suffix not in WRITERS:
        raise UserError(f"--output {output}: the suffix must be one of {', '.join(WRITERS)}")
    if os.path.realpath(output) == os.path.realpath(source):
        raise UserError(f"--output {output} is the source itself")
    check_model(model)
    targets = [output]
    if output.suffix == PADDLE_SUFFIX:
        targets.append(output.with_suffix(".yaml"))
    check_free(targets, overwrite)
    state = read_weights(source)
    try:
        conversion = convert(state, model, class_num, padding_mode)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    if not (conversion.fits or allow_partial):
        because = f": {conversion.reasons}" if conversion.reasons else ""
        raise UserError(
            f"{source} ({conversion.scheme.title}) does not fit {model}{because}. {conversion}. "
            f"Nothing was written; --allow-partial writes what fits."
        )
    if check:
        conversion.difference = _difference(conversion, *map(_read_array, check))
        if not conversion.difference < MAX_DIFFERENCE:
            raise UserError(
                f"{source}: {model} with these weights does not give {check[1]} for {check[0]}: "
                f"the largest difference is {conversion.difference:.1e} of the spread of the "
                f"logits. {SHAPES_DO_NOT_SHOW}. Nothing was written"
            )
    write = WRITERS[output.suffix]
    if output.suffix == PADDLE_SUFFIX:
        writers = [partial(write, conversion.state), conversion.arch(output)]
    else:
        writers = [partial(write, to_pytorch(conversion))]
    write_files(dict(zip(targets, writers)))
    return conversion, targets


def _read_array(file: Path) -> np.ndarray:
    content = read_file(file, "an array", _MAX_ARRAY)
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:
        raise UserError(f"{file} cannot be read as an array of numpy.save: {error}") from error


def _difference(conversion: Conversion, images: np.ndarray, logits: np.ndarray) -> float:
    """The largest difference of the model's logits, in standard deviations of ``logits``."""
    import paddle

    network = MODELS[conversion.model](**conversion.options)
    network.set_state_dict(conversion.state)
    network.eval()
    if images.ndim != 4 or images.shape[1] != network.input_image_channel:
        raise UserError(
            f"--check: the images have the shape {list(images.shape)}, not "
            f"[N, {network.input_image_channel}, H, W]"
        )
    with paddle.no_grad():
        given = network(paddle.to_tensor(images.astype(np.float32))).numpy()
    if logits.shape != given.shape:
        raise UserError(
            f"--check: the logits have the shape {list(logits.shape)}, not {list(given.shape)}"
        )
    return float(np.abs(given - logits).max() / logits.std())
