"""Every command and every piece of Python in the documents is run: here, or where ELSEWHERE says.

They run in the order of the documents, in a directory with what a user would have: images,
weights, a trained model. Commands that load a config get overrides that make data and network
small. One process that has loaded Paddle and PaddleClas forks for each of them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ENGLISH, REPOSITORY, Block, blocks, cli_words

# Commands that cannot run here, by a part of their text, and the test or script that runs them.
ELSEWHERE = {
    "bash tools/quickstart.sh": ".ci/run",
    "bash tools/test.sh": ".ci/run",
    # They make an environment.
    "bash tools/setup_env.sh": ".ci/run",
    "source .venv/bin/activate": ".ci/run",
    "pip install .": "tools/setup_env.sh",
    "pip install --no-deps paddleclas==2.4.2": "tools/setup_env.sh",
    "pip install -r requirements/base.txt": "tests/product/test_installing.py",
    "pip install --no-deps . paddleclas==2.4.2": "tests/product/test_installing.py",
    "pip install -r requirements/convert.txt": "tools/setup_env.sh",
    "pip install -r requirements/onnx.txt": "tools/setup_env.sh",
    "pip install paddlepaddle==3.3.1 'paddlex[cv]": "tests/product/test_paddlex.py",
    "from paddlex import": "tests/product/test_paddlex.py",
    # Two machines, and machines that are lost.
    "--nnodes 2": "tests/product/test_two_nodes.py",
    "for attempt in": "tests/product/test_dead_ranks.py",
    # The scripts of a checkout, which wheels lack.
    "python -m paddleclas_eca PaddleClas/": "tests/cli/test_cli.py",
    '"$(command -v python)" -m paddleclas_eca PaddleClas/': "tests/cli/test_cli.py",
    "PADDLECLAS_ROOT=": "tests/hosts/paddleclas/test_locate.py",
    # Published files, which are not here.
    "paddleclas-eca convert": "tests/weights/test_guide.py",
    "paddleclas-eca prepare cifar10": "tests/product/test_cifar10_tools.py",
    "paddleclas-eca train -c cifar10/": "tests/product/test_cifar10_tools.py",
    "/compare_cifar10.py": "tests/product/test_cifar10_tools.py",
    # Hours; shorter forms of them are tests.
    "/matrix.py": "tests/test_matrix.py",
    "benchmarks/faults.py": "tests/benchmarks/test_faults.py",
    "benchmarks/run.py": "tests/benchmarks/test_run.py",
    "benchmarks/performance.sh": "tests/benchmarks/test_run.py",
    "benchmarks/communication.py": "tests/benchmarks/test_communication.py",
    "benchmarks/scaling.py": "tests/benchmarks/test_scaling.py",
    "def row(name)": "tests/test_backbone_configs.py",
    # Processes import the file that starts them.
    "pool.map(classify": "tests/deploy/test_serving.py",
    # Photographs of scikit-image, and half an hour.
    "prints": "docs/evidence/prints.md",
    # An etcd server.
    "--master etcd://": "docs/evidence/distributed.md",
}
# What the five-minute start leaves behind, which the documents build on.
_QUICKSTART = (
    "paddleclas-eca export_model -c digits/ECA_ResNet18 "
    "-o Global.pretrained_model=output/digits/ECA_ResNet18/best_model --onnx"
)


def elsewhere(block: Block) -> str | None:
    parts = [part for part in ELSEWHERE if part in block.text]
    return max(parts, key=len, default=None)  # `pip install .` begins several


def test_every_command_is_run_by_a_test():
    used = set()
    for block in (block for document in ENGLISH for block in blocks(document)):
        part = elsewhere(block)
        used.add(part)
        assert part or block.language == "python" or cli_words(block.text), block
    assert set(ELSEWHERE) <= used
    for place in ELSEWHERE.values():
        assert (REPOSITORY / place).is_file(), place


# For the configs of ImageNet: a small network, small images, few of them at once, and no GPU.
_NETWORK = "ECA_MobileNetV2_x0_25"
_SMALL = [
    f"Arch.name={_NETWORK}",
    *("Global.device=cpu", "Global.epochs=1", "Global.print_batch_step=1"),
    "Global.save_interval=100",
    *(f"DataLoader.{part}.sampler.batch_size=4" for part in ("Train", "Eval")),
    *(f"DataLoader.{part}.loader.num_workers=0" for part in ("Train", "Eval")),
    "DataLoader.Train.dataset.transform_ops.1.RandCropImage.size=32",
    "DataLoader.Eval.dataset.transform_ops.2.CropImage.size=32",
]


def made_small(words: list[str], digits: list[str]) -> list[str]:
    """The words, with overrides where they name a config."""
    if "-c" not in words:
        return words
    # The flowers of the desk have two classes.
    words = [word.replace("Arch.class_num=102", "Arch.class_num=2") for word in words]
    overrides = [*digits, "Global.epochs=1"] if "digits/" in " ".join(words) else _SMALL
    return [*words, *(word for override in overrides for word in ("-o", override))]


@pytest.fixture
def desk(tmp_path, digits, trained) -> Path:
    """The directory of a user, with links to what a clone has."""
    import paddle
    from PIL import Image
    from sklearn.datasets import load_sample_images

    from paddleclas_eca import create_model

    for name in ("tools", "ppcls_configs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    photographs = [Image.fromarray(image).resize((64, 48)) for image in load_sample_images().images]

    def fill(directory: str, count: int, ending: str, image) -> None:
        (tmp_path / directory).mkdir(parents=True)
        for i in range(count):
            image.rotate(10 * i).save(tmp_path / directory / f"{Path(directory).name}_{i}.{ending}")

    for split, count in (("train", 8), ("val", 4)):
        for wnid, image in zip(("n01440764", "n01443537"), photographs):
            fill(f"dataset/ILSVRC2012/{split}/{wnid}", count, "JPEG", image)
    for name, image in zip(("daisy", "rose"), photographs):
        fill(f"flowers/{name}", 10, "jpg", image)
    fill("photos", 2, "jpg", photographs[0])
    fill("more", 1, "png", photographs[1])
    for directory in (digits / "val").iterdir():
        few = tmp_path / "dataset" / "digits" / "val" / directory.name
        few.mkdir(parents=True)
        for image in sorted(directory.iterdir())[:3]:
            shutil.copy(image, few)
    for name in ("digits", "digits_ECA", "digits_SE", "digits_none"):
        shutil.copytree(trained.folder, tmp_path / "output" / name / "ECA_ResNet18")
    # In place of published and trained weights.
    file = tmp_path / "ECA_ResNet50.pdparams"
    paddle.save(create_model(_NETWORK).state_dict(), str(file))
    for output in ("output", "output/flowers"):
        (tmp_path / output / _NETWORK).mkdir(parents=True)
        (tmp_path / output / "ECA_ResNet50").symlink_to(_NETWORK)
    shutil.copy(file, tmp_path / "output" / _NETWORK / "best_model.pdparams")
    return tmp_path


# Runs the words of `paddleclas-eca`, or the Python code, of each line in a process of its own.
_RUNNER = """
import json, os, sys
import paddle, paddleclas_eca
from paddleclas_eca import cli

