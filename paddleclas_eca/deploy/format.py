"""The directory of an exported model: all that prediction needs, written atomically.

===================== ==========================================================================
file                  holds
===================== ==========================================================================
inference.json        the network, for Paddle Inference
inference.pdiparams   its weights
inference.yml         preprocessing and class names, in the format of PaddleX
inference.onnx        the same network with its weights in ONNX, if exported with --onnx
metadata.json         name, shapes, source of the weights, versions, and SHA-256; written last
===================== ==========================================================================

PaddleX 3 reads ``inference.yml``, and PaddleClas's develop writes it. ``Global.model_name`` is a
model of PaddleX with the same pipeline, ``PreProcess.transform_ops`` are the steps after decoding,
and ``PostProcess`` has the post-processing with the names of the classes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable

import yaml

from ..configs import load_yaml
from ..errors import UserError
from ..files import flush, read_json, sha256, write_files

PROGRAM = "inference.json"
# What Paddle writes for networks when its new representation is switched off.
OLD_PROGRAM = "inference.pdmodel"
WEIGHTS = "inference.pdiparams"
DESCRIPTION = "inference.yml"
ONNX = "inference.onnx"
METADATA = "metadata.json"
FORMAT = 1

# Metadata last: a directory without it is incomplete.
_FILES = (PROGRAM, OLD_PROGRAM, WEIGHTS, f"{WEIGHTS}.info", DESCRIPTION, ONNX, METADATA)
# Those that metadata.json has checksums of.
_CHECKED = (PROGRAM, OLD_PROGRAM, WEIGHTS, DESCRIPTION, ONNX)
_STAGE = ".exporting-"
_LARGEST_METADATA = 2**20
# Values of an image, many times those of any network here.
_LARGEST_IMAGE = 2**24
# Far more than the names of all classes.
_MOST_VALUES = 2**17
_EXPORT = "paddleclas-eca export_model -c CONFIG -o Global.pretrained_model=WEIGHTS"

Steps = Sequence[Mapping[str, Any]]

_PADDLEX_MODELS = {
    *(f"ResNet{depth}" for depth in (18, 34, 50, 101, 152)),
    *(f"ResNet{depth}_vd" for depth in (18, 34, 50, 101, 152, 200)),
    *(f"MobileNetV2_x{width}" for width in ("0_25", "0_5", "1_0", "1_5", "2_0")),
}
# Where PaddleX has another name; all its names are in capitals.
_PADDLEX_INTERPOLATIONS = {"lanczos": "LANCZOS4", "bilinear": "LINEAR"}
_OUR_INTERPOLATIONS = {theirs: ours for ours, theirs in _PADDLEX_INTERPOLATIONS.items()}
# What NormalizeImage takes where its options say nothing.
_NORMALIZE = {
    "scale": 1 / 255,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "order": "chw",
    "channel_num": 3,
}


# Writing


@contextlib.contextmanager
def staged_folder(folder: Path, option: str = "folder") -> Iterator[Path]:
    """Write an exported model: yields a new directory for its files.

    They replace all files of the previous model in ``folder``, also an ONNX file of its weights.
    Other files are left alone. When the caller fails, the previous model stays.

    Args:
        folder: directory of the model; created if it is missing.
        option: the option that names it, for messages.

    Raises:
        UserError: the files cannot be written.
    """
    with _writing(folder, option):
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_STAGE}*"):  # of a process that was killed
            shutil.rmtree(left)
        stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=folder))
    try:
        yield stage
        with _writing(folder, option):
            _move_in(stage, folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()  # fails where the model is in it


def _move_in(stage: Path, folder: Path) -> None:
    written = sorted(path.name for path in stage.iterdir())
    for path in (*(path for path in stage.rglob("*") if path.is_file()), stage):
        flush(path)
    (folder / METADATA).unlink(missing_ok=True)
    for name in (*(name for name in written if name not in _FILES), *_FILES):
        if name in written:
            os.replace(stage / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    flush(folder)


@contextlib.contextmanager
def _writing(folder: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{option}: the exported model cannot be written to {folder}: "
            f"{error.strerror or error}. Fix that, or choose another directory"
        ) from error


def write_descriptions(
    folder: Path,
    *,
    model: str,
    input: tuple[str, Sequence[int]],
    output: tuple[str, Sequence[int]],
    activation: str | None,
    steps: Steps,
    postprocess: Mapping[str, Any],
    weights: Mapping[str, str] | None = None,
    versions: Mapping[str, str | None] | None = None,
    paddlex_model: str | None = None,
) -> None:
    """Write ``inference.yml`` and ``metadata.json`` beside a network, when all else is written.

    Args:
        folder: has the program, its weights, and its ONNX file if there is to be one.
        model: the network's name, such as ``ECA_ResNet50``.
        input: the name of its input and the shape of an image, ``(C, H, W)``.
        output: the name of its output and its shape for an image.
        activation: the last layer of the exported network: ``"softmax"``, ``"sigmoid"`` or None.
        steps: preprocessing of an image file, as PaddleClas's ``transform_ops``.
        postprocess: post-processing of the output, ``{NAME: OPTIONS}``, such as ``{"Topk": {"topk":
            5, "label_list": [...]}}``, or ``{"NormalizeFeatures": None}`` for features.
        weights: where the weights came from: ``file`` and ``sha256``.
        versions: of the packages that trained it.
        paddlex_model: a model of PaddleX with the same pipeline; by default one is chosen.

    Raises:
        UserError: a step cannot be described, or the files cannot be written.
    """
    import paddle

    from ..version import __version__

    (input_name, input_shape), (output_name, output_shape) = input, output
    decode = [step["DecodeImage"] or {} for step in steps if "DecodeImage" in step]
    others = [step for step in steps if "DecodeImage" not in step]
    description = {
        "Global": {"model_name": paddlex_model or _paddlex_model(model)},
        "PreProcess": {"transform_ops": _paddlex_steps(others, input_shape)},
        "PostProcess": dict(postprocess),
    }
    metadata = {
        "format": FORMAT,
        "model": model,
        "classes": None if "NormalizeFeatures" in postprocess else output_shape[-1],
        "input": {"name": input_name, "shape": [None, *input_shape], "dtype": "float32"},
        "output": {"name": output_name, "shape": [None, *output_shape], "activation": activation},
        "decode": decode[0] if decode else {},
        "weights": weights,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "paddleclas_eca": __version__,
            **(versions or {}),
            "paddlepaddle": paddle.__version__,
        },
    }
    text = yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
    write_files({folder / DESCRIPTION: text})
    metadata["files"] = {
        file.name: {"size": file.stat().st_size, "sha256": sha256(file)}
        for file in (folder / name for name in _CHECKED)
        if file.is_file()
    }
    metadata["sha256"] = _digest(metadata)
    write_files({folder / METADATA: json.dumps(metadata, indent=1) + "\n"})


def _digest(metadata: Mapping[str, Any]) -> str:
    """SHA-256 of what the metadata says, whatever its layout."""
    said = {key: value for key, value in metadata.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _paddlex_model(model: str) -> str:
    """The network without attention if PaddleX knows it, else one with the same pipeline."""
    name = model.removeprefix("ECA_")
    if name in _PADDLEX_MODELS:
        return name
    return "MobileNetV2_x1_0" if name.startswith("MobileNetV2") else "ResNet50"


def _paddlex_steps(steps: Steps, input_shape: Sequence[int]) -> list[dict[str, Any]]:
    """The same steps as PaddleX can run them: resized first, and in one order alone."""
    names = [next(iter(step)) for step in steps]
    plain = [{name: canonical_options(step) or None} for name, step in zip(names, steps)]
    for place in range(1, len(plain)):
        if names[place - 1 : place + 1] == ["ToCHWImage", "NormalizeImage"]:
            # The same arithmetic in the order that PaddleX has.
            plain[place]["NormalizeImage"]["order"] = ""
            plain[place - 1 : place + 1] = plain[place], plain[place - 1]
    if not {"ResizeImage", "CropImage"} & set(names):
        # Images of the data set have the right size, and stay as they are.
        plain.insert(0, {"ResizeImage": {"size": [input_shape[2], input_shape[1]]}})
    return plain


def canonical_options(step: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a step with defaults filled in and without what makes no difference.

    Two steps with equal options do the same; the form is PaddleX's.

    Raises:
        UserError: ``NormalizeImage.scale`` is not a number.
    """
    ((name, given),) = step.items()
    options = {key: value for key, value in (given or {}).items() if value is not None}
    if name == "ResizeImage":
        return _resize_options(options)
    if name == "NormalizeImage":
        complete = {**_NORMALIZE, **options}
        # PaddleClas treats all values but "chw" alike, also null; PaddleX takes only "".
        order = "chw" if (given or {}).get("order", "chw") == "chw" else ""
        known = {key: complete[key] for key in _NORMALIZE}
        return {**known, "scale": _scale(complete["scale"]), "order": order}
    return options


