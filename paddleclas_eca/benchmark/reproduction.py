"""ECA as code in the wild writes it, layer by layer: what ours is held against."""

from __future__ import annotations

import paddle
from paddle import nn


class ReproductionECA(nn.Layer):
    """ECA in the operations of the authors' PyTorch code, put into Paddle one by one.

    Adaptive pooling, squeeze, transpose, Conv1D, transpose, unsqueeze, sigmoid, expand_as,
    multiply. The result is that of :class:`paddleclas_eca.ECALayer`.

    Args:
        k_size: size of the convolution, odd.

    Shape:
        input and output: ``[N, C, H, W]``.
    """

    def __init__(self, k_size: int) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        self.conv = nn.Conv1D(1, 1, k_size, padding=(k_size - 1) // 2, bias_attr=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Scale ``x``; see the class for the shapes."""
        y = self.avg_pool(x)
        y = self.conv(y.squeeze(-1).transpose([0, 2, 1])).transpose([0, 2, 1]).unsqueeze(-1)
        y = self.sigmoid(y)
        return paddle.multiply(x, y.expand_as(x))
