"""Every command and every piece of code in the documents is run: here, or where ELSEWHERE says.

The commands run as they stand, document by document, in a folder with what a user would have:
data, photographs, weights, a trained model. Only those that train or load a config are given
overrides besides, which make them small.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    "README.md",
    *(f"docs/{path.name}" for path in sorted((REPOSITORY / "docs").glob("*.md"))),
]

# What cannot run here, by a part of its text, and the test or script that runs it.
ELSEWHERE = {
    "bash tools/quickstart.sh": ".ci/run",
    "bash tools/test.sh": ".ci/run",
    # In an environment of its own, which setting one up by these lines makes.
    "pip install .": "tools/setup_env.sh",
    "pip install --no-deps paddleclas==2.4.2": "tools/setup_env.sh",
    "pip install -r requirements/base.txt": "tests/product/test_installing.py",
    "pip install --no-deps . paddleclas==2.4.2": "tests/product/test_installing.py",
    "pip install '.[convert]'": "tools/setup_env.sh",
    "pip install paddlepaddle==3.3.1 'paddlex[cv]": "tests/product/test_paddlex.py",
    "from paddlex import": "tests/product/test_paddlex.py",
    "pip install . faiss-cpu": "tests/product/test_wheel_predictor.py",
    "pip install --no-deps paddleclas==2.6.0": "tests/product/test_wheel_predictor.py",
    "paddleclas_eca.patch_predictor()": "tests/product/test_wheel_predictor.py",
    "python -m paddleclas_eca paddleclas": "tests/product/test_wheel_predictor.py",
    # Two machines, and machines that are lost.
    "--nnodes 2": "tests/product/test_two_nodes.py",
    "for attempt in": "tests/product/test_dead_ranks.py",
    # The scripts of a checkout, which wheels lack.
    "python -m paddleclas_eca PaddleClas/": "tests/cli/test_cli.py",
    '"$(command -v python)" -m paddleclas_eca PaddleClas/': "tests/cli/test_cli.py",
    "PADDLECLAS_ROOT=": "tests/host/test_locate.py",
    # Files of others, which are not here.
    "paddleclas-eca convert": "tests/weights/test_guide.py",
    "paddleclas-eca prepare cifar10": "tests/product/test_cifar10_tools.py",
    "paddleclas-eca train -c cifar10/": "tests/product/test_cifar10_tools.py",
    "tools/compare_cifar10.py": "tests/product/test_cifar10_tools.py",
    # Hours; shorter forms of them are tests.
    "python tools/matrix.py": "tests/test_matrix.py",
    "python benchmarks/faults.py": "tests/product/test_interrupted_runs.py",
    "paddleclas-eca benchmark": "tests/product/test_benchmark_command.py",
    "benchmarks/communication.py": "tests/benchmarks/test_communication.py",
    "python benchmarks/scaling.py": "tests/benchmarks/test_scaling.py",
    "def row(name)": "tests/test_backbone_configs.py",
}
# What is described as tried by hand, with its result, in the document itself.
BY_HAND = {"--master etcd://": "Tried once by hand"}


class Block(NamedTuple):
    """A command or a piece of Python of a document."""

    document: str
    language: str
    text: str


def blocks(document: str) -> list[Block]:
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    found = []
    for language, content in re.findall(r"^```(bash|console|python)\n(.*?)^```", text, re.M | re.S):
        if language == "python":
            found.append(Block(document, language, content))
            continue
        content = re.sub(r"\\\n\s*", "", content)
        if language == "console":
            content = "\n".join(re.findall(r"^\$ (.*)", content, re.M))
        if content.startswith("for "):
            found.append(Block(document, "bash", content))
            continue
        for line in content.splitlines():
            line = re.sub(r"(^|\s)#\s.*", "", line).strip()
            if line:
                found.append(Block(document, "bash", line))
    return found


def elsewhere(block: Block) -> str | None:
    parts = [part for part in (*ELSEWHERE, *BY_HAND) if part in block.text]
    return max(parts, key=len, default=None)  # `pip install .` begins several


def here(document: str) -> list[Block]:
    return [block for block in blocks(document) if not elsewhere(block)]


def test_what_runs_elsewhere_is_there():
    all_blocks = [block for document in DOCUMENTS for block in blocks(document)]
    used = {elsewhere(block) for block in all_blocks}
    assert used - {None} == {*ELSEWHERE, *BY_HAND}
    for place in ELSEWHERE.values():
        assert (REPOSITORY / place).is_file(), place
    for part, words in BY_HAND.items():
        for block in all_blocks:
            if part in block.text:
                assert words in (REPOSITORY / block.document).read_text(encoding="utf-8")


# Small images for the configs of ImageNet, few of them at once, and no GPU.
_SMALL = ["Global.device=cpu", "Global.epochs=1", "Global.print_batch_step=1"]
_SMALL += [f"DataLoader.{part}.sampler.batch_size=4" for part in ("Train", "Eval")]
_SMALL += [f"DataLoader.{part}.loader.num_workers=0" for part in ("Train", "Eval")]
_SMALL_IMAGENET = [
    *_SMALL,
    "DataLoader.Train.dataset.transform_ops.1.RandCropImage.size=32",
    "DataLoader.Eval.dataset.transform_ops.2.CropImage.size=32",
]


def made_small(command: str, digits: list[str]) -> str:
    """The command, with overrides where it takes a config."""
    config = re.search(r" -c (\S+)", command)
    if config is None:
        return command
    overrides = [*digits, "Global.epochs=1"] if "digits/" in config[1] else _SMALL_IMAGENET
    return " ".join([command, *(f"-o {shlex.quote(override)}" for override in overrides)])


@pytest.fixture(scope="module")
def photographs():
    from PIL import Image
    from sklearn.datasets import load_sample_images

    return [
        Image.fromarray(photograph).resize((64, 48)) for photograph in load_sample_images().images
    ]


@pytest.fixture
def desk(tmp_path, photographs, digits, trained) -> Path:
    """The folder of a user, beside whose files the clone's lie."""
    for name in ("tools", "ppcls_configs", "requirements", "benchmarks"):
        (tmp_path / name).symlink_to(REPOSITORY / name)

    def fill(folder: str, count: int, ending: str, image) -> None:
        (tmp_path / folder).mkdir(parents=True)
        for i in range(count):
            image.rotate(10 * i).save(tmp_path / folder / f"{Path(folder).name}_{i}.{ending}")

    for split, count in (("train", 8), ("val", 4)):
        for wnid, image in zip(("n01440764", "n01443537"), photographs):
            fill(f"dataset/ILSVRC2012/{split}/{wnid}", count, "JPEG", image)
    for name, image in zip(("daisy", "rose"), photographs):
        fill(f"flowers/{name}", 10, "jpg", image)
    fill("photos", 2, "jpg", photographs[0])
    photographs[1].save(tmp_path / "photos" / "rose.jpg")
    fill("more", 1, "png", photographs[1])
    for folder in (digits / "val").iterdir():
        few = tmp_path / "dataset" / "digits" / "val" / folder.name
        few.mkdir(parents=True)
        for image in sorted(folder.iterdir())[:3]:
            shutil.copy(image, few)
    for name in ("digits", "fine", "digits_ECA", "digits_SE", "digits_none"):
        shutil.copytree(trained.folder, tmp_path / "output" / name / "ECA_ResNet18")
    return tmp_path


