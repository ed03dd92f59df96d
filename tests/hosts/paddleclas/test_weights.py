"""Weights in PaddleClas: loaded with a report, and without running what a file may hold."""

from __future__ import annotations

import functools
import http.server
import os
import pickle
import re
import threading

import numpy as np
import paddle
import pytest
from hostile import Call

from paddleclas_eca.errors import UserError


@pytest.fixture
def saved(tiny, tmp_path):
    """The weights of a TinyNet in net.pdparams."""
    state = tiny.tiny_net().state_dict()
    paddle.save(state, str(tmp_path / "net.pdparams"))
    return state


@pytest.fixture
def url(monkeypatch, tmp_path, ppcls, saved):
    """Address of net.pdparams on a local server; downloads stay in the test's directory."""
    cache = str(tmp_path / "cache")
    monkeypatch.setattr("paddle.utils.download.WEIGHTS_HOME", cache)
    monkeypatch.setattr(ppcls.module("utils.download"), "WEIGHTS_HOME", cache)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/net.pdparams"
        server.shutdown()


@pytest.mark.parametrize("mode", ["eval", "export"])
def test_paddleclas_takes_weights_from_an_address(make_engine, url, mode, log):
    engine = make_engine({"Global.pretrained_model": url}, mode=mode)
    getattr(engine, mode)()
    # The address, or the downloaded file where PaddleClas itself downloads.
    assert any(re.fullmatch(r"weights .*/net.*: 8 of 8 tensors loaded", line) for line in log)


@pytest.mark.parametrize("suffix", ["", ".pdparams"])
def test_paddleclas_takes_weights_with_or_without_suffix(make_engine, saved, tmp_path, suffix):
    engine = make_engine({"Global.pretrained_model": str(tmp_path / f"net{suffix}")}, mode="eval")
    np.testing.assert_array_equal(engine.model.fc.weight.numpy(), saved["fc.weight"].numpy())


@pytest.mark.parametrize("key", ["pretrained_model", "checkpoints"])
def test_training_runs_nothing_from_weights(tmp_path, ppcls, tiny, key):
    mark = tmp_path / "mark"
    for ending in (".pdparams", ".pdopt", ".pdstates"):
        state = {**tiny.tiny_net().state_dict()} if ending == ".pdparams" else {}
        arrays = {name: tensor.numpy() for name, tensor in state.items()}
        if (key, ending) != ("checkpoints", ".pdparams"):  # has a check of its own
            arrays["x"] = Call(os.system, f"touch {mark}")
        (tmp_path / f"net{ending}").write_bytes(pickle.dumps(arrays, 4))
    net = tiny.tiny_net()
    optimizer = paddle.optimizer.Momentum(parameters=net.parameters())
    try:
        save_load, path = ppcls.module("utils.save_load"), str(tmp_path / "net")
        if key == "pretrained_model":
            save_load.load_dygraph_pretrain(net, path)
        else:
            save_load.init_model({key: path}, net, [optimizer], paddle.nn.Layer())
    except UserError as error:
        assert "refers to posix.system" in str(error)
    except Exception:
        pass  # what it does after it has run the program does not matter
    assert not mark.exists()
