"""Where Pulumi keeps what it knows of the stacks: an S3 bucket, and the KMS key of its secrets.

They can't be resources of the program, whose own state lies in them, so a command makes them, once.
It looks before it changes anything: a second run changes nothing, and one that was cut short is
finished by the next. Pulumi locks a stack in such a bucket by itself (``.pulumi/locks``).
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trackstack.client import sdk
from trackstack.client.errors import ClientError
from trackstack.core import policies

NONCURRENT_DAYS = 90
"""How long a state that was overwritten can be brought back."""
UPLOAD_DAYS = 7

_PRIVATE = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
_RULES: tuple[dict[str, Any], ...] = (
    {
        "ID": "old-states",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": NONCURRENT_DAYS},
    },
    {
        "ID": "abandoned-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UPLOAD_DAYS},
    },
)


@dataclass(frozen=True)
class Backend:
    """What is there now, and how Pulumi is told of it."""

    bucket: str
    region: str
    alias: str
    key_arn: str
    changed: tuple[str, ...] = field(default=())
    """What was made or mended, in words; empty when all was there."""

    @property
    def backend_url(self) -> str:
        """What ``pulumi login`` takes."""
        return f"s3://{self.bucket}?region={self.region}"

    @property
    def secrets_provider(self) -> str:
        """What ``pulumi stack init --secrets-provider`` takes."""
        return f"awskms:///{self.alias}?region={self.region}"

    def commands(self, stack: str) -> tuple[str, str]:
        """The two lines that come next; quoted, because ``?`` is a pattern to some shells."""
        return (
            f"pulumi login '{self.backend_url}'",
            f"pulumi stack init {stack} --secrets-provider '{self.secrets_provider}'",
        )


def ensure(project: str, region: str = "", bucket: str = "", alias: str = "") -> Backend:
    """Make or mend bucket and key, and tell what was done.

    Args:
        project: the Pulumi project, which the names begin with.
        region: of both; empty: what boto3 finds in environment or profile.
        bucket: its name; empty: ``<project>-state-<account>-<region>``.
        alias: the key's; empty: ``alias/<project>-state``.

    Raises:
        ClientError: boto3 or credentials are missing, AWS said no, the bucket is somebody else's.
    """
    session = sdk.session("This needs")
    region = region or session.region_name or ""
    if not region:
        raise ClientError("No region is set: say --region, such as --region eu-central-1.")
    try:
        account = session.client("sts", region_name=region).get_caller_identity()["Account"]
        alias = alias or f"alias/{project}-state"
        bucket = bucket or f"{project}-state-{account}-{region}"
        key = _Key(session.client("kms", region_name=region), alias, project)
        key_arn = key.ensure()
        store = _Bucket(session.client("s3", region_name=region), bucket, region, account)
        store.ensure(key_arn)
    except sdk.errors() as error:
        raise ClientError(_reason(error)) from None
    return Backend(bucket, region, alias, key_arn, (*key.changed, *store.changed))


def _reason(error: Exception) -> str:
    """What to tell of one of boto3's errors; a sentence."""
    import botocore.exceptions as aws  # noqa: PLC0415 - comes with boto3

    if isinstance(error, aws.NoCredentialsError):
        return "There are no AWS credentials here: log in (`aws sso login`), or set AWS_PROFILE."
    if not isinstance(error, aws.ClientError):
        return f"AWS can't be asked: {str(error).rstrip('.')}."
    told = error.response.get("Error", {})
    return (
        f"AWS refused {error.operation_name} ({told.get('Code', 'no code')}):"
        f" {str(told.get('Message') or 'no reason given').rstrip('.')}."
    )


class _Key:
    def __init__(self, kms: Any, alias: str, project: str) -> None:
        self._kms, self._alias, self._project = kms, alias, project
        self.changed: list[str] = []

    def ensure(self) -> str:
        """The key's ARN."""
        try:
            key = self._kms.describe_key(KeyId=self._alias)["KeyMetadata"]
        except self._kms.exceptions.NotFoundException:
            key = self._kms.create_key(
                Description=f"Secrets in the Pulumi state of {self._project}",
                Tags=[{"TagKey": "project", "TagValue": self._project}],
            )["KeyMetadata"]
            self._kms.create_alias(AliasName=self._alias, TargetKeyId=key["KeyId"])
            self.changed.append(f"key {self._alias} made")
        if key["KeyState"] != "Enabled":
            raise ClientError(
                f"The key {self._alias} is {key['KeyState']}, so no state could be read: bring it"
                " back (`aws kms cancel-key-deletion`, `enable-key`), or say another --alias."
            )
        if not self._kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"]:
            self._kms.enable_key_rotation(KeyId=key["KeyId"])
            self.changed.append("the key's yearly rotation turned on")
        return str(key["Arn"])


