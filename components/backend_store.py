"""The PostgreSQL instance that holds runs, models and their versions.

Why a component: a bare ``rds.Instance`` is deleted with its backups, speaks in the clear and keeps
a password in Pulumi's state. Here RDS makes and keeps the master's password, servers log in by
short-lived IAM tokens over TLS, and a destroy is refused unless the runs were declared expendable.
Nothing that a caller writes replaces a database: one that is restored is a second one beside the
first. Who may connect is said by whoever connects, in the security group that is handed out.
"""

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_random as random
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import cloudwatch, ec2, iam, rds

from trackstack.core import policies
from trackstack.core.database import is_restore_time

PORT = 5432
DATABASE = "mlflow"
MASTER_USER = "trackstack"
CERTIFICATE_AUTHORITY = "rds-ca-rsa2048-g1"
"""Signs what clients verify; valid until 2061, and in the bundle of the image."""
INSIGHTS_DAYS = 7
"""What Database Insights keeps without a charge, for every class that runs PostgreSQL (RDS User
Guide, "instance class support for Database Insights")."""
SLOW_MILLISECONDS = 1000
LOGS = ("postgresql", "upgrade")
MADE_WITH = (
    "identifier",
    "kms_key_id",
    "master_user_secret_kms_key_id",
    "performance_insights_kms_key_id",
    "restore_to_point_in_time",
    "snapshot_identifier",
)
"""What a database keeps as it was made: another value would be another database, or is refused."""


class MonitoringArgs(TypedDict):
    """Enhanced monitoring: metrics of the operating system below the database."""

    seconds: int
    """Time from one metric to the next: 1, 5, 10, 15, 30 or 60."""
    region: str
    """Region of the stack."""
    account_id: Input[str]
    """Account of the stack."""
    permissions_boundary: NotRequired[str]
    """ARN of the policy that bounds the role. Default, or empty: none."""


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
    max_storage_gib: NotRequired[int]
    """Size that the disk grows to by itself when it is nearly full; 0: it doesn't. Default: 100."""
    multi_az: NotRequired[bool]
    """Keep a standby in a second zone. Default: no."""
    backup_days: NotRequired[int]
    """Days that it can be restored to any point of; 1 or more. Default: 7."""
    allow_major_upgrade: NotRequired[bool]
    """Let another major version be another one, now and with an interruption. Default: no."""
    monitoring: NotRequired[MonitoringArgs]
    """Enhanced monitoring. Default: none."""
    log_retention_days: NotRequired[int]
    """Days that the database's logs are kept. Default: 30."""
    restores: NotRequired[list[str]]
    """What the database was restored to, one entry each time: a UTC time that the one before is
    restored to, or a snapshot. The last one is handed out. Default: it never was."""
    keep_former: NotRequired[bool]
    """Keep the instance from before the last restore. Default: yes."""
    kms_key_arn: NotRequired[Input[str]]
    """Key that encrypts a database that is made, and its secret; one that is restored keeps the
    key of the former. Default, or empty: RDS's own."""
    expendable: NotRequired[bool]
    """Let a destroy take the runs along, without a last snapshot. Default: the runs are kept."""


