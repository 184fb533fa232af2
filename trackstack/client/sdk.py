"""AWS's SDK, which only some commands need: an extra."""

from typing import Any

from trackstack.client.errors import ClientError


def session(need: str) -> Any:
    """A session of boto3 with the credentials of whoever calls.

    Args:
        need: how the sentence begins that ends with what is missing: "A tunnel needs".

    Raises:
        ClientError: boto3 is not installed, or the environment names a profile that isn't there.
    """
    try:
        import boto3  # noqa: PLC0415 - an extra, and half a second
    except ImportError:
        raise ClientError(f"{need} boto3: pip install 'trackstack[aws]'.") from None
    try:
        return boto3.Session()
    except errors() as error:
        raise ClientError(f"AWS can't be asked: {str(error).rstrip('.')}.") from None


def errors() -> tuple[type[Exception], ...]:
    """What boto3 raises: no answer, no credentials, or AWS said no."""
    import botocore.exceptions as aws  # noqa: PLC0415 - comes with boto3

    return (aws.BotoCoreError, aws.ClientError)
