"""The worker of a network in Paddle."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from .subjects import build, require_possible
from .workers import Case, Ready, peak_process_bytes, seconds_of, seconds_of_events, serve

if TYPE_CHECKING:
    from paddle import nn

_CLASSES = 1000
Step = Callable[[], Any]


def prepare(build: Callable[[str], nn.Layer], case: Case) -> Ready:
    """Build a network and make it ready to run.

    Args:
        build: makes the network, in the layout that it is given.
        case: what one step is to be.

    Raises:
        UserError: there is no such subject, or it cannot do that.
    """
    from ..runtime import check_device, check_paddle, threads, tune_cpu

    require_possible(case)
    if case.device == "cpu":
        tune_cpu(onednn=case.mode != "train_static", keep_memory=True)
    check_paddle()
    check_device(case.device, "--device", "--device cpu")
    import paddle

    paddle.seed(0)
    network = build(case.layout)
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
    """What runs steps on a device, ``"cpu"`` or ``"gpu"``, and returns their seconds."""
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
    # As in the recipe of the paper for its ResNets, but for the rate: labels are random here.
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

    from ..deploy.onnx import convert_to_onnx
    from ..deploy.runtimes import open_onnx_session, open_session

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


def main(subject: str) -> None:
    """Serve a subject, see :func:`paddleclas_eca.benchmark.subjects.build`."""
    serve(lambda case: prepare(partial(build, subject), case))


if __name__ == "__main__":
    main(sys.argv[1])
