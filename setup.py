"""Metadata of the package; tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name):
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return [line for line in (line.split("#")[0].strip() for line in lines) if line]


def version():
    source = (ROOT / "paddleclas_eca" / "version.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE).group(1)


setup(
    name="paddleclas-eca",
    version=version(),
    description="ECA-Net (Efficient Channel Attention, CVPR 2020) for PaddleClas",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.9",
    # The configs lie beside the package in the repository and inside it when installed.
    packages=[*find_packages(include=["paddleclas_eca*"]), "paddleclas_eca.ppcls_configs"],
    package_dir={"paddleclas_eca.ppcls_configs": "ppcls_configs"},
    package_data={"paddleclas_eca.ppcls_configs": ["**/*"]},
    install_requires=["paddlepaddle>=3.0", *requirements("base.txt")],
    extras_require={name: requirements(f"{name}.txt") for name in ("test", "convert", "onnx")},
    entry_points={"console_scripts": ["paddleclas-eca = paddleclas_eca.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
