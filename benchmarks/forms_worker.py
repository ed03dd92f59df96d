"""A worker of ``paddleclas-eca benchmark``: a model with ECA in another form (``eca_forms.py``).

--worker 'mean=python benchmarks/forms_worker.py ECA_ResNet50 mean'
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from paddleclas_eca.benchmark.paddle_worker import prepare
from paddleclas_eca.benchmark.workers import serve

if TYPE_CHECKING:
    from paddle import nn


def main() -> None:
    """Serve a form of a model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("form")
    args = parser.parse_args()

    def build(layout: str) -> nn.Layer:
        # Only now: the CPU is tuned before Paddle is imported.
        import eca_forms

        return eca_forms.build(args.model, args.form, layout)

    serve(lambda case: prepare(build, case))


if __name__ == "__main__":
    main()
