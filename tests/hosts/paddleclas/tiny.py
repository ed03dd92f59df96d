"""A network that trains in a second, and a script that runs PaddleClas's Engine on it.

As a script: ``python tiny.py MODE CONFIG [PATCH ...]`` runs without the PATCHes.
"""

from __future__ import annotations

import sys

from paddleclas_eca.hosts.paddleclas import session as host
from paddleclas_eca.hosts.paddleclas.registry import register_models


def tiny_net(class_num=10, width=4, dropout=0.0, pretrained=False, **kwargs):
    """Convolution, BatchNorm, pooling, dropout, a classifier, on PaddleClas's base class."""
    import paddle
    from paddle import nn

    class TinyNet(host.theseus_layer()):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2D(3, width, 3, stride=4)
            self.bn = nn.BatchNorm2D(width)
            self.dropout = nn.Dropout(dropout)
            self.fc = nn.Linear(width, class_num)

        def forward(self, x):
            x = nn.functional.relu(self.bn(self.conv(x)))
            return self.fc(self.dropout(paddle.mean(x, axis=[2, 3])))

    net = TinyNet()
    if pretrained:
        host.activate().module("utils.save_load").load_dygraph_pretrain(net, pretrained)
    return net


def activate():
    """Activate PaddleClas, with TinyNet registered."""
    ppcls = host.activate()
    register_models(ppcls, {"TinyNet": tiny_net})
    return ppcls


def main(mode, config_file, *without):
    ppcls = activate()
    if without:
        host.apply_changes(ppcls, without)
    config = ppcls.module("utils.config").get_config(config_file, show=False)
    engine = ppcls.module("engine.engine").Engine(config, mode=mode)
    getattr(engine, mode)()


if __name__ == "__main__":
    main(*sys.argv[1:])
