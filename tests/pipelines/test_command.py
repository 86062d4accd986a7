"""pipelines.command: failures end a command with one line, and files are whole or absent."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from model.inputs import InputError
from pipelines.command import PipelineError, atomic, run


@pytest.mark.parametrize("error", [PipelineError("why"), InputError("why")])
def test_an_expected_failure_is_one_line(error: Exception) -> None:
    """The project's own errors end a command without a stack trace."""

    def body() -> None:
        raise error

    with pytest.raises(SystemExit, match=r"^error: why$"):
        run(body)


def test_a_full_disk_is_one_line() -> None:
    """ENOSPC says what to do next; any other system error is its own line."""

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "data/x")

    def other() -> None:
        raise PermissionError("no")

    with pytest.raises(SystemExit, match=r"^error: no space left on the disk .*data/x.*: free some"):
        run(full)
    with pytest.raises(SystemExit, match=r"^error: no$"):
        run(other)


def test_an_interrupt_has_the_code_of_shells(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends with 130 and says how to go on."""

    def body() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        run(body)
    assert ended.value.code == 130
    assert "run the same command again" in capsys.readouterr().err


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """Whatever happens inside the block, the path holds all of the old content or all of the new."""
    path = tmp_path / "sub" / "file"
    with atomic(path) as partial:
        partial.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["file"]
