"""Count the images that cannot be read, over all processes that read them."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UserError

KEY = "Global.max_broken_images"
# The share of a data set that may be unreadable where the config does not say.
DEFAULT_SHARE = 0.01
# How many unreadable images in a row mean that the data set, not an image, is broken.
IN_A_ROW = 20
# How many files a message names.
NAMED = 3


class Tally:
    """Which images of a data set have been read, and which could not be.

    It lies in memory that is shared with all processes forked later, two bytes an image: the
    processes of a loader mark what they find, and the one that trains counts. An image that
    comes up again counts once.

    Attributes:
        dataset: the data set, of ``size`` images.
        place: which loader of the config reads it, such as ``Train``.
    """

    def __init__(self, dataset: Any, place: str, share: float) -> None:
        self.dataset = dataset
        self.place = place
        self.size = len(dataset)
        self._share = share
        memory = np.frombuffer(mmap.mmap(-1, 2 * self.size + 2), dtype=np.bool_)
        self._seen, self._broken = memory[: self.size], memory[self.size : -2]
        # Whether any is broken, which is asked at every step; and whether reading has ended.
        self._any, self._gave_up = memory[-2:-1], memory[-1:]

    def saw(self, index: Any) -> None:
        """Note that an image is being read."""
        index = self._position(index)
        if index is not None:
            self._seen[index] = True

    def failed(self, index: Any) -> None:
        """Note that an image could not be read."""
        index = self._position(index)
        if index is not None:
            self._broken[index] = self._any[0] = True

    def give_up(self) -> None:
        """Note that too many in a row could not be read."""
        self._gave_up[0] = True

    def _position(self, index: Any) -> int | None:
        # Samplers for several scales give (width, height, index).
        index = index[-1] if isinstance(index, (tuple, list)) and index else index
        try:
            return range(self.size)[index]
        except (TypeError, IndexError):
            return None

    def unite(self) -> None:
        """Take in what the other ranks have found; all ranks must call this together."""
        import paddle

        marks = paddle.to_tensor(np.concatenate([self._seen, self._broken]).astype("int32"))
        paddle.distributed.all_reduce(marks, op=paddle.distributed.ReduceOp.MAX)
        marks = marks.numpy().astype(np.bool_)
        self._seen[:], self._broken[:] = marks[: self.size], marks[self.size :]
        self._any[0] = self._broken.any()

    def report(self) -> str | None:
        """A line that counts the unreadable images and names the first; None without any."""
        if not self._any[0]:
            return None
        consequence = (
            "others were trained on in their place"
            if self.place == "Train"
            else "others were evaluated in their place, so the metrics are not those of the list"
        )
        return f"DataLoader.{self.place}: {self._counted()}; {consequence}"

    def check(self, ranks: int = 1) -> None:
        """Raise UserError when too many images are broken.

        Of ``ranks`` processes each reads a part of the data set, and counts in that part until
        they have told each other.
        """
        if self._gave_up[0]:
            raise UserError(f"{self._in_a_row()}{self._counted()}. {_CAUSES}")
        if not self._any[0]:
            return
        broken = np.count_nonzero(self._broken)
        base = max(np.count_nonzero(self._seen), self.size / ranks)
        if broken > math.ceil(self._share * base):
            raise UserError(
                f"DataLoader.{self.place}: {self._counted()}, which is more than {KEY}, "
                f"{self._share:g}, allows. {_CAUSES} To go on with the others, set -o {KEY} to a "
                f"larger share, up to 1"
            )

    def _in_a_row(self) -> str:
        return f"DataLoader.{self.place}: {IN_A_ROW} images in a row could not be read; in all, "

    def _counted(self) -> str:
        broken = np.flatnonzero(self._broken)
        names = [file_of(self.dataset, index) for index in broken[:NAMED]]
        more = f" and {len(broken) - NAMED:,} more" if len(broken) > NAMED else ""
        source = getattr(self.dataset, "_cls_path", type(self.dataset).__name__)
        return (
            f"{len(broken):,} of {self.size:,} images of {source} could not be read: "
            f"{', '.join(names)}{more}"
        )


_CAUSES = (
    "The errors are logged above; those of transform_ops look the same. Mend the files, or take "
    "them out of the list."
)


def file_of(dataset: Any, index: Any) -> str:
    """The file of an image, for a message."""
    try:
        return str(dataset.images[index])
    except Exception:  # not all data sets keep a list of files
        return f"item {index}"


def leaves(dataset: Any) -> list[Any]:
    """The data sets that one is made of: those of a MixDataset, else itself."""
    parts: Sequence[Any] | None = getattr(dataset, "dataset_list", None)
    return [dataset] if parts is None else [leaf for _, _, part in parts for leaf in leaves(part)]
