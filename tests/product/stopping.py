"""Have a program stop itself at a place of its log, however fast the machine is."""

from __future__ import annotations

from pathlib import Path

# Runs a script with its arguments, and sends SIGTERM to this process when it prints a text.
_PROGRAM = """
import os, runpy, signal, sys

text, script = sys.argv[1:3]
sys.argv = sys.argv[2:]


class Watched:
    def __init__(self, stream):
        self.stream = stream

    def write(self, words):
        global text
        self.stream.write(words)
        if text is not None and text in words:
            text = None
            os.kill(os.getpid(), signal.SIGTERM)

    def __getattr__(self, name):
        return getattr(self.stream, name)


sys.stdout = Watched(sys.stdout)
runpy.run_path(script, run_name="__main__")
"""


def stopped_at(text: str, script: Path, *words: str) -> list[str]:
    """Arguments of Python that run a script, and stop it by SIGTERM when it prints ``text``."""
    return ["-c", _PROGRAM, text, str(script), *words]
