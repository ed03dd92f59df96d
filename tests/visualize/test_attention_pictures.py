"""What the attention pictures show, against NumPy, and that they are drawn."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import paddle
import pytest

from paddleclas_eca import create_model
from paddleclas_eca.attention import ATTENTIONS
from paddleclas_eca.errors import UserError
from paddleclas_eca.visualize.attention import (
    MOST_CLASSES,
    HeatMap,
    channel_weights_figure,
    heat_maps_figure,
    write_channel_weights,
)
from paddleclas_eca.visualize.attention_maps import (
    ClassMeans,
    GradCAM,
    attention_layers,
    select_layers,
)
from paddleclas_eca.visualize.style import save


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
    paddle.seed(1)  # there is heat for the classes: of some networks it is 0 everywhere
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


def test_a_finer_layer_is_known_where_the_last_one_is_coarse():
    network = create_model("ECA_ResNet18", class_num=2)
    network.eval()
    cam = GradCAM(network, [])
    assert cam(images(1, 64)).heat.shape == (1, 2, 2)
    assert GradCAM(network, [], cam.finer_layer)(images(1, 64)).heat.shape == (1, 4, 4)
    cam = GradCAM(network, [])
    assert cam(images(1, 128)).heat.shape == (1, 4, 4) and cam.finer_layer is None


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


def random_means(classes: int) -> tuple[dict, dict]:
    random = np.random.default_rng(0)
    counts = {f"class {i}": 1 + i for i in range(classes)}
    sizes = {"blocks.1.attention": 8, "blocks.3.attention": 16}
    means = {layer: {c: random.random(size) for c in counts} for layer, size in sizes.items()}
    return means, counts


def test_channel_weights_are_sorted_by_how_much_they_differ(tmp_path):
    means, counts = random_means(3)
    means["blocks.3.attention"]["class 1"][5] = 9.0
    figure = channel_weights_figure(means, counts, "class (images)")
    maps = [panel for panel in figure.axes if panel.get_images()]
    for panel, (layer, of) in zip(maps, means.items()):
        weights = np.stack(list(of.values()))
        differences = weights - weights.mean(axis=0)
        order = np.argsort(-weights.std(axis=0))
        np.testing.assert_allclose(panel.get_images()[0].get_array(), differences[:, order])
        assert panel.get_title("left").startswith(f"{layer}: {len(order)} channels")
        labels = [label.get_text() for label in panel.get_yticklabels()]
        assert labels == [f"{name} ({count})" for name, count in counts.items()]
    # The mean spread of each layer beside it.
    bars = [panel.containers[0][0].get_width() for panel in figure.axes if panel.containers]
    assert len(bars) == len(means)
    for bar, of in zip(bars, means.values()):
        assert bar == pytest.approx(np.std(list(of.values()), axis=0).mean())
    # Both layers have one scale.
    assert maps[0].get_images()[0].get_clim() == maps[1].get_images()[0].get_clim()
    assert [file.suffix for file in save(figure, tmp_path / "weights")] == [".png", ".svg"]


def test_channel_weights_of_one_class_are_compared_with_a_half():
    means, counts = random_means(1)
    figure = channel_weights_figure(means, counts, "class (images)")
    drawn = np.asarray(figure.axes[0].get_images()[0].get_array())[0]
    weights = means["blocks.1.attention"]["class 0"]
    np.testing.assert_allclose(sorted(drawn), sorted(weights - 0.5))
    assert (np.diff(np.abs(drawn)) <= 0).all()


def test_channel_weights_of_many_classes():
    means, counts = random_means(300)
    image = channel_weights_figure(means, counts, "class").axes[0].get_images()[0]
    assert image.get_array().shape == (MOST_CLASSES, 8)
    # Those with the most images are drawn. A user can ask for all, and the labels have room.
    labels = channel_weights_figure(means, counts, "class").axes[0].get_yticklabels()
    assert labels[0].get_text() == f"class {300 - MOST_CLASSES} ({301 - MOST_CLASSES})"
    figure = channel_weights_figure(means, counts, "class", list(counts))
    panel = figure.axes[0]
    assert panel.get_images()[0].get_array().shape == (300, 8)
    assert len(panel.get_yticks()) <= 30 and figure.get_figheight() < 15


def test_table_of_weights(tmp_path):
    means, counts = random_means(12)
    write_channel_weights(means, counts, tmp_path / "weights.csv")
    with open(tmp_path / "weights.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 * (8 + 16)
    for row in rows[:: len(rows) // 20]:
        expected = means[row["layer"]][row["class"]][int(row["channel"])]
        assert float(row["weight"]) == pytest.approx(expected, abs=1e-6)
        assert int(row["images"]) == counts[row["class"]]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_heat_lies_over_its_image(count, tmp_path):
    image = np.random.default_rng(0).random((20, 30, 3))
    hot = np.zeros((4, 6))
    hot[0, 0] = 3
    maps = [HeatMap(image, hot, f"cat {i}") for i in range(count)]
    figure = heat_maps_figure(maps)
    drawn = {panel.get_title(): panel for panel in figure.axes if panel.get_images()}
    assert set(drawn) == {m.title for m in maps} | {""}
    above = drawn["cat 0"].get_images()[0].get_array()
    np.testing.assert_allclose(above, image)
    columns = {1: 1, 2: 2, 7: 4}[count]
    below = np.asarray(figure.axes[columns].get_images()[0].get_array())
    assert below.shape == image.shape
    grey = np.ptp(below, axis=2) < 1e-6
    # Coloured where it is hot; the rest of the image shows as it is, without colour.
    assert not grey[:3, :3].any() and grey[10:].all() and grey[:, 12:].all()
    np.testing.assert_allclose(below[10:, :, 0], image[10:] @ [0.299, 0.587, 0.114])
    (file,) = save(figure, tmp_path / "heat.png")
    assert cv2.imread(str(file)).shape[0] > 300
    # A scale, and nothing where a grid has no map.
    assert len([panel for panel in figure.axes if panel.get_images()]) == 2 * count
    words = [text.get_text() for panel in figure.axes for text in panel.texts]
    assert any("0" in word for word in words) and any("maximum" in word for word in words)


def test_a_map_without_heat_shows_the_image():
    image = np.full((8, 8, 3), 0.5)
    figure = heat_maps_figure([HeatMap(image, np.zeros((2, 2)), "dog 0.1")])
    np.testing.assert_allclose(figure.axes[1].get_images()[0].get_array(), image)


def test_right_and_wrong_predictions_differ_in_colour_and_mark():
    image, heat = np.zeros((8, 8, 3)), np.ones((2, 2))
    maps = [
        HeatMap(image, heat, "cat 0.9", True),
        HeatMap(image, heat, "dog 0.8\n(is cat)", False),
        HeatMap(image, heat, "cat 0.9", None),
    ]
    titles = [panel.title for panel in heat_maps_figure(maps).axes[:3]]
    assert len({title.get_color() for title in titles}) == 3
    assert len({title.get_text()[0] for title in titles}) == 3
    assert titles[1].get_text().endswith("dog 0.8\n(is cat)")
