"""Channel attention as mathematics: layers and the rules for their sizes."""

from .eca import ECALayer, KernelSize, eca_kernel_size, resolve_kernel_size

__all__ = ["ECALayer", "KernelSize", "eca_kernel_size", "resolve_kernel_size"]
