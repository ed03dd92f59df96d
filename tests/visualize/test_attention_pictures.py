"""What the attention pictures show, against NumPy, and that they are drawn."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import paddle
import pytest

from paddleclas_eca import create_model
from paddleclas_eca.attention import ATTENTIONS
from paddleclas_eca.errors import UserError
from paddleclas_eca.visualize.attention import (
    HeatMap,
    draw_channel_weights,
    draw_heat_maps,
    write_channel_weights,
)
from paddleclas_eca.visualize.attention_maps import (
    ClassMeans,
    GradCAM,
    attention_layers,
    select_layers,
)


def images(count: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 3, size, size)).astype("float32")


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def seen_by(network, layer: str, x: np.ndarray) -> np.ndarray:
    """What a layer of a network is given for images x."""
    given = []
    sublayer = dict(network.named_sublayers())[layer]
    hook = sublayer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].numpy()))
    network(paddle.to_tensor(x))
    hook.remove()
    return given[0]


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", ["ECA_ResNet18", "ECA_MobileNetV2_x0_25"])
def test_weights_and_heat_are_those_of_numpy(name, data_format):
    network = create_model(name, class_num=5, data_format=data_format)
    network.eval()
    layers = select_layers(attention_layers(network), [])
    x = images(3)
    seen = GradCAM(network, layers)(x)

    axes = (2, 3) if data_format == "NCHW" else (1, 2)
    for layer in (layers[0], layers[-1]):
        means = seen_by(network, layer, x).astype("float64").mean(axis=axes)
        kernel = dict(network.named_sublayers())[layer].conv.weight.numpy().ravel()
        mixed = [np.correlate(row, kernel, mode="same") for row in means]
        np.testing.assert_allclose(seen.weights[layer], sigmoid(np.array(mixed)), atol=1e-5)

    # Zhou et al.'s CAM: the weights of the classifier on the last feature map.
    logits = network(paddle.to_tensor(x)).numpy().astype("float64")
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(seen.scores, exp / exp.sum(axis=1, keepdims=True), atol=1e-5)
    features = seen_by(network, "avg_pool", x).astype("float64")
    if data_format == "NHWC":
        features = features.transpose(0, 3, 1, 2)
    factors = network.fc.weight.numpy().astype("float64")[:, logits.argmax(axis=1)].T
    cam = np.maximum(np.einsum("nchw,nc->nhw", features, factors), 0)
    assert cam.shape[1:] == (2, 2) and cam.max() > 0
    np.testing.assert_allclose(seen.heat * 4, cam, rtol=1e-3, atol=1e-5 * cam.max())


def test_heat_of_a_chosen_class_is_another():
    network = create_model("ECA_ResNet18", class_num=3)
    network.eval()
    cam = GradCAM(network, [])
    x = images(2)
    heat = [cam(x, number).heat for number in range(3)]
    predicted = network(paddle.to_tensor(x)).numpy().argmax(axis=1)
    for i, number in enumerate(predicted):
        np.testing.assert_array_equal(cam(x).heat[i], heat[number][i])
    assert not np.allclose(heat[0], heat[1])
    with pytest.raises(UserError, match="class 3: the classes are 0 to 2"):
        cam(x, 3)


@pytest.mark.parametrize("attention", [name for name in ATTENTIONS if name != "none"])
def test_every_attention_gives_its_weights(attention):
    network = create_model("ECA_ResNet18", class_num=2, attention=attention)
    network.eval()
    layers = attention_layers(network)
    assert list(layers) == [f"blocks.{i}.attention" for i in range(8)]
    x = images(2, 32)
    seen = GradCAM(network, list(layers))(x)
    name = "blocks.7.attention"
    given = seen_by(network, name, x)
    output = layers[name](paddle.to_tensor(given)).numpy()
    scaled = given * seen.weights[name][:, :, None, None]
    np.testing.assert_allclose(output, scaled, rtol=1e-4, atol=1e-6)


def test_layers_that_are_drawn():
    network = create_model("ECA_MobileNetV2", class_num=2)
    layers = attention_layers(network)
    assert len(layers) == 17
    last = [f"blocks.{i}.attention" for i in (0, 2, 5, 9, 12, 15, 16)]
    assert select_layers(layers, []) == last
    assert select_layers(layers, ["**"]) == list(layers)
    chosen = ["blocks[3].attention", "blocks.?.attention"]
    assert select_layers(layers, chosen) == list(layers)[:10]
    with pytest.raises(UserError, match="no attention layer is named blocks.17.attention"):
        select_layers(layers, ["blocks.17.attention"])


def test_networks_and_layers_that_do_not_serve():
    plain = create_model("ECA_ResNet18", class_num=2, attention="none")
    with pytest.raises(UserError, match="no channel attention"):
        attention_layers(plain)
    with pytest.raises(UserError, match="target layer block: the network has no layer"):
        GradCAM(plain, [], "block")
    with pytest.raises(UserError, match="target layer fc: its output is no feature map"):
        GradCAM(plain, [], "fc")(images(1, 32))


def test_means_are_those_of_each_class():
    weights = np.random.default_rng(0).random((7, 4)).astype("float32")
    classes = ["b", "a", "b", "b", "a", "c", "b"]
    means = ClassMeans()
    for part in (slice(0, 2), slice(2, 7)):
        means.add({"layer": weights[part]}, classes[part])
    assert means.counts == {"b": 4, "a": 2, "c": 1}
    for name, mean in means.means()["layer"].items():
        chosen = [c == name for c in classes]
        np.testing.assert_allclose(mean, weights[chosen].astype("float64").mean(axis=0))


def texts(svg) -> list[str]:
    """The words of an SVG picture."""
    root = ElementTree.parse(svg).getroot()
    return ["".join(x.itertext()).strip() for x in root.iter("{http://www.w3.org/2000/svg}text")]


def test_picture_and_table_of_weights(tmp_path):
    random = np.random.default_rng(0)
    counts = {f"class {i}": 1 + i for i in range(12)}
    means = {
        layer: {name: random.random(size) for name in counts}
        for layer, size in (("blocks.1.attention", 8), ("blocks.3.attention", 16))
    }
    files = draw_channel_weights(means, counts, "class (images)", tmp_path / "weights")
    assert [file.name for file in files] == ["weights.png", "weights.svg"]
    assert cv2.imread(str(files[0])).shape[1] == 1200
    words = texts(files[1])
    assert {"blocks.1.attention, 8 channels", "blocks.3.attention, 16 channels"} <= set(words)
    assert {"weight", "channel", "class (images)"} <= set(words)
    # Of many classes, the ten with the most images.
    named = [word for word in words if word.startswith("class ") and word != "class (images)"]
    assert sorted(named) == sorted(f"class {i} ({1 + i})" for i in range(2, 12))

    write_channel_weights(means, counts, tmp_path / "weights.csv")
    with open(tmp_path / "weights.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 * (8 + 16)
    for row in rows[:: len(rows) // 20]:
        expected = means[row["layer"]][row["class"]][int(row["channel"])]
        assert float(row["weight"]) == pytest.approx(expected, abs=1e-6)
        assert int(row["images"]) == counts[row["class"]]


def test_picture_of_heat_maps(tmp_path):
    black = np.zeros((20, 30, 3))
    hot = np.zeros((4, 6))
    hot[0, 0] = 3
    maps = [HeatMap(black, hot, "cat 0.90"), HeatMap(black, np.zeros((4, 6)), "dog 0.10")]
    files = draw_heat_maps(maps, tmp_path / "heat")
    picture = cv2.imread(str(files[0]))
    assert {"cat 0.90", "dog 0.10"} <= set(texts(files[1]))
    assert files[1].read_text().count("<image") == 4  # the lower two as one each
    # The only bright place over the black images: left and up in the first heat map.
    coloured = np.ptp(picture, axis=2) > 60
    bright = np.argwhere(coloured & (picture.max(axis=2) > 130))
    assert len(bright)
    assert (bright[:, 1] < picture.shape[1] / 4).all()