def _resize_options(options: Mapping[str, Any]) -> dict[str, Any]:
    wanted = "resize_short" if (options.get("resize_short") or 0) > 0 else "size"
    size = options.get(wanted)
    if wanted == "size" and isinstance(size, int):
        size = [size, size]
    result = {wanted: size}
    backend = str(options.get("backend", "cv2")).lower()
    default = "bicubic" if backend == "pil" else "bilinear"
    interpolation = str(options.get("interpolation", default)).lower()
    if backend != "cv2":
        result["backend"] = backend
    if (backend, interpolation) != ("cv2", "bilinear"):
        result["interpolation"] = _PADDLEX_INTERPOLATIONS.get(interpolation, interpolation.upper())
    return result


def _scale(given: Any) -> float:
    """The number that PaddleClas makes of a text such as ``1.0/255.0`` by executing it."""
    numbers = re.fullmatch(r"\s*([\d.eE+-]+)\s*(?:/\s*([\d.eE+-]+)\s*)?", str(given))
    try:
        return float(numbers[1]) / float(numbers[2] or 1)
    except (TypeError, ValueError, ZeroDivisionError):
        raise UserError(
            f"NormalizeImage.scale: {given!r} is neither a number nor a fraction such as 1.0/255.0"
        ) from None


# Reading


