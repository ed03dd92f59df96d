"""Reading Paddle's files runs nothing that they may hold, and gives what ``paddle.load`` gives."""

from __future__ import annotations

import collections
import os
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import paddle
import pytest
from hostile import Call

from paddleclas_eca.errors import UserError
from paddleclas_eca.weights.safe_load import arrays_in, load


def load_arrays(file):
    return arrays_in(Path(file).read_bytes(), file)


class Nested:
    """Pickles as a class of another module, found by a dotted name."""

    def __reduce__(self):
        return collections.OrderedDict.fromkeys, ("ab",)


def small_net():
    nn = paddle.nn
    return nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), nn.Flatten(), nn.Linear(784, 2))


def hostile_states(mark):
    """State dicts that create the file ``mark`` when they are unpickled, or would like to."""
    command = f"touch {mark}"
    good = {"fc.weight": np.ones((4, 10), np.float32)}
    return {
        "posix.system": {**good, "x": Call(os.system, command)},
        "builtins.eval": {**good, "x": Call(eval, f"open({str(mark)!r}, 'w')")},
        "builtins.exec": [Call(exec, f"open({str(mark)!r}, 'w')")],
        "builtins.getattr": {"a": {"b": [Call(getattr, np.ndarray, "tofile")]}},
        "collections.OrderedDict.fromkeys": {**good, "x": Nested()},
        "io.open": collections.OrderedDict(x=Call(open, str(mark), "w")),
    }


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", hostile_states(""))
def test_pickles_that_run_programs_are_refused(tmp_path, name, protocol):
    mark, file = tmp_path / "mark", tmp_path / "net.pdparams"
    file.write_bytes(pickle.dumps(hostile_states(mark)[name], protocol))
    for read in (load, load_arrays):
        with pytest.raises(UserError, match=r"net\.pdparams cannot be read.* refers to \w+\.\w+"):
            read(file)
    assert not mark.exists()
    # The file is what it claims to be: an ordinary unpickler would have run it.
    if name in ("posix.system", "builtins.eval", "builtins.exec"):
        pickle.loads(file.read_bytes())
        assert mark.exists()


def numpy_1(content):
    """The pickle as NumPy 1 writes it, which has another name for the module."""
    old, new = b"numpy.core.multiarray", b"numpy._core.multiarray"
    if new not in content:
        return content.replace(old, new)
    return content.replace(new, old)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_state_dicts_read_as_paddle_reads_them(tmp_path, protocol):
    file = str(tmp_path / "net.pdparams")
    state = dict(small_net().state_dict())
    state["half"] = paddle.rand([3]).astype("bfloat16")
    state["count"] = paddle.to_tensor([3, 4])
    state["flag"] = paddle.to_tensor([True, False])
    paddle.save(state, file, protocol=protocol)
    loaded, arrays, theirs = load(file), load_arrays(file), paddle.load(file)
    assert list(loaded) == list(theirs) == [n for n in arrays if not n.endswith("@@")]
    for name, tensor in theirs.items():
        assert loaded[name].dtype == tensor.dtype and loaded[name].name == tensor.name
        np.testing.assert_array_equal(loaded[name].numpy(), tensor.numpy())
        assert type(arrays[name]) is np.ndarray
        assert arrays[name].shape == tuple(tensor.shape)


@pytest.mark.parametrize("protocol", [2, 3])
def test_arrays_of_the_other_numpy(tmp_path, protocol):
    # Protocol 4 counts the characters of names; the older ones do not.
    file = tmp_path / "net.pdparams"
    array = np.arange(6, dtype=">f8").reshape(2, 3).T
    content = pickle.dumps({"a": array, "s": np.float32(2.5)}, protocol)
    assert numpy_1(content) != content
    for variant in (content, numpy_1(content)):
        file.write_bytes(variant)
        loaded = load_arrays(file)
        np.testing.assert_array_equal(loaded["a"], array)
        assert loaded["a"].dtype == pickle.loads(content)["a"].dtype
        assert loaded["s"] == np.float32(2.5)


