"""The photographs of docs/pictures.md: prints of six photographs on three kinds of ground.

    pip install scikit-image
    python maintenance/photo_prints.py dataset/prints

Writes train/ and val/ with a directory per class. An image is one of the photographs, cropped,
turned, with a white border, somewhere on the ground; the ground of val/ is from other parts of
its photographs. The photographs come with scikit-image (cat, coffee, and the grounds: CC0;
astronaut, rocket: public domain) and scikit-learn (flower by vultilion, temple by danielbuechele:
CC BY 2.0).
"""

from __future__ import annotations

import argparse
from functools import partial
from operator import mul
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image

SIZE = 160
PRINTS = {
    "astronaut": skimage.data.astronaut,
    "cat": skimage.data.chelsea,
    "coffee": skimage.data.coffee,
    "flower": lambda: load_sample_image("flower.jpg"),
    "rocket": skimage.data.rocket,
    "temple": lambda: load_sample_image("china.jpg"),
}
# Grey photographs, and a colour for each.
GROUNDS = {
    skimage.data.brick: "#d09070",
    skimage.data.grass: "#90b060",
    skimage.data.gravel: "#b0b0a8",
}


def crop(photo: Image.Image, size: float, random: np.random.Generator) -> Image.Image:
    """A square of this part of the shorter side, anywhere."""
    side = int(min(photo.size) * size)
    left, top = (int(random.integers(0, length - side + 1)) for length in photo.size)
    return photo.crop((left, top, left + side, top + side))


def laid(photo: Image.Image, ground: Image.Image, random: np.random.Generator) -> Image.Image:
    """A print of the photograph on the ground."""
    image = crop(ground, 0.7, random).resize((SIZE, SIZE))
    side = int(SIZE * random.uniform(0.3, 0.55))
    face = crop(photo, random.uniform(0.7, 1.0), random).resize((side, side), Image.LANCZOS)
    face = face.point(partial(mul, random.uniform(0.8, 1.2)))  # brightness
    bordered = ImageOps.expand(face.convert("RGBA"), 3, "white")
    turned = bordered.rotate(random.uniform(-30, 30), Image.BICUBIC, expand=True)
    place = tuple(int(random.integers(0, SIZE - length + 1)) for length in turned.size)
    image.paste(turned, place, turned)
    return image


def main() -> None:
    """Write the images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    random = np.random.default_rng(0)
    grounds = [
        ImageOps.colorize(Image.fromarray(load()).convert("L"), "black", "white", colour)
        for load, colour in GROUNDS.items()
    ]
    for part, count, box in (("train", 100, (0, 0, 288, 512)), ("val", 20, (288, 0, 512, 512))):
        for name, load in PRINTS.items():
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            photo = Image.fromarray(load())
            for number in range(count):
                ground = grounds[number % len(grounds)].crop(box)
                image = laid(photo, ground, random)
                image.save(folder / part / name / f"{number:03d}.jpg", quality=92)


if __name__ == "__main__":
    main()
