"""Weight files of every kind are read for what they hold, and run nothing."""

from __future__ import annotations

import collections
import os
import pickle
import re
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from hostile import Call

from paddleclas_eca.errors import UserError
from paddleclas_eca.files import write_files
from paddleclas_eca.weights.files import WRITERS, check_free, read_weights

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

STATE = {
    "conv1.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "bn1.num_batches_tracked": np.array(5, np.int64),
}


def tensors(state=STATE):
    return {name: torch.from_numpy(array) for name, array in state.items()}


def assert_read(path, expected=STATE):
    state = read_weights(path)
    assert set(state) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(state[name], array)
        assert state[name].dtype == np.float32


def optimizer_state():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], 0.1, momentum=0.9)
    weight.sum().backward()
    optimizer.step()
    return optimizer.state_dict()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
@pytest.mark.parametrize("container", [None, "state_dict", "model"])
def test_checkpoints_of_pytorch(tmp_path, zipped, prefix, container):
    state = collections.OrderedDict((prefix + name, t) for name, t in tensors().items())
    if container:
        state = {
            "epoch": 3,
            "arch": "eca_resnet50",
            container: state,
            "best_prec1": torch.tensor(77.4),
            "optimizer": optimizer_state(),
        }
    # The authors' files are older than PyTorch's zip archives.
    torch.save(state, tmp_path / "net.pth.tar", _use_new_zipfile_serialization=zipped)
    assert_read(tmp_path / "net.pth.tar")


def test_parameters_of_a_model(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    torch.save(net.state_dict(), tmp_path / "net.pth")
    assert_read(tmp_path / "net.pth", {n: t.numpy() for n, t in net.state_dict().items()})


def test_safetensors_by_content_not_by_name(tmp_path):
    safetensors_torch.save_file(tensors(), tmp_path / "net.bin", metadata={"format": "pt"})
    assert_read(tmp_path / "net.bin")


def test_safetensors_that_begin_like_a_pickle(tmp_path):
    # One header in 32 has such a length.
    for length in range(32):
        file = tmp_path / f"{length}.safetensors"
        safetensors_torch.save_file(tensors(), file, metadata={"format": "pt" + 8 * length * " "})
        if file.read_bytes()[0] == 0x80:
            break
    assert file.read_bytes()[0] == 0x80
    assert_read(file)


@pytest.mark.parametrize("protocol", [2, 4])
def test_paddle(tmp_path, protocol):
    state = {name: paddle.to_tensor(array) for name, array in STATE.items()}
    paddle.save(state, str(tmp_path / "net.pdparams"), protocol=protocol)
    assert_read(tmp_path / "net.pdparams")


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_other_precisions_become_single(tmp_path, kind):
    values = np.array([0.5, -2, 96], np.float32)
    tensor = torch.from_numpy(values).to(getattr(torch, kind))
    torch.save({"w": tensor}, tmp_path / "net.pth")
    safetensors_torch.save_file({"w": tensor}, tmp_path / "net.safetensors")
    state = {"w": paddle.to_tensor(values).astype(kind)}
    paddle.save(state, str(tmp_path / "net.pdparams"))
    for ending in WRITERS:
        assert_read(tmp_path / f"net{ending}", {"w": values})


class Net(torch.nn.Module):
    """A whole network in a file: its class would have to be imported."""


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["system", "eval", "open"])
def test_pytorch_files_that_run_programs_are_refused(tmp_path, zipped, name):
    mark, file = tmp_path / "mark", tmp_path / "net.pth"
    hostile = {
        "system": Call(os.system, f"touch {mark}"),
        "eval": Call(eval, f"open({str(mark)!r}, 'w')"),
        "open": Call(open, str(mark), "w"),
    }[name]
    state = {"state_dict": tensors(), "args": hostile}
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=rf"refers to (\w+\.)?{name}, .* refused") as caught:
        read_weights(file)
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    # The file is what it claims to be: PyTorch would have run it.
    torch.load(file, weights_only=False)
    assert mark.exists()


def test_paddle_files_that_run_programs_are_refused(tmp_path):
    mark, file = tmp_path / "mark", tmp_path / "net.pdparams"
    file.write_bytes(pickle.dumps({**STATE, "x": Call(os.system, f"touch {mark}")}))
    with pytest.raises(UserError, match="refers to posix.system"):
        read_weights(file)
    assert not mark.exists()


