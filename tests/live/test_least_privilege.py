"""The task roles' S3 policies, enforced: enough for a real MLflow server, and for nothing else.

moto judges action, resource and prefix of S3 faithfully. It ignores conditions, so the bucket here
has no policy of its own (a refusal of plain HTTP would refuse everything), and it can't judge KMS,
Secrets Manager and rds-db: `tests/rules/test_grants.py` holds those against a table.
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.live.engine import REGION, end, moto
from tests.live.presigned import door
from tests.live.stacks import clean_environment
from tests.live.test_artifacts import MIB, MULTIPART, SCRIPT, sums, write_random
from trackstack.embedded.record import Recording

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("least-privilege")]

ROLES = (
    ("dev", "mlflow-server-tracking-task"),
    ("prod", "mlflow-server-tracking-task"),
    ("prod", "mlflow-server-artifacts-task"),
)
OTHER = "somebody-elses-bucket"
ADMINISTRATOR = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@dataclass(frozen=True)
class Task:
    """A role that moto enforces, the bucket its policy names, and the credentials of a task."""

    endpoint: str
    bucket: str
    prefix: str
    credentials: dict[str, str]
    """As boto3 takes them."""
    administrator: Any
    """A client that may do all, for looking into the buckets."""

    def s3(self) -> Any:
        return s3_client(self.endpoint, self.credentials)

    def keys(self, bucket: str) -> set[str]:
        told = self.administrator.list_objects_v2(Bucket=bucket)
        return {one["Key"] for one in told.get("Contents", [])}


def s3_client(endpoint: str, credentials: dict[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        config=Config(s3={"addressing_style": "path"}),
        **credentials,
    )


@pytest.fixture(scope="module", params=ROLES, ids=["-".join(role) for role in ROLES])
def task(
    request: pytest.FixtureRequest,
    evaluate: Callable[[str], Recording],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Task]:
    """The role with its policies as declared, assumed, in an AWS that enforces them."""
    stack, role = request.param
    recording = evaluate(stack)
    (found,) = [one for one in recording.of_type("aws:iam/role:Role") if one.name == role]
    policies = [
        one.inputs["policy"]
        for one in recording.of_type("aws:iam/rolePolicy:RolePolicy")
        if one.inputs["role"] == found.id
    ]
    (bucket,) = {
        re.sub(r"^arn:aws:s3:::", "", statement["Resource"])
        for policy in policies
        for statement in json.loads(policy)["Statement"]
        if statement["Action"] == "s3:ListBucket"
    }
    with moto(tmp_path_factory.mktemp("moto") / "log") as endpoint:
        iam, sts = (
            boto3.client(name, endpoint_url=endpoint, region_name=REGION, **ADMINISTRATOR)
            for name in ("iam", "sts")
        )
        administrator = s3_client(endpoint, ADMINISTRATOR)
        for name in (bucket, OTHER):
            administrator.create_bucket(Bucket=name)
        administrator.put_object(Bucket=bucket, Key="elsewhere/secret", Body=b"not a run's")
        administrator.put_object(Bucket=OTHER, Key="runs/0/secret", Body=b"not ours")
        arn = iam.create_role(
            RoleName=found.id, AssumeRolePolicyDocument=found.inputs["assumeRolePolicy"]
        )["Role"]["Arn"]
        for index, policy in enumerate(policies):
            iam.put_role_policy(
                RoleName=found.id, PolicyName=f"declared-{index}", PolicyDocument=policy
            )
        told = sts.assume_role(RoleArn=arn, RoleSessionName="task")["Credentials"]
        # An administrator who is one: from here on everybody is judged.
        iam.create_user(UserName="administrator")
        iam.put_user_policy(
            UserName="administrator",
            PolicyName="everything",
            PolicyDocument=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
                }
            ),
        )
        key = iam.create_access_key(UserName="administrator")["AccessKey"]
        enforce = urllib.request.Request(
            f"{endpoint}/moto-api/reset-auth",
            data=b"0",
            method="POST",
            headers={"Content-Type": "text/plain"},
        )
        urllib.request.urlopen(enforce, timeout=30).close()
        credentials = {
            "aws_access_key_id": told["AccessKeyId"],
            "aws_secret_access_key": told["SecretAccessKey"],
            "aws_session_token": told["SessionToken"],
        }
        all_allowed = {
            "aws_access_key_id": key["AccessKeyId"],
            "aws_secret_access_key": key["SecretAccessKey"],
        }
        with door(endpoint, REGION, credentials) as address:
            yield Task(address, bucket, "runs", credentials, s3_client(endpoint, all_allowed))


@pytest.fixture(scope="module")
def server(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server with nothing but the role's credentials; its address."""
    folder = tmp_path_factory.mktemp("server")
    environment = {
        **clean_environment(),
        **{key.upper(): value for key, value in task.credentials.items()},
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "MLFLOW_S3_ENDPOINT_URL": task.endpoint,
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path",
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{task.bucket}/{task.prefix}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "true",
    }
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--port", "0", "--workers", "1"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
        )
    try:
        deadline = time.monotonic() + 120
        while not (found := re.search(r"running on (http://\S+:\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield found[1]
    finally:
        end(process)


@pytest.mark.parametrize("way", ["proxied", "presigned"])
def test_a_server_with_the_role_carries_artifacts_up_and_down(
    server: str, task: Task, tmp_path: Path, way: str
) -> None:
    write_random(tmp_path / "source" / "small.bin", MIB)
    write_random(
        tmp_path / "source" / "deep" / "weights.bin", 10 * MIB
    )  # moto fails a range past the end
    (tmp_path / "cwd").mkdir()
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "source"), str(tmp_path / "target")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path / "cwd",
        timeout=90,
        env={
            **clean_environment(),
            "MLFLOW_TRACKING_URI": server,
            **(MULTIPART if way == "presigned" else {}),
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert sums(tmp_path / "target") == sums(tmp_path / "source")
    parts = [line for line in told["up"] if line.startswith(f"PUT {task.endpoint}")]
    assert len(parts) == (2 if way == "presigned" else 0)
    artifacts = f"{told['experiment_id']}/{told['run_id']}/artifacts"
    names = {f"{task.prefix}/{artifacts}/{name}" for name in ("small.bin", "deep/weights.bin")}
    assert names <= task.keys(task.bucket)

    listed = call(f"{server}/api/2.0/mlflow/artifacts/list?run_id={told['run_id']}")
    assert {one["path"] for one in json.loads(listed)["files"]} == {"small.bin", "deep"}
    call(f"{server}/api/2.0/mlflow-artifacts/artifacts/{artifacts}/small.bin", "DELETE")
    assert f"{task.prefix}/{artifacts}/small.bin" not in task.keys(task.bucket)


def call(url: str, method: str = "GET") -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=60) as answer:
        body: bytes = answer.read()
        return body


REFUSED: dict[str, Callable[[Any, Task], Any]] = {
    "reading another prefix": lambda s3, t: s3.get_object(Bucket=t.bucket, Key="elsewhere/secret"),
    "writing another prefix": lambda s3, t: s3.put_object(Bucket=t.bucket, Key="other/x", Body=b""),
    "deleting from another prefix": lambda s3, t: s3.delete_object(
        Bucket=t.bucket, Key="elsewhere/secret"
    ),
    "a prefix that begins alike": lambda s3, t: s3.put_object(
        Bucket=t.bucket, Key="runs-of-others/x", Body=b""
    ),
    "reading another bucket": lambda s3, t: s3.get_object(Bucket=OTHER, Key="runs/0/secret"),
    "listing another bucket": lambda s3, t: s3.list_objects_v2(Bucket=OTHER, Prefix="runs/"),
    "writing another bucket": lambda s3, t: s3.put_object(Bucket=OTHER, Key="runs/x", Body=b""),
    "deleting the bucket": lambda s3, t: s3.delete_bucket(Bucket=t.bucket),
    "opening the bucket": lambda s3, t: s3.put_bucket_policy(Bucket=t.bucket, Policy="{}"),
    "ending its versions": lambda s3, t: s3.put_bucket_versioning(
        Bucket=t.bucket, VersioningConfiguration={"Status": "Suspended"}
    ),
    "deleting a version for good": lambda s3, t: s3.delete_object(
        Bucket=t.bucket, Key="runs/x", VersionId="null"
    ),
    "making a bucket": lambda s3, t: s3.create_bucket(Bucket="one-more"),
    "seeing all buckets": lambda s3, t: s3.list_buckets(),
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_role_is_refused(task: Task, what: str) -> None:
    before = {bucket: task.keys(bucket) for bucket in (task.bucket, OTHER)}
    with pytest.raises(ClientError) as refused:
        REFUSED[what](task.s3(), task)
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    assert before == {bucket: task.keys(bucket) for bucket in (task.bucket, OTHER)}


def test_nobody_without_a_role_gets_in(task: Task) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        call(f"{task.endpoint}/{task.bucket}/elsewhere/secret")
    refused.value.close()
    assert refused.value.code == 403
