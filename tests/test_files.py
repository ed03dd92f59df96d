from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import strategies
from properties import property_test

from paddleclas_eca.errors import UserError
from paddleclas_eca.files import open_foreign, read_file, read_json, sha256, write_files

LIMIT = 1000


def fail(path: Path) -> None:
    path.write_bytes(b"half")
    raise OSError(28, "No space left on device")


def interrupt(path: Path) -> None:
    path.write_bytes(b"half")
    raise KeyboardInterrupt


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("durable", [False, True])
def test_files_are_written_with_their_directories(tmp_path, durable):
    folder = tmp_path / "new" / "folder"
    writers = {"a.txt": "é", "b": b"\0", "c.d.png": lambda path: path.write_text(path.suffix)}
    write_files({folder / name: writer for name, writer in writers.items()}, durable=durable)
    assert content_of(folder) == {"a.txt": "é".encode(), "b": b"\0", "c.d.png": b".png"}
    assert sha256(folder / "b").startswith("6e340b9cffb37a98")
    write_files({folder / "b": "new"})
    assert (folder / "b").read_text() == "new"


@pytest.mark.parametrize(("writer", "error"), [(fail, UserError), (interrupt, KeyboardInterrupt)])
def test_a_writer_that_fails_leaves_all_files_as_they_were(tmp_path, writer, error):
    (tmp_path / "old").write_text("old")
    (tmp_path / "last").write_text("old")
    before = content_of(tmp_path)
    with pytest.raises(error) as raised:
        write_files({tmp_path / "old": "new", tmp_path / "last": writer, tmp_path / "n": ""})
    assert content_of(tmp_path) == before
    if error is UserError:
        assert str(tmp_path / "last") in str(raised.value) and "No space left" in str(raised.value)


def test_a_process_that_is_killed_leaves_the_old_file(tmp_path):
    """Killed while the new content is being written: there is no time to clean up."""
    (tmp_path / "a").write_text("old")
    program = (
        "import os, sys, pathlib\n"
        "from paddleclas_eca.files import write_files\n"
        "def killed(path):\n"
        "    path.write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
        "write_files({pathlib.Path('a'): 'new', pathlib.Path('b'): killed})\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], cwd=tmp_path)
    assert finished.returncode == -signal.SIGKILL
    assert (tmp_path / "a").read_text() == "old" and not (tmp_path / "b").exists()


def test_a_file_that_does_not_fit_leaves_the_old_one(tmp_path):
    (tmp_path / "a").write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(UserError, match=r"a cannot be written: File too large"):
            write_files({tmp_path / "a": "x" * 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert content_of(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize("target", ["file/a", "file/b/a", "folder"])
def test_places_where_no_file_can_be(tmp_path, target):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=target):
        write_files({tmp_path / "first": "1", tmp_path / target: "2"})
    assert content_of(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("target", [".", "/"])
def test_a_place_without_a_name(tmp_path, monkeypatch, target):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is a directory"):
        write_files({Path("first"): "1", Path(target): "2"})
    assert content_of(tmp_path) == {}


def test_a_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("file")
    write_files({tmp_path / "link": "new"})
    assert content_of(tmp_path) == {"file": b"mine", "link": b"new"}


@property_test(strategies.binary(max_size=LIMIT))
def test_what_was_written_is_read(tmp_path, content):
    write_files({tmp_path / "a": content})
    (tmp_path / "link").unlink(missing_ok=True)
    (tmp_path / "link").symlink_to("a")
    assert read_file(tmp_path / "a", "a file", LIMIT) == content
    assert read_file(str(tmp_path / "link"), "a file", LIMIT) == content


def test_what_is_no_regular_file_is_not_read(tmp_path):
    """A pipe would block for ever, and a device might never end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to_pipe").symlink_to("pipe")
    (tmp_path / "large").write_bytes(bytes(LIMIT + 1))
    places = [tmp_path / name for name in ("", "pipe", "to_pipe", "loop", "large", "nowhere", "\0")]
    for path in [*places, tmp_path / "large" / "below", Path("/dev/zero")]:
        with pytest.raises(UserError) as error:
            read_file(path, "an image", LIMIT)
        assert str(path) in str(error.value) or repr(str(path)) in str(error.value)


def test_hosts_open_regular_files_as_ever_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    with open_foreign(path, "w", encoding="utf-8") as file:
        file.write("é\n2\n")
    for how in [(), ("r",), ("r", -1)]:
        with open_foreign(path, *how, encoding="utf-8") as file:
            assert file.readlines() == ["é\n", "2\n"]
    with open_foreign(str(path), "rb") as file:
        assert file.read() == "é\n2\n".encode()
    with pytest.raises(FileNotFoundError):
        open_foreign(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", "/dev/zero"):
        with pytest.raises(UserError, match=f"{path} cannot be read.* not a regular file"):
            open_foreign(path, "rb")
        with pytest.raises(OSError, match="not a regular file"):
            sha256(path)


def test_large_limits_and_large_files_take_no_memory(tmp_path):
    """Python allocates as much as it is asked to read."""
    (tmp_path / "a").write_bytes(b"small")
    with open(tmp_path / "large", "wb") as file:
        file.truncate(2**36)  # a file of holes
    _, hard = before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**35, hard))
    try:
        assert read_file(tmp_path / "a", "a file", 2**50) == b"small"
        with pytest.raises(UserError, match="large is too large"):
            read_file(tmp_path / "large", "a file", 2**36 - 1)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        '{"a": 1} 2',
        "[" * 90_000,
        "[" + "[]," * 2**20 + "1]",
        "9" * 10_000,
        "9" * 40,
        "\ud800",
    ],
    ids=["empty", "cut", "two", "deep", "many", "long", "digits", "no text"],
)
def test_json_that_is_damaged_or_stands_for_much(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json", "JSON", 2**24)
    (tmp_path / "a.json").write_text('{"a": [1, null]}')
    assert read_json(tmp_path / "a.json", "JSON", 100) == {"a": [1, None]}


def test_a_file_that_grows_is_not_read_without_limit(monkeypatch):
    """Files in /proc say that they are empty."""
    path = Path("/proc/self/maps")
    if not path.exists():
        pytest.skip("a system without /proc")
    assert stat.S_ISREG(path.stat().st_mode) and path.stat().st_size == 0
    with pytest.raises(UserError, match="/proc/self/maps is too large"):
        read_file(path, "an image", 10)
