"""Whether a folder is on a disk of this machine: over a network, SQLite loses what it wrote."""

from __future__ import annotations

from pathlib import Path

from genai_pipeline.errors import ConfigurationError

__all__ = ["filesystem_of", "refuse_network"]

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "blobfuse2",
        "ceph",
        "cifs",
        "davfs",
        "davfs2",
        "gcsfuse",
        "glusterfs",
        "goofys",
        "gpfs",
        "juicefs",
        "lustre",
        "mountpoint-s3",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "rclone",
        "s3fs",
        "smb3",
        "smbfs",
        "sshfs",
        "vboxsf",
        "virtiofs",
        "wekafs",
    ]
)


def filesystem_of(folder: Path, mounts: str) -> str:
    """Answer the kind of file system that *folder* is on, by what *mounts* (proc(5)) says."""
    found, longest = "", -1
    place = str(folder)
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        mount = _plain(before.split(" ")[4])
        within = place == mount or place.startswith(mount.rstrip("/") + "/")
        # A later mount on the same place hides the earlier one.
        if within and len(mount) >= longest:
            found, longest = after.split(" ", maxsplit=1)[0], len(mount)
    return found


def _plain(text: str) -> str:
    for code, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, plain)
    return text


def refuse_network(path: Path) -> None:
    """Raise `ConfigurationError` when *path* is on a network file system, if that can be told."""
    try:
        mounts = _MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:
        return
    kind = filesystem_of(path.resolve().parent, mounts)
    # FUSE tells what is behind it: fuse.sshfs.
    if kind.removeprefix("fuse.") in _NETWORK:
        raise ConfigurationError(
            f"Sqlite: path={str(path)!r} is on a network file system ({kind}), where a journal "
            "can be damaged; give a path on a disk of this machine"
        )
