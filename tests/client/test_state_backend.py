"""The bootstrap of Pulumi's state, against a moto server that plays AWS."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer

from trackstack.client import state_backend
from trackstack.client.errors import ClientError
from trackstack.client.state_backend import Backend, ensure

ROOT = Path(__file__).parents[2]
REGION = "eu-central-1"
BUCKET = f"mlflow-platform-state-123456789012-{REGION}"
Aws = Callable[..., Any]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """An empty account; ``aws("s3")`` is a client of it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    requests.post(f"{endpoint}/moto-api/reset", timeout=10)
    return lambda service, **more: boto3.client(service, region_name=REGION, **more)


def make(**more: str) -> Backend:
    return ensure("mlflow-platform", REGION, **more)


def test_the_bucket_is_private_versioned_encrypted_by_the_key_and_tls_only(aws: Aws) -> None:
    made = make()
    s3 = aws("s3")
    assert made.bucket == BUCKET
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    block = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    encryption = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]
    (rule,) = encryption["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": made.key_arn,
    }
    assert rule["BucketKeyEnabled"] is True
    statements = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert {one["Effect"] for one in statements} == {"Deny"}
    assert {"Bool": {"aws:SecureTransport": "false"}} in [one["Condition"] for one in statements]
    rules = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    old = next(one for one in rules if one["ID"] == "old-states")["NoncurrentVersionExpiration"]
    assert old == {"NoncurrentDays": 90}
    assert not any("Expiration" in one for one in rules)  # the state itself never expires
    location = s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"]
    assert location == REGION


def test_the_key_has_its_alias_and_rotates(aws: Aws) -> None:
    made = make()
    kms = aws("kms")
    key = kms.describe_key(KeyId="alias/mlflow-platform-state")["KeyMetadata"]
    assert key["Arn"] == made.key_arn
    assert kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"]


def test_pulumi_is_told_by_two_lines() -> None:
    made = Backend("the-bucket", REGION, "alias/the-key", "arn")
    assert made.commands("prod") == (
        "pulumi login 's3://the-bucket?region=eu-central-1'",
        ("pulumi stack init prod --secrets-provider 'awskms:///alias/the-key?region=eu-central-1'"),
    )


def test_a_second_run_changes_nothing_and_says_so(aws: Aws) -> None:
    first, second = make(), make()
    assert first.changed
    assert second.changed == ()
    assert (second.bucket, second.key_arn) == (first.bucket, first.key_arn)
    assert len(aws("kms").list_keys()["Keys"]) == 1


BROKEN: dict[str, Callable[[Aws], object]] = {
    "versioning": lambda aws: aws("s3").put_bucket_versioning(
        Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}
    ),
    "public access": lambda aws: aws("s3").delete_public_access_block(Bucket=BUCKET),
    "ownership": lambda aws: aws("s3").delete_bucket_ownership_controls(Bucket=BUCKET),
    "encryption": lambda aws: aws("s3").delete_bucket_encryption(Bucket=BUCKET),
    "TLS only": lambda aws: aws("s3").delete_bucket_policy(Bucket=BUCKET),
    "lifecycle": lambda aws: aws("s3").delete_bucket_lifecycle(Bucket=BUCKET),
    "rotation": lambda aws: aws("kms").disable_key_rotation(
        KeyId=aws("kms").describe_key(KeyId="alias/mlflow-platform-state")["KeyMetadata"]["KeyId"]
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_somebody_changed_is_mended_and_nothing_else_touched(aws: Aws, what: str) -> None:
    make()
    BROKEN[what](aws)
    (change,) = make().changed
    assert what in change
    assert make().changed == ()


def test_what_others_wrote_beside_it_stays(aws: Aws) -> None:
    make()
    s3 = aws("s3")
    theirs = {
        "Sid": "Auditors",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:role/audit"},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{BUCKET}/*",
    }
    s3.put_bucket_policy(
        Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [theirs]})
    )
    assert make().changed == ("the bucket's TLS only set",)
    statements = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert theirs in statements
    assert len(statements) == 3
    assert make().changed == ()


def test_the_first_region_needs_no_constraint(aws: Aws) -> None:
    assert ensure("mlflow-platform", "us-east-1").bucket.endswith("-us-east-1")


