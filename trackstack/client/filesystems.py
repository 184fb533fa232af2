"""Which file system a path lies on: SQLite's locks and shared memory need a local one.

On NFS two writers corrupt each other or wait for ever, and a write-ahead log can't be opened at
all; so whoever keeps a journal or a database asks here first.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

_NETWORK = frozenset((
    *("9p", "acfs", "afpfs", "afs", "auristorfs", "beegfs", "ceph", "cifs", "coda", "davfs"),
    *("drvfs", "fhgfs", "gfs2", "gpfs", "ibrix", "lustre", "ncpfs", "nfs", "nfs3", "nfs4"),
    *("ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf"),
    *("virtiofs", "vmhgfs", "webdav", "wekafs", "xtreemfs"),
))  # fmt: skip
"""Types of the kernel whose files lie on another machine, or on the host of a virtual one."""

_NETWORK_FUSE = frozenset((
    *("alluxio-fuse", "blobfuse", "blobfuse2", "ceph", "ceph-fuse", "curlftpfs", "cvmfs2"),
    *("davfs", "gcsfuse", "geesefs", "glusterfs", "goofys", "grpcfuse", "gvfsd-fuse", "juicefs"),
    *("mfs", "mount-s3", "mountpoint-s3", "moosefs", "objectivefs", "rclone", "s3fs"),
    *("seaweedfs", "smbnetfs", "sshfs", "vmhgfs-fuse", "wekafs"),
))  # fmt: skip
"""Programs behind ``fuse.<program>``, or the device of a plain ``fuse``."""

_REMOTE_DEVICE = re.compile(r"[^/]*[^/:]:/|[^/@]+@[^/:]+:|//[^/]|[a-z0-9]+://")
"""``host:/export``, ``user@host:``, ``//host/share``, ``scheme://``: names another machine."""


def network_file_system(path: str | os.PathLike[str]) -> str | None:
    """The kind of network file system that a path is on, such as ``nfs4`` or ``fuse.sshfs``.

    The path need not exist yet: the folder that it would come to lie in decides. None stands for
    a local file system, and for what this machine doesn't tell.
    """
    try:
        whole = Path(path).expanduser().resolve()
        mounts = psutil.disk_partitions(all=True)
    except (OSError, RuntimeError, psutil.Error):  # a loop of links, a kernel that hides its table
        return None
    return _kind(whole, mounts)


def _kind(path: Path, mounts: Iterable[Any]) -> str | None:
    best, kind = -1, None
    for mount in mounts:
        point = Path(mount.mountpoint)
        depth = len(point.parts)
        # Of two mounts at one place the later one covers the other.
        if depth >= best and path.is_relative_to(point):
            best, kind = depth, _network_kind(mount.device, mount.fstype, mount.opts)
    return kind


def _network_kind(device: str, kind: str, options: str) -> str | None:
    if "remote" in options.split(","):  # a drive of Windows, whose type is its server's
        return "remote drive"
    if kind.lower() in _NETWORK:
        return kind
    fuse, _, program = kind.lower().partition(".")
    if "fuse" not in fuse:
        return None
    if program in _NETWORK_FUSE or device in _NETWORK_FUSE or _REMOTE_DEVICE.match(device):
        return kind
    return None
