"""Messages over a pipe between this process and one that fits folds for it."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

TASK, PROGRESS, RESULT, DONE, REFUSED, DEFECT = b"T", b"P", b"R", b"D", b"E", b"X"
"""A task; steps done and in all; a result; done by one whose result is another's to give; an error
that a user can mend; one that is a defect."""
_HEAD_BYTES = 9


class Frame(NamedTuple):
    """One message: what it is, and its content."""

    kind: bytes
    content: bytes


def write_frame(stream: BinaryIO, frame: Frame) -> None:
    """Write a message whole.

    Raises:
        OSError: When nobody reads any more.
    """
    stream.write(frame.kind + len(frame.content).to_bytes(_HEAD_BYTES - 1, "big"))
    stream.write(frame.content)
    stream.flush()


def read_frame(stream: BinaryIO) -> Frame | None:
    """Read a message; none when the other side is gone, whole messages before it or not."""
    head = stream.read(_HEAD_BYTES)
    if len(head) < _HEAD_BYTES:
        return None
    size = int.from_bytes(head[1:], "big")
    content = stream.read(size)
    return Frame(head[:1], content) if len(content) == size else None