@dataclass(frozen=True)
class ExportedModel:
    """A classifier in an exported directory.

    Attributes:
        folder: where it is.
        name: the model's name, such as ``ECA_ResNet50``.
        input_shape: channels, height and width of an image, ``(C, H, W)``.
        has_softmax: whether its outputs are probabilities; else they are logits.
        steps: preprocessing of an image file, as PaddleClas's ``transform_ops``.
        names: of the classes, by their number.
        topk: how many classes a prediction has by default.
        files: size and SHA-256 of its files by their names; empty if version 0.1.0 exported it.
    """

    folder: Path
    name: str
    input_shape: tuple[int, int, int]
    has_softmax: bool
    steps: list[dict[str, Any]]
    names: list[str]
    topk: int
    files: Mapping[str, Mapping[str, Any]]

    def check_files(self, names: Iterable[str]) -> None:
        """Raise UserError if one of these files is another than the one that was exported."""
        _check_unchanged(self.folder, self.files, names)


def read_folder(folder: Path) -> ExportedModel:
    """Read the description of the model in an exported directory.

    Raises:
        UserError: it is not an exported directory, is corrupt, or its model is not a classifier.
    """
    try:
        _check_files(folder)
        metadata = _read_metadata(folder)
        files = metadata.get("files", {})
        _check_unchanged(folder, files, [DESCRIPTION])
        description = _parsed(load_yaml, folder / DESCRIPTION, _MOST_VALUES)
        (post, options), *_ = description["PostProcess"].items()
        activation = metadata["output"]["activation"]
        if post != "Topk" or activation not in ("softmax", None):
            raise UserError(_cannot_predict(folder, metadata["model"], post, activation))
        model = ExportedModel(
            folder=folder,
            name=metadata["model"],
            input_shape=tuple(metadata["input"]["shape"][1:]),
            has_softmax=activation == "softmax",
            steps=[
                {"DecodeImage": metadata["decode"]},
                *map(_our_step, _a_list(description["PreProcess"]["transform_ops"])),
            ],
            names=list(map(_class_name, _a_list(options["label_list"]))),
            topk=min(_positive(options["topk"]), _positive(metadata["classes"])),
            files=files,
        )
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder}: {METADATA} and {DESCRIPTION} do not have the format that export_model "
            f"writes ({type(error).__name__}: {error}). Export the model again: {_EXPORT}"
        ) from error
    if len(model.names) != metadata["classes"]:
        raise UserError(
            f"{folder / DESCRIPTION} names {len(model.names)} classes in PostProcess.Topk."
            f"label_list, and the model has {metadata['classes']}. Give each of them a name"
        )
    return model


def _parsed(parse: Callable[..., Any], *words: Any) -> Any:
    try:
        return parse(*words)
    except UserError as error:
        raise UserError(f"{error}. Export the model again: {_EXPORT}") from error


