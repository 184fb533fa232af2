"""Buckets: nobody outside reads them, nothing travels in the clear, nothing is lost by a mistake.

A bucket's guards are resources of their own, so most of these rules look at the whole stack. The
bucket's older properties of the same names aren't asked: AWS fills them, whatever was declared.
"""

from collections.abc import Iterator

from policy.documents import refuses_plain_http
from policy.reading import UNKNOWN, Resource, Stack, on, structure
from policy.rule import CRITICAL, HIGH, MANDATORY, MEDIUM, Config, Rules

RULES = Rules()

BUCKETS = ("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2")
_ACLS = ("aws:s3/bucketAcl:BucketAcl", "aws:s3/bucketAclV2:BucketAclV2")
_BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
_POLICY = "aws:s3/bucketPolicy:BucketPolicy"
_VERSIONING = (
    "aws:s3/bucketVersioning:BucketVersioning",
    "aws:s3/bucketVersioningV2:BucketVersioningV2",
)
_ENCRYPTION = tuple(
    f"aws:s3/bucketServerSideEncryptionConfiguration{v}:BucketServerSideEncryptionConfiguration{V}"
    for v, V in (("", ""), ("V2", "V2"))
)
_PUBLIC_ACLS = ("public-read", "public-read-write", "authenticated-read")
_FOUR = {
    "blockPublicAcls": "block_public_acls",
    "blockPublicPolicy": "block_public_policy",
    "ignorePublicAcls": "ignore_public_acls",
    "restrictPublicBuckets": "restrict_public_buckets",
}

_UNGUARDED = (
    "nothing keeps a later policy from opening it: add a s3.BucketPublicAccessBlock with all four"
    " switches on."
)
_PLAIN_HTTP = (
    "it answers plain HTTP: add a s3.BucketPolicy that denies s3:* where aws:SecureTransport is"
    " false."
)
_UNENCRYPTED = (
    "it doesn't say how it is encrypted: add a s3.BucketServerSideEncryptionConfiguration with"
    " AES256 or a key."
)
_UNVERSIONED = (
    "what is overwritten or deleted in it is gone: add a s3.BucketVersioning with status Enabled,"
    " or force_destroy=True where nothing in it matters."
)


@RULES.about(*BUCKETS, *_ACLS, _BLOCK, level=MANDATORY, severity=CRITICAL)
def bucket_public(it: Resource, _: Config) -> Iterator[str]:
    """Nobody outside the account reads a bucket."""
    if it.text("acl") in _PUBLIC_ACLS:
        yield f"its ACL {it.text('acl')!r} opens it to everybody: leave acl out."
    if it.type == _BLOCK:
        open_still = [name for key, name in _FOUR.items() if it.off(key)]
        if open_still:
            yield f"it leaves a way open: set {', '.join(open_still)} to True."


@RULES.across(level=MANDATORY, severity=CRITICAL)
def bucket_without_access_block(stack: Stack, _: Config) -> Iterator[tuple[Resource, str]]:
    """Every bucket has a public access block, so that no later policy or ACL can open it."""
    for bucket in stack.of(*BUCKETS):
        if not stack.pointing_at(bucket, "bucket", _BLOCK):
            yield bucket, _UNGUARDED


@RULES.across(level=MANDATORY, severity=HIGH)
def bucket_without_tls(stack: Stack, _: Config) -> Iterator[tuple[Resource, str]]:
    """Every bucket refuses whoever speaks to it in the clear."""
    for bucket in stack.of(*BUCKETS):
        policies = [one.get("policy") for one in stack.pointing_at(bucket, "bucket", _POLICY)]
        # A policy that names the bucket's ARN is unknown until the bucket exists.
        if not any(one is UNKNOWN or refuses_plain_http(one) for one in policies):
            yield bucket, _PLAIN_HTTP


@RULES.across(level=MANDATORY, severity=MEDIUM)
def bucket_without_encryption(stack: Stack, _: Config) -> Iterator[tuple[Resource, str]]:
    """Every bucket says how it is encrypted, which AWS's own default leaves to AWS."""
    for bucket in stack.of(*BUCKETS):
        if not stack.pointing_at(bucket, "bucket", *_ENCRYPTION):
            yield bucket, _UNENCRYPTED


@RULES.across(level=MANDATORY, severity=HIGH)
def bucket_without_versions(stack: Stack, _: Config) -> Iterator[tuple[Resource, str]]:
    """A bucket whose objects matter keeps what was overwritten or deleted."""
    for bucket in stack.of(*BUCKETS):
        if on(bucket.get("forceDestroy")):
            continue  # said to be expendable
        kept = [
            structure(one.get("versioningConfiguration"))
            for one in stack.pointing_at(bucket, "bucket", *_VERSIONING)
        ]
        if not any(_enabled(one) for one in kept):
            yield bucket, _UNVERSIONED


def _enabled(configuration: object) -> bool:
    if isinstance(configuration, list):  # bridged providers may show a block as a list of one
        return any(_enabled(one) for one in configuration)
    if not isinstance(configuration, dict):
        return configuration is UNKNOWN
    return configuration.get("status") in ("Enabled", UNKNOWN)
