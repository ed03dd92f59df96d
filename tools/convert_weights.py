"""Convert weights of PyTorch, timm, torchvision or PaddleClas for a model, and back."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from paddleclas_eca.cli import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
