"""Configs with one error each, and what ``check`` says of them and ``train`` does with them."""

from __future__ import annotations

import re

import pytest

from paddleclas_eca.hosts.paddleclas.config_check import ERROR, WARNING

TRAIN, EVAL = "DataLoader.Train", "DataLoader.Eval"
OPS = f"{TRAIN}.dataset.transform_ops"
NORMALIZE = f"{OPS}.2.NormalizeImage"
DECODE = {"DecodeImage": {"to_rgb": True, "channel_first": False}}
RESIZE = {"ResizeImage": {"size": 16}}
NORMALIZING = {"scale": "1.0/255.0", "mean": [0.5] * 3, "std": [0.5] * 3, "order": ""}


def transforms(*operators):
    """Changes that train with these transforms."""
    return {OPS: list(operators)}


def normalize(**options):
    return {"NormalizeImage": {**NORMALIZING, **options}}


# Changes of a right config, and the key that the one error is about.
ERRORS = {
    # The network.
    "kernel size": ({"Arch.k_size": 4}, "Arch.k_size"),
    "attention": ({"Arch.attention": "SEE"}, "Arch.attention"),
    "lr_mult_list": ({"Arch.lr_mult_list": [1, 1]}, "Arch.lr_mult_list"),
    "padding_mode": ({"Arch.padding_mode": "mirror"}, "Arch.padding_mode"),
    "data_format": ({"Arch.data_format": "NHCW"}, "Arch.data_format"),
    "option of the network": ({"Arch.stem": 3}, "Arch.stem"),
    "network": ({"Arch.name": "ECA_ResNet81"}, "Arch.name"),
    "pretrained of nothing": ({"Arch.pretrained": True}, "Arch.pretrained"),
    # The tests' configs have ECA_ResNet18, and PaddleClas's has a projection more.
    "backbone of another topology": ({"Arch.pretrained": "backbone"}, "Arch.pretrained"),
    "pretrained of no file": ({"Arch.pretrained": "no/such"}, "Arch.pretrained"),
    "option of ECA_Backbone": (
        {
            "Arch": {
                "name": "ECA_Backbone",
                "replace": "SE",
                "k_sizes": 3,
                "backbone": {"name": "MobileNetV3_small_x0_35"},
                "class_num": 10,
            }
        },
        "Arch.k_sizes",
    ),
    "option of its backbone": (
        {
            "Arch": {
                "name": "ECA_Backbone",
                "replace": "SEE",
                "backbone": {"name": "MobileNetV3_small_x0_35"},
                "class_num": 10,
            }
        },
        "Arch.replace",
    ),
    "layer to insert after": (
        {
            "Arch": {
                "name": "ECA_Backbone",
                "insert_after": "blok.*",
                "backbone": {"name": "ResNet18"},
                "class_num": 10,
            }
        },
        "Arch.insert_after",
    ),
    # Channels and sizes.
    "grey network": ({"Arch.input_image_channel": 1}, f"{OPS}|{EVAL}.dataset.transform_ops|.*"),
    "image_shape, channels": ({"Global.image_shape": [1, 16, 16]}, "Global.image_shape"),
    "image_shape, size": ({"Global.image_shape": [3, 32, 32]}, "Global.image_shape"),
    "channels first, twice": (
        {OPS: [DECODE, RESIZE, {"ToCHWImage": None}, {"ToCHWImage": None}]},
        OPS,
    ),
    # Transforms.
    "option of a transform": (
        transforms(DECODE, {"ResizeImage": {"sise": 16}}),
        f"{OPS}.1.ResizeImage",
    ),
    "transform": (transforms(DECODE, {"ResizeImages": {"size": 16}}), f"{OPS}.1"),
    "interpolation": (
        transforms(DECODE, {"ResizeImage": {"size": 16, "interpolation": "cubical"}}),
        f"{OPS}.1",
    ),
    "mean of two channels": (transforms(DECODE, RESIZE, normalize(mean=[0.5, 0.5])), f"{OPS}.2"),
    "no transforms": ({OPS: None}, OPS),
    "code for a scale": ({f"{NORMALIZE}.scale": "exit()"}, f"{NORMALIZE}.scale"),
    "batch transform": (
        {f"{TRAIN}.dataset.batch_transform_ops": [{"MixupOperator": {"alpha": 0}}]},
        f"{TRAIN}.dataset.batch_transform_ops.0.MixupOperator",
    ),
    "option of a batch transform": (
        {f"{TRAIN}.dataset.batch_transform_ops": [{"MixupOperator": {"beta": 1}}]},
        f"{TRAIN}.dataset.batch_transform_ops.0.MixupOperator",
    ),
    # What trains.
    "option of a loss": (
        {"Loss.Train": [{"CELoss": {"weight": 1.0, "epsilom": 0.1}}]},
        "Loss.Train.0.CELoss.epsilom",
    ),
    "loss without weight": (
        {"Loss.Train": [{"CELoss": {"epsilon": 0.1}}]},
        "Loss.Train.0.CELoss",
    ),
    "loss": ({"Loss.Train": [{"CELos": {"weight": 1.0}}]}, "Loss.Train.0"),
    "builtin for a loss": ({"Loss.Train": [{"exit": {"weight": 1.0}}]}, "Loss.Train.0"),
    "loss of evaluation": (
        {"Loss.Eval": [{"CELoss": {"weight": 1, "eps": 1}}]},
        "Loss.Eval.0.CELoss",
    ),
    "option of a metric": ({"Metric.Eval": [{"TopkAcc": {"top": 1}}]}, "Metric.Eval.0.TopkAcc"),
    "optimizer": ({"Optimizer.name": "Momentun"}, "Optimizer.name"),
    "option of another optimizer": ({"Optimizer.beta1": 0.9}, "Optimizer.beta1"),
    "regularizer": ({"Optimizer.regularizer": {"name": "L3"}}, "Optimizer.regularizer.name"),
    "option of a regularizer": (
        {"Optimizer.regularizer": {"name": "L2", "coef": 1e-4}},
        "Optimizer.regularizer.coef",
    ),
    "schedule": ({"Optimizer.lr.name": "Cosinus"}, "Optimizer.lr.name"),
    "schedule without a rate": ({"Optimizer.lr": {"name": "Cosine"}}, "Optimizer.lr.learning_rate"),
    "steps of a schedule": (
        {"Optimizer.lr": {"name": "Step", "learning_rate": 0.1, "gamma": 0.9}},
        "Optimizer.lr.step_size",
    ),
    # Loaders.
    "option of a data set": ({f"{TRAIN}.dataset.delimeter": ","}, f"{TRAIN}.dataset.delimeter"),
    "sampler": ({f"{EVAL}.sampler.name": "DistributedBatchSample"}, f"{EVAL}.sampler.name"),
    "option of a sampler": ({f"{TRAIN}.sampler.batchsize": 3}, f"{TRAIN}.sampler.batchsize"),
    "no batch size": (
        {f"{TRAIN}.sampler": {"name": "DistributedBatchSampler"}},
        f"{TRAIN}.sampler.batch_size",
    ),
    # Predictions.
    "no transforms of predictions": ({"Infer.transforms": None}, "Infer.transforms"),
    "transforms of predictions": ({"Infer.transforms": [DECODE, RESIZE]}, "Infer.transforms"),
    "post-processing": ({"Infer.PostProcess.name": "TopK"}, "Infer.PostProcess.name"),
    "option of post-processing": ({"Infer.PostProcess.top_k": 5}, "Infer.PostProcess.top_k"),
    "no file of names": (
        {"Infer.PostProcess.class_id_map_file": "no.txt"},
        "Infer.PostProcess.class_id_map_file",
    ),
    # Values.
    "epochs": ({"Global.epochs": "ten"}, "Global.epochs"),
    "no epochs": ({"Global.epochs": 0}, "Global.epochs"),
    "switch": ({"Global.use_visualdl": "maybe"}, "Global.use_visualdl"),
    "flat evaluation of retrieval": (
        {"Global.eval_mode": "retrieval"},
        f"{EVAL}.(Gallery|Query)",
    ),
    "evaluation": ({"Global.eval_mode": "classify"}, "Global.eval_mode"),
    "share": ({"Global.max_corrupt_images": 5}, "Global.max_corrupt_images"),
    "share, by its old name": ({"Global.max_broken_images": 5}, "Global.max_corrupt_images"),
    "decay": ({"EMA": {"decay": 1}}, "EMA.decay"),
    "epsilon": (
        {"Loss.Train": [{"CELoss": {"weight": 1, "epsilon": 2}}]},
        "Loss.Train.0.CELoss.epsilon",
    ),
    "output": ({"Global.output_dir": ["output"]}, "Global.output_dir"),
    "weights": ({"Global.pretrained_model": "no"}, "Global.pretrained_model"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_found_at_its_key(look, case):
    changes, place = ERRORS[case]
    errors = [found for found in look(changes) if found.severity == ERROR]
    assert errors and all(re.match(place, found.place) for found in errors), errors


# Those that rules do not refuse before PaddleClas itself meets them.
FAIL_IN_TRAINING = [
    *("kernel size", "mean of two channels", "option of a loss", "option of another optimizer"),
    *("lr_mult_list", "option of the network", "grey network", "option of a transform"),
    *("batch transform", "channels first, twice", "loss without weight", "option of a metric"),
    *("option of a regularizer", "steps of a schedule", "option of a data set"),
    "option of a sampler",
]


@pytest.mark.parametrize(
    "case",
    [
        *FAIL_IN_TRAINING[:4],
        *(pytest.param(c, marks=pytest.mark.slow) for c in FAIL_IN_TRAINING[4:]),
    ],
)
def test_training_fails_of_it_too(ppcls, make_config, case):
    changes = {"Arch.name": "ECA_ResNet18", "Global.preflight": False, **ERRORS[case][0]}
    config = make_config(changes)
    with pytest.raises(Exception):  # noqa: B017
        ppcls.module("engine.engine").Engine(config, mode="train").train()


WARNINGS = {
    "Global": ({"Global.epoch": 3}, "Global.epoch", "epochs"),
    "section": ({"Gobal": {}}, "Gobal", "Global"),
    "AMP": ({"AMP": {"use_amp": False, "levle": "O1"}}, "AMP.levle", "level"),
    "schedule": ({"Optimizer.lr.warmup_epochs": 5}, "Optimizer.lr.warmup_epochs", "warmup_epoch"),
    "loader": ({f"{TRAIN}.loader.workers": 3}, f"{TRAIN}.loader.workers", "num_workers"),
    "network": (
        {"Arch": {"name": "ResNet18", "class_num": 10, "lr_mult": 1}},
        "Arch.lr_mult",
        "lr_mult_list",
    ),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_a_key_that_nothing_reads_is_a_warning(look, case):
    changes, place, meant = WARNINGS[case]
    (found,) = look(changes)
    assert (found.severity, found.place) == (WARNING, place) and meant in found.message


# Changes of a right config that trains, but not as it says, and the key that the warning is about.
INEFFECTIVE = {
    "interval of evaluations": ({"Global.eval_interval": 2}, "Global.eval_interval"),
    "start of evaluations": ({"Global.start_eval_epoch": 2}, "Global.start_eval_epoch"),
    "mixed precision on a CPU": ({"AMP": {"use_amp": True, "level": "O1"}}, "AMP"),
}


@pytest.mark.parametrize("case", INEFFECTIVE)
def test_what_has_no_effect_is_a_warning(look, case):
    changes, place = INEFFECTIVE[case]
    (found,) = look(changes)
    assert (found.severity, found.place) == (WARNING, place)


GOOD = {
    "evaluations at the end": {"Global.epochs": 4, "Global.eval_interval": 4},
    "as it is": {},
    "retrieval of weights": {"Global.pretrained_model": "https://example.org/x.pdparams"},
    "channels last": {"Arch.data_format": "NHWC"},
    "a network with names of its own": {"Arch": {"name": "MobileNetV2", "class_num": 10}},
    "ECA in a network of PaddleClas": {
        "Arch": {
            "name": "ECA_Backbone",
            "replace": "SE",
            "backbone": {"name": "MobileNetV3_small_x0_35"},
            "class_num": 10,
        }
    },
    "layers by name": {
        "Arch": {
            "name": "PPLCNet_x0_25",
            "class_num": 10,
            "lr_mult_list": "[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]",
        }
    },
    "expressions": transforms(DECODE, RESIZE, normalize(scale="2**-8 * (1 + 1)")),
    "mixed images": {
        f"{TRAIN}.dataset.batch_transform_ops": [
            {"OpSampler": {"MixupOperator": {"alpha": 0.2, "prob": 0.5}}}
        ]
    },
    "no predictions": {"Infer": None},
    "no loss of the evaluation": {"Loss.Eval": None},
    "several optimizers": {
        "Optimizer": [{"SGD": {"scope": "all", "lr": {"name": "Constant", "learning_rate": 0.1}}}]
    },
    "keys of this package": {
        "Global.peer_timeout": 60,
        "Global.max_broken_images": 0.1,
        "Global.export_onnx": True,
        "Global.preflight": True,
        "Global.progress": False,
    },
}


@pytest.mark.parametrize("case", GOOD)
def test_a_right_config_has_no_findings(look, case):
    assert look(GOOD[case]) == []


def test_all_errors_are_reported_at_once(look):
    changes = {
        "Global.epochs": "ten",
        "Global.device": "xpu",
        "Global.epoch": 3,
        "Arch.k_size": 4,
        "Arch.attention": "SEE",
        "Loss.Train": [{"CELos": {"weight": 1.0}}],
        "Optimizer.beta1": 0.9,
        "Global.pretrained_model": "no",
        f"{TRAIN}.dataset.image_root": "no",
        "Infer.transforms": None,
    }
    found = look(changes)
    errors = {finding.place for finding in found if finding.severity == ERROR}
    assert errors == {
        *("Global.epochs", "Global.device", "Arch.k_size", "Arch.attention", "Loss.Train.0"),
        *("Optimizer.beta1", "Global.pretrained_model", f"{TRAIN}.dataset.image_root"),
        "Infer.transforms",
    }
    assert [finding.place for finding in found if finding.severity == WARNING] == ["Global.epoch"]
    assert found[-1].severity == WARNING and len(found) == len(set(found))