def refused(run: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as caught:
        run()
    assert caught.value.exit_code == 5
    return str(caught.value)


def test_a_bucket_of_somebody_else_is_never_touched(aws: Aws) -> None:
    # moto lets everybody look at every bucket; S3 answers 403 to whom it doesn't belong.
    s3 = aws("s3")
    with Stubber(s3) as s3_says:
        s3_says.add_client_error(
            "head_bucket",
            http_status_code=403,
            expected_params={"Bucket": "taken", "ExpectedBucketOwner": "123456789012"},
        )
        store = state_backend._Bucket(s3, "taken", REGION, "123456789012")
        sentence = refused(lambda: store.ensure("arn:aws:kms:eu-central-1:123456789012:key/1"))
        s3_says.assert_no_pending_responses()  # and nothing else was asked or written
    assert sentence.startswith("The bucket taken belongs to another account")
    assert "say another --bucket" in sentence


def test_a_name_that_is_taken_between_look_and_make_is_told(aws: Aws) -> None:
    s3 = aws("s3")
    with Stubber(s3) as s3_says:
        s3_says.add_client_error("head_bucket", http_status_code=404)
        s3_says.add_client_error("create_bucket", "BucketAlreadyExists")
        store = state_backend._Bucket(s3, "taken", REGION, "123456789012")
        assert refused(lambda: store.ensure("key")) == (
            "The bucket taken belongs to another account: say another --bucket."
        )


def test_a_bucket_in_another_region_is_named_with_its_region(aws: Aws) -> None:
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="far")
    assert "lies in" in refused(lambda: make(bucket="far"))


def test_a_key_that_is_about_to_go_is_no_place_for_secrets(aws: Aws) -> None:
    made = make()
    aws("kms").schedule_key_deletion(KeyId=made.key_arn.rpartition("/")[2])
    assert refused(make).startswith("The key alias/mlflow-platform-state is PendingDeletion")


def test_without_a_region_one_is_asked_for(aws: Aws) -> None:
    assert refused(lambda: ensure("mlflow-platform")) == (
        "No region is set: say --region, such as --region eu-central-1."
    )


def test_a_profile_that_is_not_there_is_one_sentence(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert refused(make) == "AWS can't be asked: The config profile (nobody) could not be found."


def test_without_credentials_a_login_is_asked_for(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert refused(make).startswith("There are no AWS credentials here: log in")


def test_a_denied_permission_is_named(
    aws: Aws, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make()
    iam = aws("iam")
    iam.create_user(UserName="nobody")
    keys = iam.create_access_key(UserName="nobody")["AccessKey"]
    iam.put_user_policy(
        UserName="nobody",
        PolicyName="almost",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": [
                            "sts:GetCallerIdentity",
                            "kms:*",
                            "s3:ListBucket",
                            "s3:HeadBucket",
                        ],
                        "Resource": "*",
                    }
                ],
            }
        ),
    )
    reset = f"{endpoint}/moto-api/reset-auth"
    requests.post(reset, data="0", headers={"Content-Type": "text/plain"}, timeout=10)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    try:
        sentence = refused(make)
    finally:
        requests.post(reset, data="inf", headers={"Content-Type": "text/plain"}, timeout=10)
    assert sentence == "AWS refused GetBucketVersioning (AccessDenied): Access Denied."


def test_an_unreachable_aws_is_one_sentence(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert refused(make).startswith("AWS can't be asked: Could not connect")


def cli(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trackstack.cli", "state", "--cwd", str(ROOT), *argv],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
    )


def test_the_command_prints_what_comes_next_and_says_when_nothing_was_to_do(aws: Aws) -> None:
    done = cli("--region", REGION, "--stack", "prod")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-2:] == [
        f"pulumi login 's3://{BUCKET}?region={REGION}'",
        (
            "pulumi stack init prod --secrets-provider"
            f" 'awskms:///alias/mlflow-platform-state?region={REGION}'"
        ),
    ]
    again = cli("--region", REGION, "--json")
    assert json.loads(again.stdout)["changed"] == []
    wrong = cli()
    assert (wrong.returncode, wrong.stdout) == (5, "")
    assert wrong.stderr == (
        "trackstack: No region is set: say --region, such as --region eu-central-1.\n"
    )
