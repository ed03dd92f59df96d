"""A worker of ``run.py`` for the same networks in PyTorch.

    python benchmarks/run.py --worker 'PyTorch=python benchmarks/torch_worker.py ECA_ResNet50'

The worker's Python is one with PyTorch; Paddle need not be there. The networks are those that the
tests compare ours with (tests/parity/torch_networks.py).
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any, Callable

from interleaved.worker import (
    Case,
    Ready,
    peak_process_bytes,
    seconds_of,
    seconds_of_events,
    serve,
)

from paddleclas_eca.errors import UserError
from paddleclas_eca.runtime import keep_freed_memory

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "parity"))

_CLASSES = 1000
_DEVICES = {"cpu": "cpu", "gpu": "cuda"}


def prepare(model: str, attention: str, case: Case) -> Ready:
    """Build a network and make it ready to run.

    Args:
        model: its name, as ours is called.
        attention: one of the paper's Table 2, such as ``"ECA"``, or ``"none"``.
        case: what one step is.

    Raises:
        UserError: there is no such network, or it cannot be measured in this case.
    """
    # As for Paddle, and likewise before the framework is imported.
    if case.device == "cpu":
        keep_freed_memory()
    import torch
    import torch_networks

    if case.mode not in ("train", "eval"):
        raise UserError(f"{case.mode} is not for PyTorch")
    make = {**torch_networks.ATTENTIONS, "ECA": torch_networks.ECA, "none": _identity}
    for given, valid in ((model, torch_networks.NAMES), (attention, make)):
        if given not in valid:
            raise UserError(f"there is no {given!r} among {', '.join(valid)}")
    torch.manual_seed(0)
    device = _DEVICES[case.device]
    network = torch_networks.build(model, _CLASSES, make[attention]).to(device)
    shape = [case.batch_size, 3, case.image_size, case.image_size]
    images = torch.randn(shape, device=device)
    if case.layout == "NHWC":
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    step = {"train": _training, "eval": _evaluation}[case.mode](network, images, case)
    of_gpu = torch.cuda.max_memory_allocated
    return Ready(
        run=partial(_seconds_on(case.device), step),
        peak_bytes=of_gpu if case.device == "gpu" else peak_process_bytes,
        software={"torch": torch.__version__},
        threads=torch.get_num_threads(),
    )


def _seconds_on(device: str) -> Callable[[Callable[[], None], int], float]:
    if device == "cpu":
        return seconds_of
    from torch.cuda import Event, synchronize

    return partial(
        seconds_of_events, event=partial(Event, enable_timing=True), synchronize=synchronize
    )


def _identity(channels: int, k_size: int) -> Any:
    import torch

    return torch.nn.Identity()


def _autocast(case: Case) -> Any:
    import torch

    dtype = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}[case.precision]
    return torch.autocast(_DEVICES[case.device], dtype=dtype, enabled=dtype is not None)


def _training(network: Any, images: Any, case: Case) -> Callable[[], None]:
    import torch

    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    scaler = torch.amp.GradScaler(enabled=case.precision == "fp16")
    labels = torch.randint(0, _CLASSES, [case.batch_size], device=images.device)

    def step() -> None:
        with _autocast(case):
            loss = torch.nn.functional.cross_entropy(network(images), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def _evaluation(network: Any, images: Any, case: Case) -> Callable[[], None]:
    import torch

    network.eval()

    def step() -> None:
        with torch.inference_mode(), _autocast(case):
            network(images)

    return step


def main() -> None:
    """Serve a network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("attention", nargs="?", default="ECA")
    args = parser.parse_args()
    serve(lambda case: prepare(args.model, args.attention, case))


if __name__ == "__main__":
    main()
