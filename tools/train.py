"""Train a model, as PaddleClas's script does, with ECA-Net's models known."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from paddleclas_eca.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