def test_whole_networks_are_refused(tmp_path):
    torch.save(Net(), tmp_path / "net.pth")
    with pytest.raises(UserError, match="refers to .*Net, .* save its state_dict"):
        read_weights(tmp_path / "net.pth")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>quota exceeded", "seems to be a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "begins with b'version https:"),
        (b"\x7fELF" + bytes(100), "not a weight file"),
        (b"PK\x03\x04 no archive", "cannot be read as weights of PyTorch"),
        (b"\x80\x04\x95", "cannot be read as Paddle weights"),
        (b"\x02" + bytes(7) + b"{}" + b" " * 10, "cannot be read as safetensors|no weights"),
    ],
)
def test_other_files(tmp_path, content, expected):
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(UserError, match=expected) as caught:
        read_weights(tmp_path / "net.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors", "paddle"])
def test_truncated_files(tmp_path, kind):
    file = tmp_path / "net"
    if kind == "paddle":
        file = tmp_path / "net.pdparams"
        paddle.save({n: paddle.to_tensor(a) for n, a in STATE.items()}, str(file))
    elif kind == "safetensors":
        safetensors_torch.save_file(tensors(), file)
    else:
        torch.save(tensors(), file, _use_new_zipfile_serialization=kind == "zip")
    content = file.read_bytes()
    assert_read(file)
    for part in (0.02, 0.3, 0.6, 0.9):
        file.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(UserError, match=str(file)) as caught:
            read_weights(file)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("state", [{}, {"epoch": 3}, [torch.ones(2)], {"state_dict": {}}])
def test_files_without_weights(tmp_path, state):
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(UserError, match="holds no weights by name"):
        read_weights(tmp_path / "net.pth")


def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "nowhere.pth", tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UserError, match=re.escape(str(path))):
            read_weights(path)


def test_without_the_extra_the_message_names_it(tmp_path, monkeypatch):
    torch.save(tensors(), tmp_path / "net.pth")
    safetensors_torch.save_file(tensors(), tmp_path / "net.safetensors")
    monkeypatch.setitem(sys.modules, "torch", None)
    for ending in (".pth", ".safetensors"):
        assert_read(tmp_path / f"net{ending}")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(UserError, match=r"pip install '\.\[convert\]'"):
        read_weights(tmp_path / "net.safetensors")
    with pytest.raises(UserError, match=r"needs PyTorch: pip install '\.\[convert\]'"):
        WRITERS[".pth"](STATE, tmp_path / "new.pth")


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (torch.zeros(2, dtype=torch.complex64), "complex64"),
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8), "qtensor"),
    ],
)
def test_tensors_that_are_no_plain_numbers_are_named(tmp_path, tensor, what):
    torch.save({"conv1.weight": torch.ones(2), "fc.weight": tensor}, tmp_path / "net.pth")
    with pytest.raises(UserError, match=rf"net\.pth: fc\.weight is not a tensor .*(?i:{what})"):
        read_weights(tmp_path / "net.pth")


def test_what_a_file_without_weights_has_is_named(tmp_path):
    torch.save({"epoch": 3, "model_ema": {}}, tmp_path / "net.pth")
    with pytest.raises(UserError, match="it has epoch, model_ema"):
        read_weights(tmp_path / "net.pth")


def test_files_in_the_way(tmp_path):
    there, new = tmp_path / "there.txt", tmp_path / "new.txt"
    there.write_text("mine")
    check_free([new], overwrite=False)
    check_free([new, there], overwrite=True)
    with pytest.raises(UserError, match=r"there\.txt .*--overwrite"):
        check_free([new, there], overwrite=False)
    with pytest.raises(UserError, match="is a directory"):
        check_free([new, tmp_path], overwrite=True)


@pytest.mark.parametrize("ending", WRITERS)
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, ending):
    resource = pytest.importorskip("resource")
    path = tmp_path / f"net{ending}"
    state = {"fc.weight": np.ones((100, 100), np.float32)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may become longer than this, as on a disk that is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(UserError) as caught:
            write_files({path: lambda path: WRITERS[ending](state, path)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"net{ending} cannot be written" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", WRITERS)
def test_files_can_be_read_by_whom_the_umask_admits(tmp_path, ending):
    path = tmp_path / f"net{ending}"
    write_files({path: lambda path: WRITERS[ending]({"w": np.ones(3, np.float32)}, path)})
    (tmp_path / "plain").write_text("")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