@pytest.fixture(scope="module")
def imagenet_weights(tmp_path_factory) -> Path:
    """Random weights in the place of published ones."""
    import paddle

    from paddleclas_eca import create_model

    file = tmp_path_factory.mktemp("weights") / "ECA_ResNet50.pdparams"
    paddle.save(create_model("ECA_ResNet50").state_dict(), str(file))
    return file


def run(desk: Path, block: Block, text: str) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }
    words = [sys.executable, "-c", text] if block.language == "python" else ["bash", "-ec", text]
    finished = subprocess.run(
        words, cwd=desk, env=environment, capture_output=True, text=True, timeout=300
    )
    if finished.returncode or "Traceback" in finished.stderr:
        pytest.fail(
            f"exit code {finished.returncode} in {block.document}:\n{text}\n"
            f"{finished.stdout[-3000:]}\n{finished.stderr[-3000:]}"
        )


def documents_to_run() -> list[str]:
    """Those that have commands which no other document has."""
    texts = {document: {block.text for block in here(document)} for document in DOCUMENTS}
    kept = dict(texts)
    for document in DOCUMENTS:
        if any(texts[document] <= others for name, others in kept.items() if name != document):
            del kept[document]
    return list(kept)


@pytest.mark.slow
@pytest.mark.parametrize("document", documents_to_run())
def test_document(document, desk, imagenet_weights, short_digits):
    lists = desk / "dataset" / "ILSVRC2012"
    if not any("prepare imagenet" in block.text for block in blocks(document)):
        from paddleclas_eca.data import prepare_imagenet

        prepare_imagenet(lists)
    shutil.copy(imagenet_weights, desk)
    run_folder = desk / "output" / "ECA_ResNet50"
    run_folder.mkdir()
    for name in ("best_model", "latest"):
        shutil.copy(imagenet_weights, run_folder / f"{name}.pdparams")
    python = ""
    for block in here(document):
        if block.language == "python":
            # Later pieces go on from earlier ones.
            python += block.text
            run(desk, block, python)
        else:
            run(desk, block, made_small(block.text, short_digits))
