"""The restore of docs/runbooks/restore.md, rehearsed: backup, destroy, restore, compare.

What RDS keeps is played by ``pg_basebackup``, as a snapshot is: a copy of the disk, taken while the
server writes, brought to a consistent state when it starts. What the bucket's versions keep is
played by a copy of its objects. As on AWS the new instance has a new master password, while the
role of the servers and everything else comes back with the data.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import run_example
from tests.live.stacks import Stack, clean_environment

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

INVENTORY = Path(__file__).parent / "scripts" / "inventory.py"


def inventory(stack: Stack, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack.client(INVENTORY, cwd=folder).stdout)
    return found


def backend(stack: Stack) -> list[str]:
    """The command of the database."""
    (wanted,) = [
        one
        for one in json.loads((stack.state / "wanted.json").read_text())["processes"]
        if one["service"] == "backend"
    ]
    argv: list[str] = wanted["argv"]
    return argv


def take_a_snapshot(stack: Stack, target: Path) -> None:
    """The database as of now, while it runs."""
    argv = backend(stack)
    programs, port = Path(argv[0]).parent, argv[argv.index("-p") + 1]
    (secret,) = [
        file
        for file in (stack.state / "secrets").iterdir()
        if "master-password" in file.name and "." not in file.name
    ]
    login = ("-h", "127.0.0.1", "-p", port, "-U", "trackstack")
    subprocess.run(
        [programs / "pg_basebackup", "-D", target, *login, "--checkpoint=fast", "-X", "stream"],
        check=True,
        capture_output=True,
        env={**clean_environment(), "PGPASSWORD": json.loads(secret.read_text())["value"]},
    )


def put_back(copy: Path, place: Path) -> None:
    """Let a copy take the place of a folder, for the same owner."""
    owner = place.stat()
    shutil.rmtree(place)
    shutil.copytree(copy, place)
    for path in (place, *place.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    place.chmod(0o700)


def test_what_was_backed_up_is_all_there_after_a_destroy_and_a_restore(
    fresh_stack: Stack, tmp_path: Path
) -> None:
    stack = fresh_stack
    stack.up()
    run_example(stack, tmp_path / "before")
    kept = inventory(stack, tmp_path)
    assert len(kept["runs"]) == 1
    assert len(kept["versions"]) == 1

    snapshot, objects = tmp_path / "snapshot", tmp_path / "objects"
    take_a_snapshot(stack, snapshot)
    shutil.copytree(stack.objects, objects)
    run_example(stack, tmp_path / "after")  # and is lost: it came after the backup
    assert len(inventory(stack, tmp_path)["runs"]) == 2

    stack.delete()
    assert not stack.state.exists() or not list(stack.state.glob("data/*"))
    stack.up()
    assert inventory(stack, tmp_path)["runs"] == {}
    argv = backend(stack)
    data = Path(argv[argv.index("-D") + 1])
    stack.down()
    put_back(snapshot, data)
    put_back(objects, stack.objects)
    (data.with_name("pgdata.password-mark")).unlink()  # the master's password is another one
    stack.up()
    assert inventory(stack, tmp_path) == kept

    run_example(stack, tmp_path / "again")  # and it goes on
    assert len(inventory(stack, tmp_path)["runs"]) == 2
