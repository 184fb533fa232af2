"""For each setting, what a change of it makes anew or takes away; docs/deploy.md shows it."""

from collections.abc import Mapping

_NETWORK = (
    "mlflow-network-vpc",
    "mlflow-network-public-1",
    "mlflow-network-public-2",
    "mlflow-network-private-1",
    "mlflow-network-private-2",
)
_OTHER_NETWORK = (
    _NETWORK,
    "The network that the stack made goes; everything in it moves, and the database with it.",
)
_OTHER_BUCKET = (
    ("mlflow-artifacts-bucket",),
    "The stack's own bucket would go: Pulumi refuses until it is let go on purpose.",
)

REPLACED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "vpc_cidr": (_NETWORK, "A VPC keeps its range: another one is another network."),
    "vpc_id": _OTHER_NETWORK,
    "public_subnet_ids": _OTHER_NETWORK,
    "private_subnet_ids": _OTHER_NETWORK,
    "internal": (
        ("mlflow-door-balancer",),
        "A balancer is internal or not for its life: without a domain the address changes.",
    ),
    "artifacts": (
        ("mlflow-server-artifacts",),
        "The service of its own goes or comes; runs and artifacts stay.",
    ),
    "artifact_bucket": _OTHER_BUCKET,
    "artifact_endpoint": _OTHER_BUCKET,
    "artifact_access_key_id": _OTHER_BUCKET,
    "artifact_secret_access_key": _OTHER_BUCKET,
    "artifact_kms_key_arn": _OTHER_BUCKET,
    "keep_former_database": (
        ("mlflow-backend-postgres", "mlflow-backend-postgresql-log", "mlflow-backend-upgrade-log"),
        "The instance from before a restore would go: Pulumi refuses until it is let go.",
    ),
    "spot": (
        ("mlflow-server-tracking", "mlflow-server-artifacts"),
        "The services are made anew before the old ones go.",
    ),
}
"""Setting → the resources' names, and a sentence for who is about to change it."""