class BackendStore(pulumi.ComponentResource):
    """An encrypted, backed-up PostgreSQL that only TLS and named security groups reach.

    A change that interrupts it waits for AWS's maintenance window, but for a major version, which
    is asked for.
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
        # Another VPC replaces the group, and no instance can move there: AWS would refuse it after
        # the new network was made. Protected, the preview refuses it.
        stays = ResourceOptions(parent=self, protect=not args.get("expendable", False))
        group = ec2.SecurityGroup(
            f"{name}-access",
            description="MLflow database",
            vpc_id=args["vpc_id"],
            tags={"Name": f"{name}-access"},
            opts=stays,
        )
        place = _Place(
            group.id,
            rds.SubnetGroup(f"{name}-subnets", subnet_ids=args["subnet_ids"], opts=stays).name,
            self._parameters(name, args).name,
            # A snapshot's name is taken for ever: destroying a second stack would fail on it.
            random.RandomId(f"{name}-last-snapshot", byte_length=4, opts=child).hex,
            self._monitoring_role(name, args),
        )
        restores = args.get("restores", [])
        first = max(0, len(restores) - args.get("keep_former", True))
        instance = None
        for number in range(first, len(restores) + 1):
            instance = self._instance(
                f"{name}-restored-{number}" if number else name,
                args,
                place,
                _source(restores[number - 1], instance) if number else {},
            )
        assert instance is not None  # noqa: S101 - the range has one number or two

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

    def _parameters(self, name: str, args: BackendStoreArgs) -> rds.ParameterGroup:
        """RDS's defaults but for these; another major makes another group before this one goes."""
        return rds.ParameterGroup(
            f"{name}-tls-only",
            family=f"postgres{args.get('postgres_major', 18)}",
            description="Refuses connections without TLS",
            parameters=[
                # From PostgreSQL 15 on this is RDS's default, with this method: another one would
                # be a difference in every preview. The group is there before the instance starts.
                {"name": "rds.force_ssl", "value": "1", "apply_method": "pending-reboot"},
                # No `all` and no `mod`: the log would hold every parameter that was ever logged.
                {"name": "log_statement", "value": "ddl", "apply_method": "immediate"},
                {
                    "name": "log_min_duration_statement",
                    "value": str(SLOW_MILLISECONDS),
                    "apply_method": "immediate",
                },
            ],
            opts=ResourceOptions(parent=self),
        )

    def _monitoring_role(self, name: str, args: BackendStoreArgs) -> Input[str] | None:
        """Who writes the operating system's metrics; None where nobody asked for them."""
        monitoring = args.get("monitoring")
        if monitoring is None:
            return None
        region = monitoring["region"]
        partition = policies.partition_of(region)
        account_id = Output.from_input(monitoring["account_id"])
        role = iam.Role(
            f"{name}-monitoring",
            description="Writes the database's operating system metrics",
            assume_role_policy=account_id.apply(
                lambda account: policies.assumed_by_rds(partition, region, account, f"{name}-*")
            ),
            permissions_boundary=monitoring.get("permissions_boundary") or None,
            opts=ResourceOptions(parent=self),
        )
        grant = iam.RolePolicy(
            f"{name}-monitoring",
            role=role.id,
            policy=account_id.apply(
                lambda account: policies.write_database_metrics(partition, region, account)
            ),
            opts=ResourceOptions(parent=self),
        )
        return Output.all(role.arn, grant.id).apply(lambda both: str(both[0]))

    def _instance(
        self, name: str, args: BackendStoreArgs, place: "_Place", source: dict[str, Any]
    ) -> rds.Instance:
        """One instance: empty, or made from a source and then with the source's key."""
        expendable = args.get("expendable", False)
        monitoring = args.get("monitoring")
        key = args.get("kms_key_arn") or None
        identifier = Output.concat(name, "-postgres-", place.mark)
        # RDS would make them, without an end and without a key.
        logs = [
            cloudwatch.LogGroup(
                f"{name}-{kind}-log",
                name=Output.concat("/aws/rds/instance/", identifier, "/", kind),
                retention_in_days=args.get("log_retention_days", 30),
                kms_key_id=key,
                opts=ResourceOptions(parent=self),
            )
            for kind in LOGS
        ]
        upgrade = args.get("allow_major_upgrade", False)
        return rds.Instance(
            f"{name}-postgres",
            identifier=identifier,
            engine="postgres",
            engine_version=str(args.get("postgres_major", 18)),
            allow_major_version_upgrade=upgrade,
            # The old parameter group can't be deleted while an upgrade waits for the window.
            apply_immediately=upgrade,
            auto_minor_version_upgrade=True,
            instance_class=args.get("instance_class", "db.t4g.micro"),
            allocated_storage=args.get("storage_gib", 20),
            max_allocated_storage=args.get("max_storage_gib", 100),
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=None if source else key,
            multi_az=args.get("multi_az", False),
            db_name=DATABASE,
            port=PORT,
            username=MASTER_USER,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=key,
            iam_database_authentication_enabled=True,
            ca_cert_identifier=CERTIFICATE_AUTHORITY,
            db_subnet_group_name=place.subnet_group,
            vpc_security_group_ids=[place.security_group_id],
            publicly_accessible=False,
            parameter_group_name=place.parameter_group,
            enabled_cloudwatch_logs_exports=list(LOGS),
            database_insights_mode="standard",
            performance_insights_enabled=True,
            performance_insights_retention_period=INSIGHTS_DAYS,
            performance_insights_kms_key_id=key,
            monitoring_interval=monitoring["seconds"] if monitoring else 0,
            monitoring_role_arn=place.monitoring_role_arn,
            backup_retention_period=args.get("backup_days", 7),
            copy_tags_to_snapshot=True,
            delete_automated_backups=expendable,
            deletion_protection=not expendable,
            skip_final_snapshot=expendable,
            final_snapshot_identifier=Output.concat(name, "-last-", place.mark),
            **source,
            opts=ResourceOptions(
                parent=self,
                protect=not expendable,
                ignore_changes=list(MADE_WITH),
                depends_on=logs,
            ),
        )


@dataclass(frozen=True)
class _Place:
    """What all instances of a stack share."""

    security_group_id: Input[str]
    subnet_group: Input[str]
    parameter_group: Input[str]
    mark: Input[str]
    monitoring_role_arn: Input[str] | None


def _source(restore: str, former: rds.Instance | None) -> dict[str, Any]:
    """Where an instance's data comes from: a time of the former one, or a snapshot."""
    if not is_restore_time(restore):
        return {"snapshot_identifier": restore}
    # Without the former AWS refuses to make it: it never becomes an empty one.
    known = {"source_db_instance_identifier": former.identifier} if former else {}
    return {"restore_to_point_in_time": {"restore_time": restore, **known}}
