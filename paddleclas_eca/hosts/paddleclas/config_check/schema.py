"""The declared schema of a config: which keys its sections have, and what values these take.

PaddleClas validates no value before it is used, and silently ignores unknown keys. Options of
networks, losses and transforms are not declared here: building them checks these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ....checks.findings import Finding
from ....checks.values import (
    ANYTHING,
    BELOW_ONE,
    COUNT,
    NULL,
    PATH,
    POSITIVE,
    SHARE,
    SWITCH,
    Kind,
    check_values,
    ignored,
    integer,
    list_of,
    number,
    one_of,
)
from ....configs import Config, section

_SCHEDULE = {
    "learning_rate": POSITIVE,
    "values": list_of(POSITIVE, "[0.1, 0.01]"),
    "decay_epochs": list_of(POSITIVE, "[30, 60]"),
    "milestones": list_of(POSITIVE, "[30, 60]"),
    "warmup_epoch": POSITIVE,
    "warmup_start_lr": POSITIVE,
    "eta_min": POSITIVE,
    "gamma": POSITIVE,
}
_OPTIMIZER = {
    "momentum": SHARE,
    "beta1": SHARE,
    "beta2": SHARE,
    "epsilon": POSITIVE,
    "weight_decay": POSITIVE | NULL,
    "clip_norm": POSITIVE | NULL,
    "regularizer.coeff": POSITIVE,
    **{f"lr.{key}": kind for key, kind in _SCHEDULE.items()},
}

# By key: * stands for any one key or list entry, ** for any number of them.
VALUES: dict[str, Kind] = {
    "Global.epochs": COUNT,
    # -1 saves no checkpoints of single epochs.
    "Global.save_interval": COUNT | one_of(-1),
    "Global.eval_interval": COUNT,
    "Global.start_eval_epoch": integer(0),
    "Global.print_batch_step": COUNT,
    "Global.iter_per_epoch": COUNT | NULL,
    "Global.update_freq": COUNT,
    "Global.output_dir": PATH,
    "Global.save_inference_dir": PATH,
    "Global.checkpoints": PATH | NULL,
    "Global.pretrained_model": PATH | NULL,
    "Global.peer_timeout": number(10) | one_of(0) | NULL,
    "Global.seed": integer(0) | NULL,
    "Global.image_shape": list_of(COUNT, "[3, 224, 224]", length=3),
    "Global.class_num": COUNT,
    "Global.max_corrupt_images": SHARE,
    "Global.eval_mode": one_of("classification", "retrieval", "adaface"),
    "Global.eval_during_train": SWITCH,
    "Global.preflight": SWITCH,
    "Global.progress": SWITCH,
    "Global.use_visualdl": SWITCH,
    "Global.use_dali": SWITCH,
    "Global.use_multilabel": SWITCH,
    "Global.to_static": SWITCH,
    "Global.export_onnx": SWITCH,
    "Arch.class_num": COUNT,
    "Arch.Head.class_num": COUNT,
    "Arch.models.*.*.class_num": COUNT,
    "Arch.**.pretrained": SWITCH | PATH | NULL,
    "DataLoader.**.dataset.image_root": PATH,
    "DataLoader.**.dataset.cls_label_path": PATH,
    "DataLoader.**.sampler.batch_size": COUNT,
    "DataLoader.**.sampler.drop_last": SWITCH,
    "DataLoader.**.sampler.shuffle": SWITCH,
    "DataLoader.**.loader.num_workers": integer(0),
    "DataLoader.**.loader.use_shared_memory": SWITCH,
    "EMA.decay": BELOW_ONE,
    "Infer.batch_size": COUNT,
    "Infer.infer_imgs": PATH | NULL,
    "Infer.PostProcess.topk": COUNT,
    "Infer.PostProcess.class_id_map_file": PATH | NULL,
    "Loss.Train": list_of(ANYTHING, "`- CELoss: {weight: 1.0}`"),
    "Loss.*.*.*.weight": number(),
    "Loss.*.*.CELoss.epsilon": SHARE | NULL,
    "Metric.*.*.TopkAcc.topk": COUNT | list_of(COUNT, "[1, 5]"),
    "AMP.use_amp": SWITCH,
    "AMP.use_fp16_test": SWITCH,
    "AMP.use_dynamic_loss_scaling": SWITCH,
    "AMP.scale_loss": POSITIVE,
    **{f"Optimizer.{key}": kind for key, kind in _OPTIMIZER.items()},
    # Several optimizers stand in a list, each under its name.
    **{f"Optimizer.*.*.{key}": kind for key, kind in _OPTIMIZER.items()},
}

# Old names of keys, which keep working.
ALIASES = {"Global.max_broken_images": "Global.max_corrupt_images"}

_LOADER = {
    "": {"dataset", "sampler", "loader"},
    "loader": {"num_workers", "use_shared_memory"},
}
# The keys that some version of PaddleClas or this package reads, and those that PaddleClas's own
# configs have although nothing reads them.
KEYS: dict[str, set[str]] = {
    "": {
        *("Global", "Arch", "AMP", "EMA", "Loss", "UnLabelLoss", "Optimizer", "DataLoader"),
        *("Metric", "Infer", "Slim", "SSL", "MLDecoder", "IndexProcess", "profiler_options"),
    },
    "Global": {
        *("checkpoints", "pretrained_model", "device", "output_dir", "save_inference_dir", "seed"),
        *("epochs", "save_interval", "eval_during_train", "eval_interval", "start_eval_epoch"),
        *("print_batch_step", "print_mem_info", "use_visualdl", "use_dali", "use_gpu", "to_static"),
        *("image_shape", "image_channel", "infer_imgs", "class_num", "use_multilabel"),
        *("eval_mode", "train_mode", "distributed", "log_ranks", "update_freq", "iter_per_epoch"),
        *("warmup_iter", "uniform_output_enabled", "export_for_fd", "hpi_config_path"),
        *("pdx_model_name", "feature_normalize", "feature_binarize", "re_ranking"),
        *("retrieval_feature_from", "sim_block_size"),
        # Those of this package.
        *("preflight", "max_corrupt_images", "peer_timeout", "export_onnx", "progress"),
    },
    "AMP": {
        *("use_amp", "use_fp16_test", "use_promote", "use_dynamic_loss_scaling", "level"),
        "scale_loss",
    },
    "EMA": {"decay"},
    "Infer": {"infer_imgs", "infer_list", "batch_size", "transforms", "PostProcess", "save_dir"},
    "DataLoader": {
        *("Train", "Eval", "UnLabelTrain", "Metalearning", "class_num", "epochs", "mean", "std")
    },
    "Loss": {"Train", "Eval", "Basic", "MetaTrain", "MetaTest"},
    "UnLabelLoss": {"Train", "Eval"},
    "Metric": {"Train", "Eval"},
    "Slim": {"prune", "quant"},
}


def check_schema(config: Config, mode: str) -> Iterator[Finding]:
    """Check the values of the declared keys, and make numbers of numbers in text.

    Args:
        config: a PaddleClas config; changed in place. Values of another kind become None.
        mode: the mode of the Engine; the optimizer matters for ``"train"`` alone.
    """
    settings = config.get("Global")
    for old, new in ALIASES.items():
        old, new = old.split(".")[1], new.split(".")[1]
        if isinstance(settings, dict) and old in settings:
            settings.setdefault(new, settings.pop(old))
    trains = mode == "train"
    declared = {k: v for k, v in VALUES.items() if trains or not k.startswith("Optimizer")}
    yield from check_values(config, declared)


def unknown_keys(config: Config) -> Iterator[Finding]:
    """A warning for each key of the declared sections that nothing reads."""
    for name, valid in KEYS.items():
        given = config.get(name) if name else config
        known = {*valid, *(old.split(".")[1] for old in ALIASES if old.startswith(f"{name}."))}
        yield from ignored(name, given, known)
    yield from _of_loaders("DataLoader", config.get("DataLoader"))


def _of_loaders(place: str, loader: Any) -> Iterator[Finding]:
    if not isinstance(loader, dict):
        return
    if "dataset" not in loader:
        for key, value in loader.items():
            yield from _of_loaders(f"{place}.{key}", value)
        return
    for name, valid in _LOADER.items():
        where = f"{place}.{name}".rstrip(".")
        yield from ignored(where, loader.get(name) if name else loader, valid)
    if section(loader, "sampler", "name") is None:
        valid = {"batch_size", "drop_last", "shuffle", "name"}
        yield from ignored(f"{place}.sampler", loader.get("sampler"), valid)
