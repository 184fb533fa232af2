"""Outputs of a stack on AWS: from Pulumi's state, or from the stack's SSM parameter."""

import json
import os
import shutil
import subprocess
from typing import Any

from trackstack.client import sdk
from trackstack.client.errors import ClientError

_UNKNOWN_STACK = 6  # the exit status of Pulumi's CLI


def from_pulumi(stack: str, cwd: str | None = None) -> dict[str, Any]:
    """Read ``pulumi stack output --json``; a secret output stays ``[secret]``.

    Raises:
        ClientError: no CLI, no such stack, or a stack that was never deployed.
    """
    cli = shutil.which("pulumi")
    if cli is None:
        raise ClientError(
            "The pulumi CLI is not on PATH; install it, or read the stack's parameter with"
            " `--from ssm:/<project>/<stack>/client`."
        )
    done = subprocess.run(
        [cli, "stack", "output", "--json", "--stack", stack, "--non-interactive"],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
    )
    if done.returncode == _UNKNOWN_STACK:
        raise ClientError(f"Pulumi knows no stack {stack!r}: `pulumi stack ls` lists them.")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise ClientError(f"`pulumi stack output` failed: {lines[-1]}")
    outputs: dict[str, Any] = json.loads(done.stdout)
    if "tracking_uri" not in outputs:
        raise ClientError(f"The stack {stack!r} has no tracking_uri: run `pulumi up` first.")
    return outputs


def from_parameter(name: str, region: str | None = None) -> dict[str, Any]:
    """Read the SSM parameter that the stack keeps for its clients.

    Raises:
        ClientError: boto3 is missing, or AWS said no; its words are in the sentence.
    """
    session = sdk.session("Reading an SSM parameter needs")
    try:
        # boto3 itself reads AWS_DEFAULT_REGION only; Lambda, ECS and most CI set the other.
        client = session.client("ssm", region_name=region or os.environ.get("AWS_REGION"))
        value = client.get_parameter(Name=name)["Parameter"]["Value"]
    except sdk.errors() as error:
        raise ClientError(f"The parameter {name} can't be read: {error}") from None
    try:
        told = json.loads(value)
        uri = told["MLFLOW_TRACKING_URI"]
    except (ValueError, KeyError, TypeError):
        raise ClientError(
            f"The parameter {name} is not a stack's client parameter: it holds no JSON with"
            " MLFLOW_TRACKING_URI."
        ) from None
    return {
        "tracking_uri": uri,
        "tracking_certificate": told.get("certificate") or "",
        "client_environment": {"MLFLOW_TRACKING_URI": uri},
        "tunnel": told.get("tunnel") or {},
        "client_secret_arn": told.get("credentials_secret_arn") or "",
    }


def read_secret(arn: str) -> str:
    """Read a secret of the stack.

    Raises:
        ClientError: boto3 is missing, or AWS said no; its words are in the sentence.
    """
    try:
        answer = _secrets_manager(_region_of(arn)).get_secret_value(SecretId=arn)
    except sdk.errors() as error:
        raise ClientError(f"The secret {arn} can't be read: {error}") from None
    return str(answer["SecretString"])


def write_secret(name: str, region: str, value: str, description: str) -> None:
    """Keep a value in a secret of this name, a new one if there is none.

    Raises:
        ClientError: boto3 is missing, or AWS said no; its words are in the sentence.
    """
    client = _secrets_manager(region)
    try:
        try:
            client.put_secret_value(SecretId=name, SecretString=value)
        except client.exceptions.ResourceNotFoundException:
            client.create_secret(Name=name, SecretString=value, Description=description)
    except sdk.errors() as error:
        raise ClientError(f"The secret {name} can't be written: {error}") from None


def _region_of(arn: str) -> str:
    return arn.split(":")[3]


def _secrets_manager(region: str) -> Any:
    return sdk.session("Secrets Manager is asked by").client("secretsmanager", region_name=region)
