"""Room kept on the disk for answers that are on their way when it runs full."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import attrs

from genai_pipeline.errors import StorageFailed

__all__ = ["Ballast"]

_CHUNK = 1 << 20


@attrs.define(eq=False)
class Ballast:
    """A file of *size* bytes that is dropped when room is needed."""

    path: Path
    size: int

    def take(self) -> bool:
        """Take the room on the disk; answer whether it is there."""
        if not self.size:
            return True
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                self._fill(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            self.drop()
            return False
        return True

    def _fill(self, descriptor: int) -> None:
        if os.fstat(descriptor).st_blocks * 512 >= self.size:
            return
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, self.size)
            return
        for offset in range(0, self.size, _CHUNK):  # pragma: no cover - where there is no better
            os.pwrite(descriptor, b"\0" * min(_CHUNK, self.size - offset), offset)

    def require(self) -> None:
        """Take the room, or raise `StorageFailed`."""
        if not self.take():
            raise StorageFailed(
                f"the disk has no room for the {self.size} bytes of {self.path}, which are kept "
                "free for answers that are on their way when it runs full; free some space, or "
                "give a smaller ballast"
            )

    def drop(self) -> None:
        """Give the room back."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