paddleclas_eca.register()
for line in sys.stdin:
    job = json.loads(line)
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = 1
        try:
            if isinstance(job["run"], str):
                exec(job["run"], {"__name__": "__main__"})
                code = 0
            else:
                code = cli.main(job["run"])
        except BaseException:
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    print(status, flush=True)
"""


def jobs(digits: list[str]) -> dict[str, str | list[str]]:
    """What is to run, by the text that asks for it.

    Of commands that differ in values of a config alone, the first stands for all.
    """
    found: dict[str, str | list[str]] = {}
    seen = set()
    for command in [_QUICKSTART, *(b.text for d in ENGLISH for b in blocks(d) if not elsewhere(b))]:
        words = cli_words(command)
        if words is not None:
            kind = tuple(word.partition("=")[0] for word in words)
            if kind not in seen:
                seen.add(kind)
                found[command] = made_small(words, digits)
    for document in ENGLISH:
        pieces = [b for b in blocks(document) if b.language == "python" and not elsewhere(b)]
        code = "".join(piece.text for piece in pieces)
        if code:
            found[f"the Python of {document}"] = code
    return found


@pytest.mark.slow
def test_documented_commands_run(desk, short_digits):
    pytest.importorskip("paddle2onnx")
    log = desk / "log.txt"
    with subprocess.Popen(
        [sys.executable, "-c", _RUNNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=desk,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        text=True,
    ) as runner:
        for text, job in jobs(short_digits).items():
            runner.stdin.write(json.dumps({"run": job, "log": str(log)}) + "\n")
            runner.stdin.flush()
            status = runner.stdout.readline().strip()
            output = log.read_text(errors="replace") if log.exists() else ""
            if status != "0" or re.search(r"^Traceback", output, re.M):
                runner.kill()
                pytest.fail(f"exit code {status or 'unknown'} of {text}:\n{output[-4000:]}")
