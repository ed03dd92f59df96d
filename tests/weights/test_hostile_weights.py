"""Weight files that stand for much more than they hold: refused in bounded memory and time."""

from __future__ import annotations

import pickle
import struct

import numpy as np
import paddle
import pytest
from hostile import compressed, pickles_that_stand_for_much, safetensors_that_stand_for_much

from paddleclas_eca.weights.files import read_weights
from paddleclas_eca.weights.safe_load import load

# Reads the files in bounded memory, and prints what becomes of them.
READ = """
import resource, sys
from pathlib import Path
import numpy, paddle, safetensors
from paddleclas_eca.errors import UserError
from paddleclas_eca.weights.files import read_weights
from paddleclas_eca.weights.safe_load import load

in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**30,) * 2)
for file in map(Path, sys.argv[1:]):
    try:
        (load if file.suffix == ".pdparams" else read_weights)(file)
        print(f"read {file}")
    except UserError as error:
        print(f"refused {error}")
"""


@pytest.fixture
def assert_refused(run_python, tmp_path):
    """Refused in a process of little memory, each in a line that names the file."""

    def check(files):
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        finished = run_python("-c", READ, *files, cwd=tmp_path)
        lines = finished.stdout.splitlines()
        assert len(lines) == len(files)
        assert [line for line in lines if not line.startswith("refused ")] == []
        assert {line.split()[1].rstrip(":") for line in lines} == set(files)
        assert max(map(len, lines)) < 1000

    return check


def named(files, suffix):
    return {f"{name.replace(' ', '_')}{suffix}": content for name, content in files.items()}


def test_pickles(assert_refused):
    assert_refused(named(pickles_that_stand_for_much(), ".pdparams"))


def test_safetensors(assert_refused):
    pytest.importorskip("safetensors")
    assert_refused(named(safetensors_that_stand_for_much(), ".safetensors"))


def test_files_of_pytorch(assert_refused, tmp_path):
    torch = pytest.importorskip("torch")

    def saved(state, zipped=True):
        torch.save(state, tmp_path / "saved", _use_new_zipfile_serialization=zipped)
        return (tmp_path / "saved").read_bytes()

    one, many = torch.ones(1), torch.arange(100_000.0)
    expanded = {f"w{i}": one.expand(200_000_000) for i in range(40)}
    overlapping = {"w": many.as_strided((1000, 90_000), (1, 1))}
    damaged = saved({"w": many})
    place = damaged.index(struct.pack("<2f", 100, 101))
    assert_refused(
        named(
            {
                "expanded": saved(expanded),
                "expanded before 1.6": saved(expanded, False),
                "overlapping": saved(overlapping),
                "one many times": saved({f"w{i}": many for i in range(1000)}),
                "compressed": compressed(saved({"w": torch.zeros(10**7)})),
                "many members": b"PK\x03\x04" + (b"PK\x01\x02" + bytes(42)) * 200_000,
                "more behind it": saved({"w": many}, False) + b"1",
                "another value": damaged[:place] + b"1234" + damaged[place + 4 :],
            },
            ".pth",
        )
    )


def test_a_long_place_in_the_memo_takes_no_memory(tmp_path):
    """Python's reader makes a table that is as long."""
    file = tmp_path / "a.pdparams"
    for place in (2**28, 2**32 - 1):
        file.write_bytes(b"\x80\x02}r" + struct.pack("<I", place) + b".")
        assert load(file) == {}


def test_what_real_checkpoints_share_is_read(tmp_path):
    array = np.arange(10.0)
    state = {
        "tied": array,
        "to": array,
        "list": [(0.9, 0.99)] * 3,
        "nested": {"step": {"m": array.T}},
    }
    (tmp_path / "a.pdopt").write_bytes(pickle.dumps(state, 2))
    loaded, theirs = load(tmp_path / "a.pdopt"), paddle.load(str(tmp_path / "a.pdopt"))
    assert str(loaded) == str(theirs)


def test_tensors_of_pytorch_are_read_as_pytorch_reads_them(tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(2, 3, 4)
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = "has a state"
    state = {
        "transposed": base.transpose(0, 2),
        "part": base[1, :, 1:3],
        "tied": base,
        "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 1000),
        "number": torch.tensor(3),
        "nothing": torch.zeros(0, 3),
        "half": base.half(),
        "bfloat16": base.bfloat16(),
        "double": base.double(),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        "parameter": parameter,
    }
    beside = {
        "epoch": 3,
        "best": np.float64(0.5),
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "size": base.shape,
        "schedule": torch.optim.lr_scheduler.MultiStepLR(
            torch.optim.SGD([parameter], 0.1), [3, 5]
        ).state_dict(),
    }
    for how in ({}, {"pickle_protocol": 4}, {"_use_new_zipfile_serialization": False}):
        torch.save({**beside, "state_dict": state}, tmp_path / "a.pth", **how)
        loaded = read_weights(tmp_path / "a.pth")
        assert list(loaded) == list(state)
        for name, tensor in state.items():
            np.testing.assert_array_equal(loaded[name], tensor.detach().float().numpy())
