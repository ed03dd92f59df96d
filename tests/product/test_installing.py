"""The README's commands for GPU users, in an environment that has its own Paddle."""

from __future__ import annotations

import re
import shutil
import subprocess
import venv

import pytest
from environments import run_in


@pytest.mark.slow
def test_installing_leaves_the_paddle_that_is_there(repository, tmp_path):
    lines = re.search(
        r"\*\*For GPUs\*\*.*?```bash\n(.*?)```",
        (repository / "README.md").read_text(encoding="utf-8"),
        re.DOTALL,
    )[1].splitlines()
    assert len(lines) == 2
    clone = tmp_path / "clone"
    # Without the directories that building leaves in a clone, and without the tools' output.
    for name in ("paddleclas_eca", "ppcls_configs", "requirements"):
        shutil.copytree(repository / name, clone / name)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, clone)
    venv.create(tmp_path / "gpu", with_pip=True)
    python = tmp_path / "gpu" / "bin" / "python"
    # In the place of paddlepaddle-gpu, which is as large as a disk: a name that nothing brings.
    packages = tmp_path / "gpu" / "lib"
    (site,) = packages.glob("python*/site-packages")
    (site / "paddle").mkdir()
    (site / "paddle" / "__init__.py").write_text("mine = True\n")
    for line in lines:
        assert line.startswith("pip install ")
        subprocess.run(
            [str(python), "-m", *line.split()], cwd=clone, check=True, capture_output=True
        )
    code = "import paddle, paddleclas_eca, cv2, yaml, sys; assert paddle.mine; print(sys.version)"
    assert run_in(python, "-c", code, cwd=tmp_path)
    listed = run_in(python, "-m", "pip", "list", "--format", "freeze", cwd=tmp_path)
    assert "paddlepaddle" not in listed
    assert "paddleclas==2.4.2" in listed
    assert re.search(r"paddleclas[-_]eca==", listed)
