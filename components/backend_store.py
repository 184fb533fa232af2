"""The PostgreSQL instance that holds runs, models and their versions.

Why a component: a bare ``rds.Instance`` is deleted with its backups, speaks in the clear and keeps
a password in Pulumi's state. Here RDS makes and keeps the master's password, servers log in by
short-lived IAM tokens over TLS, and a destroy is refused unless the runs were declared expendable.
Who may connect is said by whoever connects, in the security group that is handed out.
"""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_random as random
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import ec2, rds

PORT = 5432
DATABASE = "mlflow"
MASTER_USER = "trackstack"
MADE_WITH = ("kms_key_id", "master_user_secret_kms_key_id")
"""What a database keeps as it was made: another key would be another database, or is refused."""


class BackendStoreArgs(TypedDict):
    """What a caller decides about the database."""

    vpc_id: Input[str]
    """The VPC it lives in."""
    subnet_ids: Input[list[str]]
    """Private subnets in two zones or more."""
    postgres_major: NotRequired[int]
    """Major version; AWS applies the minor ones. Default: 18."""
    instance_class: NotRequired[str]
    """RDS instance class. Default: db.t4g.micro."""
    storage_gib: NotRequired[int]
    """Size of the disk. Default: 20."""
    multi_az: NotRequired[bool]
    """Keep a standby in a second zone. Default: no."""
    backup_days: NotRequired[int]
    """Days that it can be restored to any point of; 1 or more. Default: 7."""
    kms_key_arn: NotRequired[Input[str]]
    """Key that encrypts a database that is made, and its secret. Default, or empty: RDS's own."""
    expendable: NotRequired[bool]
    """Let a destroy take the runs along, without a last snapshot. Default: the runs are kept."""


class BackendStore(pulumi.ComponentResource):
    """An encrypted, backed-up PostgreSQL that only TLS and named security groups reach.

    A change that interrupts it (class, major version) waits for AWS's maintenance window.
    """

    identifier: Output[str]
    """Its name in RDS."""
    endpoint: Output[str]
    """``host:port``."""
    address: Output[str]
    """Its host name."""
    port: Output[int]
    """Its port."""
    database: Output[str]
    """Name of the database inside it."""
    resource_id: Output[str]
    """What IAM calls the instance in ``rds-db:connect``."""
    master_secret_arn: Output[str]
    """Secret with ``username`` and ``password`` of the master, which RDS makes and rotates."""
    security_group_id: Output[str]
    """Its security group, which lets nobody in until somebody adds a rule."""

    def __init__(
        self, name: str, args: BackendStoreArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("trackstack:index:BackendStore", name, {**args}, opts)
        child = ResourceOptions(parent=self)
        expendable = args.get("expendable", False)
        major = args.get("postgres_major", 18)
        key = args.get("kms_key_arn") or None

        group = ec2.SecurityGroup(
            f"{name}-access",
            description="MLflow database",
            vpc_id=args["vpc_id"],
            tags={"Name": f"{name}-access"},
            opts=child,
        )
        subnets = rds.SubnetGroup(f"{name}-subnets", subnet_ids=args["subnet_ids"], opts=child)
        parameters = rds.ParameterGroup(
            f"{name}-tls-only",
            family=f"postgres{major}",
            description="Refuses connections without TLS",
            # From PostgreSQL 15 on this is RDS's default, with this method: another one would be a
            # difference in every preview. The group is there before the instance first starts.
            parameters=[{"name": "rds.force_ssl", "value": "1", "apply_method": "pending-reboot"}],
            opts=child,
        )
        # A snapshot's name is taken for ever: destroying a second stack would fail on it.
        snapshot = random.RandomId(f"{name}-last-snapshot", byte_length=4, opts=child)
        instance = rds.Instance(
            f"{name}-postgres",
            engine="postgres",
            engine_version=str(major),
            auto_minor_version_upgrade=True,
            instance_class=args.get("instance_class", "db.t4g.micro"),
            allocated_storage=args.get("storage_gib", 20),
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=key,
            multi_az=args.get("multi_az", False),
            db_name=DATABASE,
            port=PORT,
            username=MASTER_USER,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=key,
            iam_database_authentication_enabled=True,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            publicly_accessible=False,
            parameter_group_name=parameters.name,
            backup_retention_period=args.get("backup_days", 7),
            copy_tags_to_snapshot=True,
            delete_automated_backups=expendable,
            deletion_protection=not expendable,
            skip_final_snapshot=expendable,
            final_snapshot_identifier=Output.concat(name, "-last-", snapshot.hex),
            opts=ResourceOptions(
                parent=self, protect=not expendable, ignore_changes=list(MADE_WITH)
            ),
        )

        self.identifier = instance.identifier
        self.endpoint = instance.endpoint
        self.address = instance.address
        self.port = instance.port
        self.database = instance.db_name
        self.resource_id = instance.resource_id
        self.master_secret_arn = instance.master_user_secrets.apply(
            lambda secrets: secrets[0].secret_arn
        )
        self.security_group_id = group.id
        self.register_outputs(
            {
                "identifier": self.identifier,
                "endpoint": self.endpoint,
                "address": self.address,
                "port": self.port,
                "database": self.database,
                "resource_id": self.resource_id,
                "master_secret_arn": self.master_secret_arn,
                "security_group_id": self.security_group_id,
            }
        )
