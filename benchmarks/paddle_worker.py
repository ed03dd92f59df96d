"""A worker of ``run.py`` for networks in Paddle; ``run.py`` starts it by itself.

    python benchmarks/run.py --worker 'ours=python benchmarks/paddle_worker.py ECA_ResNet50'

As a ``--worker`` it can have another environment: another Python, other variables.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from interleaved.candidates import build, check_case
from interleaved.worker import (
    Case,
    Ready,
    peak_process_bytes,
    seconds_of,
    seconds_of_events,
    serve,
)

if TYPE_CHECKING:
    from paddle import nn

_CLASSES = 1000
Step = Callable[[], Any]


def prepare(candidate: str, case: Case) -> Ready:
    """Build a network and make it ready to run.

    Args:
        candidate: see :func:`interleaved.candidates.build`.
        case: what one step is.

    Raises:
        UserError: there is no such candidate, or it cannot be measured in this case.
    """
    from paddleclas_eca.runtime import check_device, check_paddle, threads, tune_cpu

    check_case(case)
    if case.device == "cpu":
        tune_cpu(onednn=case.mode != "train_static", keep_memory=True)
    check_paddle()
    check_device(case.device, "--device", "--device cpu")
    import paddle

    paddle.seed(0)
    network = build(candidate, case.layout)
    step = _STEPS[case.mode](network, case)
    gpu = case.device == "gpu"
    peak_bytes = paddle.device.cuda.max_memory_allocated if gpu else peak_process_bytes
    software = {"paddlepaddle": paddle.__version__}
    if case.mode == "onnxruntime":
        import onnxruntime

        software = {"onnxruntime": onnxruntime.__version__}
        peak_bytes = _unknown if gpu else peak_process_bytes
    if gpu:
        software["GPU"] = paddle.device.cuda.get_device_name()
        paddle.device.cuda.reset_max_memory_allocated()
    return Ready(
        run=partial(seconds_on(case.device), step),
        peak_bytes=peak_bytes,
        software=software,
        threads=threads(),
    )


def _unknown() -> int:
    return 0


def seconds_on(device: str) -> Callable[[Step, int], float]:
    """The function that runs steps on ``"cpu"`` or ``"gpu"`` and returns their seconds."""
    if device == "cpu":
        return seconds_of
    from paddle.device import Event, synchronize

    return partial(
        seconds_of_events, event=partial(Event, enable_timing=True), synchronize=synchronize
    )


def _images(case: Case) -> Any:
    import paddle

    return paddle.randn([case.batch_size, 3, case.image_size, case.image_size])


def _mixed_precision(case: Case) -> Any:
    import paddle

    if case.precision == "fp32":
        return contextlib.nullcontext()
    dtype = {"fp16": "float16", "bf16": "bfloat16"}[case.precision]
    return paddle.amp.auto_cast(level="O1", dtype=dtype)


def training_step(network: nn.Layer, case: Case, static: bool = False) -> Step:
    """A step on random images: forward, backward and optimizer; ``static`` for to_static."""
    import paddle
    from paddle.nn import functional as F

    network.train()
    # The paper's recipe for its ResNets, with a low learning rate: labels are random here.
    optimizer = paddle.optimizer.Momentum(1e-3, parameters=network.parameters(), weight_decay=1e-4)
    scaler = paddle.amp.GradScaler(enable=case.precision == "fp16")
    run = paddle.jit.to_static(network, full_graph=True) if static else network
    images = _images(case)
    labels = paddle.randint(0, _CLASSES, [case.batch_size])

    def step() -> None:
        with _mixed_precision(case):
            loss = F.cross_entropy(run(images), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.clear_grad()

    return step


def _evaluation(network: nn.Layer, case: Case) -> Step:
    import paddle

    network.eval()
    images = _images(case)

    def step() -> None:
        with paddle.no_grad(), _mixed_precision(case):
            network(images)

    return step


def _exported(network: nn.Layer, case: Case, onnx: bool = False) -> Step:
    import paddle

    from paddleclas_eca.deploy.onnx import convert_to_onnx
    from paddleclas_eca.deploy.runtimes import open_onnx_session, open_session

    network.eval()
    shape = [None, 3, case.image_size, case.image_size]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = paddle.jit.to_static(
            network, input_spec=[paddle.static.InputSpec(shape, "float32")], full_graph=True
        )
        paddle.jit.save(program, str(folder / "inference"))
        if onnx:
            convert_to_onnx(folder)
            session = open_onnx_session(folder, case.device)
        else:
            session = open_session(folder, case.device)
    images = _images(case).numpy()
    return lambda: session.run(images)


_STEPS: dict[str, Callable[[nn.Layer, Case], Step]] = {
    "train": training_step,
    "train_static": partial(training_step, static=True),
    "eval": _evaluation,
    "paddle_inference": _exported,
    "onnxruntime": partial(_exported, onnx=True),
}


if __name__ == "__main__":
    serve(partial(prepare, sys.argv[1]))
