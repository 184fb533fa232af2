"""The file system below a path, by a mount table planted for the kernel's."""

import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from trackstack.client.filesystems import network_file_system

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the table is Linux's")


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``plant("device mountpoint type", …)``: psutil reads that instead of the kernel's table."""

    def write(*lines: str) -> None:
        proc = tmp_path / "proc"
        (proc / "self").mkdir(parents=True, exist_ok=True)
        (proc / "filesystems").write_text("\text4\nnodev\tnfs4\n")
        table = "".join(f"{line} rw,relatime 0 0\n" for line in lines)
        (proc / "self" / "mounts").write_text(table)
        monkeypatch.setattr(psutil, "PROCFS_PATH", str(proc))

    return write


@pytest.mark.parametrize(
    ("device", "kind"),
    [
        ("nas:/home", "nfs4"),
        ("10.0.0.7:/export", "nfs"),
        ("//nas/share", "cifs"),
        ("10.0.0.7@tcp:/scratch", "lustre"),
        ("C:\\134", "9p"),
        ("workspace", "virtiofs"),
        ("ada@gpu:", "fuse.sshfs"),
        ("s3fs", "fuse.s3fs"),
        ("mountpoint-s3", "fuse"),
        ("gpu:/data", "fuse.something-new"),
    ],
)
def test_a_network_file_system_is_named_by_its_kind(
    plant: Callable[..., None], tmp_path: Path, device: str, kind: str
) -> None:
    plant("/dev/sda1 / ext4", f"{device} {tmp_path}/net {kind}")
    assert network_file_system(tmp_path / "net" / "not" / "there" / "yet") == kind
    assert network_file_system(str(tmp_path / "net")) == kind
    assert network_file_system(tmp_path / "network") is None  # a name that only begins alike


@pytest.mark.parametrize(
    ("device", "kind"),
    [
        ("/dev/sda2", "xfs"),
        ("tmpfs", "tmpfs"),
        ("overlay", "overlay"),
        ("/dev/sdb1", "fuseblk"),
        ("fuse-overlayfs", "fuse.fuse-overlayfs"),
        ("/home/ada/.cipher", "fuse.gocryptfs"),
    ],
)
def test_a_local_one_is_none(
    plant: Callable[..., None], tmp_path: Path, device: str, kind: str
) -> None:
    plant("nas:/ / nfs4", f"{device} {tmp_path} {kind}")
    assert network_file_system(tmp_path / "journal") is None


def test_the_longest_mount_point_wins_whatever_the_order(
    plant: Callable[..., None], tmp_path: Path
) -> None:
    plant(
        f"/dev/sdb1 {tmp_path}/home/ada/local ext4",
        f"nas:/home {tmp_path}/home nfs4",
        "/dev/sda1 / ext4",
    )
    assert network_file_system(tmp_path / "home" / "ada" / "runs") == "nfs4"
    assert network_file_system(tmp_path / "home" / "ada" / "local" / "runs") is None


def test_of_two_mounts_at_one_place_the_later_is_seen(
    plant: Callable[..., None], tmp_path: Path
) -> None:
    plant("/dev/sda1 / ext4", f"auto.home {tmp_path} autofs", f"nas:/home {tmp_path} nfs4")
    assert network_file_system(tmp_path / "ada") == "nfs4"


def test_a_link_is_followed_to_where_the_file_would_be(
    plant: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "my share").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "my share")
    plant("/dev/sda1 / ext4", f"nas:/x {tmp_path}/my\\040share nfs4")
    assert network_file_system(tmp_path / "here" / "mlflow.db") == "nfs4"


def test_a_machine_that_does_not_tell_is_taken_for_local(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "nothing"))
    assert network_file_system(tmp_path) is None
