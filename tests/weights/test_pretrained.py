"""Loading weights reports what fits, and refuses what does not fit at all."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path

import numpy as np
import paddle
import pytest

from paddleclas_eca import create_model
from paddleclas_eca.errors import UserError
from paddleclas_eca.weights.pretrained import load_weights
from paddleclas_eca.weights.report import LoadReport


class Net(paddle.nn.Layer):
    def __init__(self, class_num=10):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 4, 3)
        self.bn = paddle.nn.BatchNorm2D(4)
        self.fc = paddle.nn.Linear(4, class_num)


@pytest.fixture
def net():
    return Net()


@pytest.fixture
def saved(tmp_path):
    """Save the weights of another Net, changed, and return the file and the weights."""

    def save(change=lambda state: state, **settings):
        state = change(dict(Net(**settings).state_dict()))
        paddle.save(state, str(tmp_path / "net.pdparams"))
        return str(tmp_path / "net.pdparams"), state

    return save


def _without(*names):
    return lambda state: {name: value for name, value in state.items() if name not in names}


@pytest.mark.parametrize("ending", ["", ".pdparams"])
def test_all_fits(net, saved, ending):
    path, state = saved()
    report = load_weights(net, path[: -len(".pdparams")] + ending)
    assert report.complete and len(report.matched) == 8
    for name, tensor in net.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), state[name].numpy())


def test_what_does_not_fit_keeps_its_value(net, saved):
    before = net.fc.weight.numpy().copy()
    path, state = saved(class_num=3)
    report = load_weights(net, path)
    assert not report.complete
    assert report.reshaped == [("fc.weight", [4, 3], [4, 10]), ("fc.bias", [3], [10])]
    np.testing.assert_array_equal(net.fc.weight.numpy(), before)
    np.testing.assert_array_equal(net.conv.weight.numpy(), state["conv.weight"].numpy())


def test_missing_and_unexpected_names(net, saved):
    def change(state):
        return {**_without("fc.weight", "fc.bias")(state), "head.weight": state["fc.weight"]}

    report = load_weights(net, saved(change)[0])
    assert report.missing == ["fc.weight", "fc.bias"] and report.unexpected == ["head.weight"]
    for part in ("6 of 8", "2 not in the file", "fc.weight, fc.bias", "1 not in the model"):
        assert part in str(report)


def test_long_lists_are_cut_short():
    report = LoadReport(unexpected=[f"layer{i}" for i in range(10)])
    assert "layer3 and 6 more" in str(report)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, r"no weights at .*net\.pdparams"),
        (b"no weights", r"net\.pdparams cannot be read"),
        ({}, r"net\.pdparams is not the state dict"),
        ({"epoch": 3}, r"net\.pdparams is not the state dict"),
        ({"other": paddle.ones([2])}, r"nothing in the weights .*net\.pdparams fits"),
    ],
)
def test_files_that_are_no_weights_of_the_model(net, tmp_path, content, expected):
    file = tmp_path / "net.pdparams"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        paddle.save(content, str(file))
    with pytest.raises(UserError, match=expected):
        load_weights(net, str(file))


@pytest.fixture
def server(tmp_path):
    """Address of a server on this machine for the files in ``tmp_path``."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Downloads are kept in a directory of the test."""
    monkeypatch.setattr("paddle.utils.download.WEIGHTS_HOME", str(tmp_path / "cache"))


def test_weights_from_an_address(net, saved, server, cache):
    _, state = saved()
    assert load_weights(net, f"{server}/net.pdparams").complete
    np.testing.assert_array_equal(net.fc.weight.numpy(), state["fc.weight"].numpy())


def test_an_address_that_does_not_answer(net, server, cache, monkeypatch):
    monkeypatch.setattr("paddle.utils.download.DOWNLOAD_RETRY_LIMIT", 1)
    with pytest.raises(UserError, match=r"weights http.*none\.pdparams cannot be downloaded"):
        load_weights(net, f"{server}/none.pdparams")


def test_values_that_are_no_tensors_are_left_out(net, saved):
    report = load_weights(net, saved(lambda state: {**state, "fc.weight": 3})[0])
    assert report.missing == ["fc.weight"] and not report.unexpected


@pytest.mark.parametrize("suffix", ["", ".pdparams"])
def test_create_model_starts_from_a_file(tmp_path, caplog, suffix):
    name, path = "ECA_MobileNetV2_x0_25", str(tmp_path / "weights")
    model = create_model(name, class_num=5)
    paddle.save(model.state_dict(), path + ".pdparams")
    other = create_model(name, class_num=5, pretrained=path + suffix)
    for key, tensor in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[key].numpy(), tensor.numpy())
    assert not caplog.messages
    other = create_model(name, class_num=7, pretrained=Path(path + suffix))
    key = "blocks.7.attention.conv.weight"
    np.testing.assert_array_equal(other.state_dict()[key].numpy(), model.state_dict()[key].numpy())
    assert "fc.weight [1280, 5] -> [1280, 7]" in caplog.text


@pytest.mark.parametrize(
    ("pretrained", "named"),
    [(True, "convert"), (3, "3"), ("nowhere/weights", r"nowhere/weights\.pdparams")],
)
def test_wrong_pretrained_options_are_named(pretrained, named):
    with pytest.raises(UserError, match=named):
        create_model("ECA_MobileNetV2_x0_25", pretrained=pretrained)