class _Bucket:
    def __init__(self, s3: Any, name: str, region: str, account: str) -> None:
        self._s3, self._name, self._region = s3, name, region
        # A bucket that somebody else took by this name is never written to.
        self._mine = {"Bucket": name, "ExpectedBucketOwner": account}
        self._arn = policies.bucket_arn(policies.partition_of(region), name)
        self.changed: list[str] = []

    def ensure(self, key_arn: str) -> None:
        self._exists()
        self._keep("versioning", self._versioning, "Enabled", self._set_versioning)
        self._keep("public access", self._public_access, _PRIVATE, self._set_public_access)
        self._keep("ownership", self._ownership, "BucketOwnerEnforced", self._set_ownership)
        encryption = {
            "ApplyServerSideEncryptionByDefault": {
                "SSEAlgorithm": "aws:kms",
                "KMSMasterKeyID": key_arn,
            },
            "BucketKeyEnabled": True,
        }
        self._keep("encryption", self._encryption, encryption, self._set_encryption)
        # What others have written beside ours stays: statements by Sid, rules by ID.
        ours = json.loads(policies.tls_only(self._arn))["Statement"]
        statements = self._policy()
        wanted = _merged(statements, ours, "Sid")
        self._keep("TLS only", lambda: statements, wanted, self._set_policy)
        rules = self._lifecycle()
        wanted = _merged(rules, _RULES, "ID")
        self._keep("lifecycle", lambda: rules, wanted, self._set_lifecycle)

    def _exists(self) -> None:
        try:
            found = self._s3.head_bucket(**self._mine)
        except self._s3.exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == _NOT_FOUND:
                self._make()
                return
            if status == _FORBIDDEN:
                raise ClientError(
                    f"The bucket {self._name} belongs to another account, or these credentials may"
                    " not look at it: say another --bucket, or ask for s3:ListBucket on it."
                ) from None
            if status == _ELSEWHERE:
                raise ClientError(
                    f"The bucket {self._name} lies in another region than {self._region}: say its"
                    " --region."
                ) from None
            raise
        region = found.get("BucketRegion") or self._region
        if region != self._region:
            raise ClientError(
                f"The bucket {self._name} lies in {region} and not in {self._region}: say"
                f" --region {region}."
            )

    def _make(self) -> None:
        more: dict[str, Any] = {}
        if self._region != "us-east-1":  # whose name S3 refuses as a constraint
            more["CreateBucketConfiguration"] = {"LocationConstraint": self._region}
        try:
            self._s3.create_bucket(Bucket=self._name, **more)
        except self._s3.exceptions.BucketAlreadyExists:
            raise ClientError(
                f"The bucket {self._name} belongs to another account: say another --bucket."
            ) from None
        self.changed.append(f"bucket {self._name} made")

    def _keep(
        self, what: str, get: Callable[[], Any], wanted: Any, put: Callable[[Any], None]
    ) -> None:
        """Change a configuration only if it isn't what is wanted."""
        if get() != wanted:
            put(wanted)
            self.changed.append(f"the bucket's {what} set")

    def _versioning(self) -> Any:
        return self._s3.get_bucket_versioning(**self._mine).get("Status")

    def _set_versioning(self, status: str) -> None:
        self._s3.put_bucket_versioning(**self._mine, VersioningConfiguration={"Status": status})

    def _public_access(self) -> Any:
        with self._absent("NoSuchPublicAccessBlockConfiguration"):
            return self._s3.get_public_access_block(**self._mine)["PublicAccessBlockConfiguration"]
        return None

    def _set_public_access(self, block: Mapping[str, bool]) -> None:
        self._s3.put_public_access_block(**self._mine, PublicAccessBlockConfiguration=block)

    def _ownership(self) -> Any:
        with self._absent("OwnershipControlsNotFoundError"):
            found = self._s3.get_bucket_ownership_controls(**self._mine)["OwnershipControls"]
            return found["Rules"][0]["ObjectOwnership"]
        return None

    def _set_ownership(self, ownership: str) -> None:
        controls = {"Rules": [{"ObjectOwnership": ownership}]}
        self._s3.put_bucket_ownership_controls(**self._mine, OwnershipControls=controls)

    def _encryption(self) -> Any:
        with self._absent("ServerSideEncryptionConfigurationNotFoundError"):
            found = self._s3.get_bucket_encryption(**self._mine)
            rule = found["ServerSideEncryptionConfiguration"]["Rules"][0]
            # S3 adds what it blocks besides.
            return {name: rule.get(name) for name in _ENCRYPTION}
        return None

    def _set_encryption(self, rule: Mapping[str, Any]) -> None:
        self._s3.put_bucket_encryption(
            **self._mine, ServerSideEncryptionConfiguration={"Rules": [rule]}
        )

    def _policy(self) -> list[dict[str, Any]]:
        with self._absent("NoSuchBucketPolicy"):
            found = json.loads(self._s3.get_bucket_policy(**self._mine)["Policy"])
            statements: list[dict[str, Any]] = found["Statement"]
            return statements
        return []

    def _set_policy(self, statements: Sequence[Mapping[str, Any]]) -> None:
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        self._s3.put_bucket_policy(**self._mine, Policy=json.dumps(document))

    def _lifecycle(self) -> list[dict[str, Any]]:
        with self._absent("NoSuchLifecycleConfiguration"):
            found = self._s3.get_bucket_lifecycle_configuration(**self._mine)
            rules: list[dict[str, Any]] = found["Rules"]
            return rules
        return []

    def _set_lifecycle(self, rules: Sequence[Mapping[str, Any]]) -> None:
        self._s3.put_bucket_lifecycle_configuration(
            **self._mine, LifecycleConfiguration={"Rules": list(rules)}
        )

    @contextlib.contextmanager
    def _absent(self, code: str) -> Iterator[None]:
        """S3 tells that something was never set by an error of this code."""
        try:
            yield
        except self._s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != code:
                raise


_NOT_FOUND, _FORBIDDEN, _ELSEWHERE = 404, 403, 301
_ENCRYPTION = ("ApplyServerSideEncryptionByDefault", "BucketKeyEnabled")


def _merged(
    there: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]], key: str
) -> list[dict[str, Any]]:
    """What is there, with ours in the place of what has the same name."""
    by_name = {one[key]: dict(one) for one in ours}
    kept = [by_name.pop(one.get(key), dict(one)) for one in there]
    return [*kept, *by_name.values()]