def _read_metadata(folder: Path) -> dict[str, Any]:
    """The metadata, of which all that is read has the right type."""
    metadata = _parsed(read_json, folder / METADATA, "metadata", _LARGEST_METADATA)
    if not isinstance(metadata, dict):
        raise TypeError("it is not a mapping")
    version = metadata["format"]
    if version != FORMAT or isinstance(version, bool):
        raise UserError(
            f"{folder} was exported by another version of paddleclas_eca (format {version!r}; this "
            f"one reads {FORMAT}): use that one, or export again"
        )
    if "sha256" not in metadata:
        # It may have been, under a key that is damaged.
        for key in metadata.keys() - {*_METADATA, "files"}:
            raise UserError(f"{folder / METADATA} has an unknown key {key[:80]!r}. Remove it")
    elif metadata["sha256"] != _digest(metadata):
        raise UserError(_changed(folder, METADATA, "another SHA-256"))
    for key, is_valid in _METADATA.items():
        if not is_valid(metadata.get(key)):
            raise ValueError(f"{key} is {str(metadata.get(key))[:80]!r}")
    if not _is_file_list(metadata.get("files", {})):
        raise ValueError("files has other entries than size and SHA-256 of each file")
    return metadata


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_shape(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 4:
        return False
    sizes = value[1:]
    return all(map(_is_count, sizes)) and 0 < math.prod(sizes) <= _LARGEST_IMAGE


def _is_file_list(value: Any) -> bool:
    return isinstance(value, dict) and all(
        name in _CHECKED
        and isinstance(entry, dict)
        and _is_count(entry.get("size"))
        and isinstance(entry.get("sha256"), str)
        for name, entry in value.items()
    )


_METADATA: dict[str, Callable[[Any], bool]] = {
    "format": _is_count,
    "model": lambda value: isinstance(value, str),
    "classes": lambda value: value is None or _is_count(value),
    "input": lambda value: isinstance(value, dict) and _is_shape(value.get("shape")),
    "output": lambda value: isinstance(value, dict) and "activation" in value,
    "decode": lambda value: isinstance(value, dict),
    # Which are for people.
    **dict.fromkeys(("weights", "created", "versions"), lambda value: True),
}


def _check_unchanged(
    folder: Path, files: Mapping[str, Mapping[str, Any]], names: Iterable[str]
) -> None:
    for name in names:
        file, entry = folder / name, files.get(name)
        if entry is None or not file.is_file():
            continue
        try:
            if file.stat().st_size != entry["size"]:
                raise UserError(_changed(folder, name, f"not {entry['size']:,} bytes"))
            if sha256(file) != entry["sha256"]:
                raise UserError(_changed(folder, name, "another SHA-256"))
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror or error}") from error


def _changed(folder: Path, name: str, what: str) -> str:
    listed = "" if name == METADATA else f' and the entry of {name} in "files"'
    return (
        f"{folder / name} is not the file that was exported: it has {what}. Copy the directory "
        f'again. If you changed the file on purpose, remove "sha256"{listed} from {METADATA}'
    )


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a directory. Give that of an exported model: {_EXPORT}")
    for name in _FILES:
        # Opening a pipe would wait for its other end.
        if (folder / name).exists() and not (folder / name).is_file():
            raise UserError(f"{folder / name} is not a regular file. Export the model again")
    missing = [n for n in (PROGRAM, WEIGHTS, DESCRIPTION, METADATA) if not (folder / n).is_file()]
    if not missing:
        return
    inside = next((p.parent for p in folder.glob(f"*/{METADATA}")), None)
    if inside:
        hint = f"Did you mean {inside}?"
    elif (folder / OLD_PROGRAM).is_file() and PROGRAM in missing:
        hint = (
            f"{OLD_PROGRAM} is of Paddle 2, which says neither how images are preprocessed nor "
            f"what the classes are called. Export the model again from its weights: {_EXPORT}"
        )
    else:
        hint = f"Export the model, again if that was interrupted: {_EXPORT}"
    raise UserError(f"{folder} holds no exported model: {', '.join(missing)} missing. {hint}")


def _cannot_predict(folder: Path, model: str, post: str, activation: str | None) -> str:
    if post == "NormalizeFeatures":
        what = "returns features for retrieval, not classes"
    elif post == "Topk":
        what = f"has {activation} scores, of several classes at once"
    else:
        what = f"needs {post} to read its output"
    return (
        f"{folder}: {model} {what}, and predict ranks the classes of classifiers alone. Run it "
        f"with Paddle Inference (docs/deployment.md)"
    )


def _our_step(step: dict[str, Any]) -> dict[str, Any]:
    """A step with our name of its interpolation in place of PaddleX's."""
    options = step.get("ResizeImage") or {}
    given = options.get("interpolation")
    if given is None:
        return step
    return {
        **step,
        "ResizeImage": {**options, "interpolation": _OUR_INTERPOLATIONS.get(given, given)},
    }


def _a_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{str(value)[:80]!r} is not a list")
    return value


def _positive(value: Any) -> int:
    if not _is_count(value) or value == 0:
        raise TypeError(f"{str(value)[:80]!r} is not a positive integer")
    return value


def _class_name(name: Any) -> str:
    if isinstance(name, (list, dict)):
        raise TypeError(f"{type(name).__name__} is not the name of a class")
    return str(name)
