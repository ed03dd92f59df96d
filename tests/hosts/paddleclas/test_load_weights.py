"""Loading weights says what fitted, and refuses what does not fit at all."""

from __future__ import annotations

import functools
import http.server
import re
import threading

import numpy as np
import paddle
import pytest

from paddleclas_eca.errors import UserError
from paddleclas_eca.hosts.paddleclas.compat.weights import LoadReport, load_weights


@pytest.fixture
def net(tiny):
    return tiny.tiny_net()


@pytest.fixture
def saved(tiny, tmp_path):
    """Save the weights of another TinyNet, changed, and return the file and the weights."""

    def save(change=lambda state: state, **settings):
        state = change(dict(tiny.tiny_net(**settings).state_dict()))
        paddle.save(state, str(tmp_path / "net.pdparams"))
        return str(tmp_path / "net.pdparams"), state

    return save


def _without(*names):
    return lambda state: {name: value for name, value in state.items() if name not in names}


@pytest.mark.parametrize("ending", ["", ".pdparams"])
def test_all_fits(net, saved, ending):
    path, state = saved()
    report = load_weights(net, path[: -len(".pdparams")] + ending)
    assert report.complete and str(report) == "8 of 8 tensors loaded"
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
    assert str(report) == (
        "6 of 8 tensors loaded; 2 not in the file, left as initialised: fc.weight, fc.bias; "
        "1 not in the model: head.weight"
    )


def test_long_lists_are_cut_short():
    report = LoadReport(unexpected=[f"layer{i}" for i in range(10)])
    assert str(report).endswith("layer0, layer1, layer2, layer3 and 6 more")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no weights at .*net.pdparams: check the path"),
        (b"no weights", "cannot be read as Paddle weights"),
        ({}, "holds no state dict"),
        ({"epoch": 3}, "holds no state dict"),
        ({"other": paddle.ones([2])}, "nothing in the weights .* fits .* check Arch.name"),
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
def cache(monkeypatch, tmp_path, ppcls):
    """Downloads are kept in a folder of the test."""
    cache = str(tmp_path / "cache")
    monkeypatch.setattr("paddle.utils.download.WEIGHTS_HOME", cache)
    monkeypatch.setattr(ppcls.module("utils.download"), "WEIGHTS_HOME", cache)


def test_weights_from_an_address(net, saved, server, cache):
    _, state = saved()
    assert load_weights(net, f"{server}/net.pdparams").complete
    np.testing.assert_array_equal(net.fc.weight.numpy(), state["fc.weight"].numpy())


def test_an_address_that_does_not_answer(net, server, cache, monkeypatch):
    monkeypatch.setattr("paddle.utils.download.DOWNLOAD_RETRY_LIMIT", 1)
    with pytest.raises(UserError, match=r"weights http.*none\.pdparams cannot be downloaded"):
        load_weights(net, f"{server}/none.pdparams")


@pytest.mark.parametrize("mode", ["eval", "export"])
def test_paddleclas_takes_weights_from_an_address(make_engine, saved, server, cache, mode, log):
    saved()
    url = f"{server}/net.pdparams"
    engine = make_engine({"Global.pretrained_model": url}, mode=mode)
    getattr(engine, mode)()
    # The address, or the downloaded file where PaddleClas itself downloads.
    assert any(re.fullmatch(r"weights .*/net.*: 8 of 8 tensors loaded", line) for line in log)


@pytest.mark.parametrize("ending", ["", ".pdparams"])
def test_paddleclas_takes_weights_with_or_without_ending(make_engine, saved, ending):
    path, state = saved()
    path = path[: -len(".pdparams")] + ending
    engine = make_engine({"Global.pretrained_model": path}, mode="eval")
    np.testing.assert_array_equal(engine.model.fc.weight.numpy(), state["fc.weight"].numpy())