def test_optimizer_states_and_plain_values(tmp_path):
    file = str(tmp_path / "net.pdopt")
    net = small_net()
    optimizer = paddle.optimizer.Adam(
        paddle.optimizer.lr.CosineAnnealingDecay(0.1, 5), parameters=net.parameters()
    )
    net(paddle.rand([2, 3, 16, 16])).sum().backward()
    optimizer.step()
    paddle.save([optimizer.state_dict()], file)
    (loaded,), (theirs,) = load(file), paddle.load(file)
    assert set(loaded) == set(theirs) and loaded["LR_Scheduler"] == theirs["LR_Scheduler"]
    assert any(isinstance(value, paddle.Tensor) for value in loaded.values())
    metric = {"metric": np.float64(0.5), "epoch": 3, "names": ("a", None, True), "set": {1}}
    paddle.save(metric, file)
    assert load(file) == metric


def test_tensors_that_were_cut_into_parts(tmp_path):
    """As Paddle does from a gibibyte on with protocol 2 and 3."""
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    parts = {"w@@.0": array.ravel()[:7], "w@@.1": array.ravel()[7:]}
    info = {"w": {"OriginShape": (3, 4), "slices": list(parts)}}
    file = tmp_path / "net.pdparams"
    state = {**parts, "UnpackBigParamInfor@@": info, "b": array}
    file.write_bytes(pickle.dumps(state, protocol=2))
    arrays, loaded = load_arrays(file), paddle.load(str(file))
    assert set(arrays) == {"w", "b"} == set(loaded)
    np.testing.assert_array_equal(arrays["w"], array)


def test_types_that_are_no_plain_numbers(tmp_path):
    """NumPy itself would take the bytes of such an array for addresses."""
    objects = np.array([0], dtype=object)
    flagged = pickle.dumps(np.zeros(1, "f8"), protocol=2).replace(
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t", b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ft"
    )
    assert flagged != pickle.dumps(np.zeros(1, "f8"), protocol=2)
    fields = np.zeros(1, [("a", "f4")])
    for content in (pickle.dumps(objects), flagged, pickle.dumps(fields)):
        (tmp_path / "net.pdparams").write_bytes(content)
        with pytest.raises(UserError, match="array of"):
            load_arrays(tmp_path / "net.pdparams")


@pytest.mark.parametrize("content", [b"", b"weights", b"\x80\x04", struct.pack("<Q", 8) + b"{}"])
def test_other_files(tmp_path, content):
    (tmp_path / "net.pdparams").write_bytes(content)
    with pytest.raises(UserError, match=r"net\.pdparams cannot be read as Paddle weights: \S"):
        load_arrays(tmp_path / "net.pdparams")


def test_truncated_files(tmp_path):
    file = tmp_path / "net.pdparams"
    paddle.save(small_net().state_dict(), str(file))
    content = file.read_bytes()
    for length in range(0, len(content), 301):
        file.write_bytes(content[:length])
        with pytest.raises(UserError, match="cannot be read"):
            load_arrays(file)


def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "nowhere", tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(UserError, match=re.escape(f"{path} cannot be read")):
            load(path)


def array_pickle(shape: bytes, code: bytes, state: bytes = b"") -> bytes:
    """A pickle of ``_reconstruct(ndarray, shape, code)``, spelled in opcodes."""
    return (
        b"\x80\x02}X\x01\x00\x00\x00wcnumpy._core.multiarray\n_reconstruct\n"
        b"cnumpy\nndarray\n" + shape + code + b"\x87R" + state + b"s."
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        # NumPy would allocate these without a byte of them in the file.
        (array_pickle(b"J\x00\x00\x00\x20\x85", b"U\x02f4"), "not empty in an unknown way"),
        (array_pickle(b"K\x40\x85", b"U\x01b"), "not empty in an unknown way"),
        (array_pickle(b"K\x00\x85", b"U\x01O"), "in an unknown way"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aU\x03hex\x86R.", "encoding 'hex'"),
        (b"\x80\x02}2.", "opcode DUP"),
    ],
)  # fmt: skip
def test_short_files_that_stand_for_much_or_for_nothing(tmp_path, content, expected):
    (tmp_path / "net.pdparams").write_bytes(content)
    for read in (load, load_arrays):
        with pytest.raises(UserError, match=expected) as caught:
            read(tmp_path / "net.pdparams")
        assert "\n" not in str(caught.value)
