"""What `trackstack state` makes is what a real Pulumi CLI takes: backend, secrets key, lock.

AWS is a moto server. It judges no conditions, so the bucket's TLS-only policy is taken off first:
moto would refuse every object.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from tests.live.engine import moto
from tests.live.stacks import clean_environment

ROOT = Path(__file__).parents[2]
REGION = "eu-central-1"

pytestmark = [
    pytest.mark.live,
    pytest.mark.engine,
    pytest.mark.xdist_group("engine"),
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="no pulumi on PATH"),
]


@dataclass
class Place:
    """A made backend, and a project that logs into it."""

    told: dict[str, Any]
    project: Path
    environment: dict[str, str]
    s3: Any

    def pulumi(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["pulumi", *argv, "--non-interactive"],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def objects(self) -> set[str]:
        found = self.s3.list_objects_v2(Bucket=self.told["bucket"])
        return {one["Key"] for one in found.get("Contents", [])}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("state")
    project = folder / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: mlflow-platform\nruntime: python\n")
    with moto(folder / "moto.log") as endpoint:
        environment = {
            **clean_environment(),
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": REGION,
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PYTHONPATH": str(ROOT),
        }
        made = subprocess.run(
            [sys.executable, "-m", "trackstack.cli", "state", "--region", REGION, "--json"],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        told = json.loads(made.stdout)
        s3 = boto3.client(
            "s3",
            region_name=REGION,
            endpoint_url=endpoint,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        s3.delete_bucket_policy(Bucket=told["bucket"])
        here = f"&endpoint={urlsplit(endpoint).netloc}&disableSSL=true&s3ForcePathStyle=true"
        place = Place(told, project, environment, s3)
        place.pulumi("login", told["backendUrl"] + here)
        place.pulumi("stack", "init", "prod", "--secrets-provider", told["secretsProvider"])
        yield place


def test_pulumi_keeps_its_state_there(place: Place) -> None:
    assert ".pulumi/stacks/mlflow-platform/prod.json" in place.objects()


def test_secrets_are_encrypted_with_the_key(place: Place) -> None:
    place.pulumi("config", "set", "--secret", "word", "hunter2", "--stack", "prod")
    file = (place.project / "Pulumi.prod.yaml").read_text()
    assert f"secretsprovider: {place.told['secretsProvider']}" in file
    assert "hunter2" not in file
    assert place.pulumi("config", "get", "word", "--stack", "prod").stdout.strip() == "hunter2"


def test_a_lock_that_a_killed_run_left_stops_the_next_until_it_is_cancelled(place: Place) -> None:
    lock = ".pulumi/locks/organization/mlflow-platform/prod/0f0f.json"
    body = {"pid": 1, "username": "ci", "hostname": "gone", "timestamp": "2026-11-21T03:00:00Z"}
    place.s3.put_object(Bucket=place.told["bucket"], Key=lock, Body=json.dumps(body).encode())
    stopped = place.pulumi("refresh", "--yes", "--stack", "prod", check=False)
    assert stopped.returncode != 0
    assert "the stack is currently locked by 1 lock(s)" in stopped.stdout + stopped.stderr
    place.pulumi("cancel", "--yes", "--stack", "prod")
    assert lock not in place.objects()
