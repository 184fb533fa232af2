"""The platform of one stack: the only place that looks things up and wires components."""

from urllib.parse import urlsplit

import pulumi
import pulumi_aws
from pulumi import Input, InvokeOptions, Output, ResourceOptions
from pulumi_aws import ec2, ecr, route53

from components.artifact_replication import ArtifactReplication
from components.artifact_store import ArtifactStore, ArtifactStoreArgs
from components.backend_store import BackendStore, BackendStoreArgs
from components.budget import Budget
from components.ci_access import CiAccess, CiAccessArgs
from components.client_access import ClientAccess, ClientAccessArgs
from components.credentials import Credentials
from components.encryption_key import EncryptionKey
from components.front_door import FrontDoor, FrontDoorArgs, SignInArgs
from components.image_repository import ImageRepository
from components.log_bucket import LogBucket
from components.network import Network, NetworkArgs
from components.observability import Observability, ObservabilityArgs
from components.tracking_server import (
    AccessArgs,
    ArtifactsAtArgs,
    TrackingServer,
    TrackingServerArgs,
)
from components.tunnel import Tunnel, TunnelArgs
from components.web_firewall import WebFirewall
from infra import image
from trackstack.core.containers import ARTIFACTS, TRACKING
from trackstack.core.outputs import OUTPUT_NAMES
from trackstack.core.settings import Settings

NAME = "mlflow"
LOG_GROUPS = (
    f"{NAME}-*",
    f"/aws/rds/instance/{NAME}-*",
    f"/aws/ecs/containerinsights/{NAME}-*",
    f"aws-waf-logs-{NAME}-*",
)
"""The stack's log groups: named by itself, or by AWS after its instance, cluster and firewall."""


class Platform:
    """Everything a stack consists of, declared; ``export`` hands out what it promises."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        provider = _provider(settings)
        self._look_up = InvokeOptions(provider=provider)
        opts = self._opts = ResourceOptions(providers=[provider])

        self._account_id = pulumi_aws.get_caller_identity_output(opts=self._look_up).account_id
        self.kms_key_arn: Input[str] = ""
        if settings.customer_key:
            key = EncryptionKey(
                f"{NAME}-encryption",
                {
                    "region": settings.region,
                    "account_id": self._account_id,
                    "log_groups": list(LOG_GROUPS),
                    "topics": [f"{NAME}-*"],
                    "expendable": settings.expendable,
                },
                opts,
            )
            self.kms_key_arn = key.key_arn
        self.logs = LogBucket(
            f"{NAME}-logs",
            {
                "region": settings.region,
                "account_id": self._account_id,
                "access_log_days": settings.access_log_days,
                "expendable": settings.expendable,
            },
            opts,
        )
        self.artifacts = ArtifactStore(f"{NAME}-artifacts", self._artifact_store(), opts)
        if settings.artifact_replica_region:
            self._replicate(opts)
        self.network = Network(f"{NAME}-network", self._network(), opts)
        self.backend = BackendStore(f"{NAME}-backend", self._backend_store(), opts)
        self.credentials: Credentials | None = None
        if settings.access != "none":
            self.credentials = Credentials(
                f"{NAME}-credentials",
                {
                    "serial": settings.admin_password_serial,
                    "kms_key_arn": self.kms_key_arn,
                    "expendable": settings.expendable,
                },
                opts,
            )
        # A load balancer's name may have 32 characters.
        self.door = FrontDoor(f"{NAME}-door", self._front_door(), opts)
        if settings.waf:
            WebFirewall(
                f"{NAME}-firewall",
                {
                    "balancer_arn": self.door.balancer_arn,
                    "log_retention_days": settings.log_retention_days,
                    "kms_key_arn": self.kms_key_arn,
                },
                opts,
            )
        self._image = self._given_or_built()
        self.server = TrackingServer(f"{NAME}-server", self._tracking_server(), opts)
        self.tunnel: Output[dict[str, str]] = Output.from_input({})
        if settings.tunnel:
            self.tunnel = Tunnel(f"{NAME}-tunnel", self._tunnel(), opts).facts
        self.client_environment = Output.all(MLFLOW_TRACKING_URI=self.door.url)
        clients: ClientAccessArgs = {
            "environment": self.client_environment,
            "certificate_pem": self.door.certificate_pem,
            "tunnel": self.tunnel,
        }
        if self.credentials:
            clients["credentials_secret_arn"] = self.credentials.client_secret_arn
        self.clients = ClientAccess(f"{NAME}-clients", clients, opts)

        self.watch = Observability(f"{NAME}-watch", self._observability(), opts)
        if settings.monthly_budget_usd:
            Budget(
                f"{NAME}-budget",
                {
                    "monthly_usd": settings.monthly_budget_usd,
                    "emails": list(settings.alarm_emails),
                },
                opts,
            )
        self.ci_snippets: Output[dict[str, str]] = Output.from_input({})
        if settings.github_repositories or settings.gitlab_projects:
            self.ci_snippets = CiAccess(f"{NAME}-ci", self._ci_access(), opts).snippets

    def export(self) -> None:
        """Export the stack's outputs, in their order."""
        values: dict[str, object] = {
            "tracking_uri": self.door.url,
            "tracking_certificate": self.door.certificate_pem,
            "artifact_destination": self.artifacts.destination,
            "artifact_bucket": self.artifacts.bucket,
            "backend_endpoint": self.backend.endpoint,
            "backend_secret_arn": self.backend.master_secret_arn,
            "cluster": self.server.cluster_name,
            "services": self.server.service_names,
            "log_group": self.server.log_group_name,
            "client_environment": self.client_environment,
            "ci_snippets": self.ci_snippets,
            "tunnel": self.tunnel,
            "client_secret_arn": self.credentials.client_secret_arn if self.credentials else "",
            "admin_secret_arn": self.credentials.admin_secret_arn if self.credentials else "",
        }
        for name in OUTPUT_NAMES:
            pulumi.export(name, values[name])

    def _replicate(self, opts: ResourceOptions) -> None:
        """Copy every artifact to a bucket of the second region, with a key of that region."""
        s = self._settings
        region = s.artifact_replica_region
        there = ResourceOptions(providers=[_provider(s, "aws-replica", region)])
        key: Input[str] = ""
        if s.customer_key:
            key = EncryptionKey(
                f"{NAME}-replica-encryption",
                {
                    "region": region,
                    "account_id": self._account_id,
                    "expendable": s.expendable,
                },
                there,
            ).key_arn
        replica = ArtifactStore(
            f"{NAME}-replica",
            {
                "region": region,
                "prefix": s.artifact_prefix,
                "noncurrent_days": s.artifact_noncurrent_days,
                "tiering_days": s.artifact_tiering_days,
                "kms_key_arn": key,
                "expendable": s.expendable,
            },
            there,
        )
        ArtifactReplication(
            f"{NAME}-replication",
            {
                "bucket": self.artifacts.bucket,
                "bucket_arn": self.artifacts.bucket_arn,
                "replica_arn": replica.bucket_arn,
                "kms_key_arn": self.kms_key_arn,
                "replica_kms_key_arn": key,
                "permissions_boundary": s.permissions_boundary,
            },
            opts,
        )

    def _network(self) -> NetworkArgs:
        s = self._settings
        if s.vpc_id:
            return {
                "region": s.region,
                "egress": s.egress,
                "existing": {
                    "vpc_id": s.vpc_id,
                    "public_subnet_ids": list(s.public_subnet_ids),
                    "private_subnet_ids": list(s.private_subnet_ids),
                },
            }
        zones = pulumi_aws.get_availability_zones_output(
            state="available",
            # Without local zones, which hold no database.
            filters=[{"name": "opt-in-status", "values": ["opt-in-not-required"]}],
            opts=self._look_up,
        ).names
        args: NetworkArgs = {
            "region": s.region,
            "egress": s.egress,
            "cidr": s.vpc_cidr,
            "zones": [zones[index] for index in range(s.zones)],
            "artifact_bucket_arn": self.artifacts.bucket_arn,
        }
        if s.flow_logs:
            args["log_bucket_arn"] = self.logs.bucket_arn
        return args

    def _backend_store(self) -> BackendStoreArgs:
        s = self._settings
        args: BackendStoreArgs = {
            "vpc_id": self.network.vpc_id,
            "subnet_ids": self.network.private_subnet_ids,
            "postgres_major": s.postgres_major,
            "instance_class": s.database_instance_class,
            "storage_gib": s.database_storage_gib,
            "max_storage_gib": s.database_max_storage_gib,
            "multi_az": s.database_multi_az,
            "backup_days": s.database_backup_days,
            "allow_major_upgrade": s.allow_major_upgrade,
            "log_retention_days": s.log_retention_days,
            "restores": list(s.database_restores),
            "keep_former": s.keep_former_database,
            "kms_key_arn": self.kms_key_arn,
            "expendable": s.expendable,
        }
        if s.database_monitoring_seconds:
            args["monitoring"] = {
                "seconds": s.database_monitoring_seconds,
                "region": s.region,
                "account_id": self._account_id,
                "permissions_boundary": s.permissions_boundary,
            }
        return args

    def _front_door(self) -> FrontDoorArgs:
        s = self._settings
        args: FrontDoorArgs = {
            "vpc_id": self.network.vpc_id,
            "subnet_ids": self.network.private_subnet_ids
            if s.internal
            else self.network.public_subnet_ids,
            "allowed_cidrs": list(s.allowed_cidrs) or [self._vpc_cidr()],
            "tls": s.tls,
            "internal": s.internal,
            "domain": s.domain,
            "certificate_arn": s.certificate_arn,
            "separate_artifacts": s.artifacts == "separate",
            "largest_artifact_minutes": s.largest_artifact_minutes,
            "expendable": s.expendable,
        }
        if s.access_logs:
            args["log_bucket"] = self.logs.bucket
        if s.access == "oidc":
            sign_in: SignInArgs = {
                "issuer": s.oidc_issuer,
                "client_id": s.oidc_client_id,
                "client_secret": pulumi.Config().require_secret("oidc_client_secret"),
                "authorization_endpoint": s.oidc_authorization_endpoint,
                "token_endpoint": s.oidc_token_endpoint,
                "user_info_endpoint": s.oidc_user_info_endpoint,
                "scope": s.oidc_scope,
            }
            args["sign_in"] = sign_in
        if s.hosted_zone:
            zone = route53.get_zone_output(name=s.hosted_zone, opts=self._look_up)
            args["zone_id"] = zone.zone_id
        return args

    def _tunnel(self) -> TunnelArgs:
        s = self._settings
        return {
            "region": s.region,
            "account_id": self._account_id,
            "vpc_id": self.network.vpc_id,
            "subnet_ids": self.network.task_subnet_ids,
            "assign_public_ip": self.network.assign_public_ip,
            "cluster_name": self.server.cluster_name,
            "log_group_name": self.server.log_group_name,
            "image": self._image,
            "architecture": s.architecture,
            "balancer_name": self.door.dns_name,
            "balancer_group_id": self.door.security_group_id,
            "port": 80 if s.tls == "plaintext" else 443,
            "permissions_boundary": s.permissions_boundary,
        }

    def _vpc_cidr(self) -> str:
        if self._settings.vpc_id:
            vpc = ec2.get_vpc(id=self._settings.vpc_id, opts=self._look_up)
            return str(vpc.cidr_block)
        return self._settings.vpc_cidr

    def _given_or_built(self) -> Input[str]:
        """The image that was given, or the one that the stack builds."""
        s = self._settings
        if s.image:
            return s.image
        login = ecr.get_authorization_token_output(opts=self._look_up)
        repository = ImageRepository(
            f"{NAME}-server-image",
            {
                "context": image.CONTEXT,
                "content": image.content(s.architecture),
                "login": {
                    "user_name": login.user_name,
                    "password": Output.secret(login.password),
                },
                "architecture": s.architecture,
                "kms_key_arn": self.kms_key_arn,
                "expendable": s.expendable,
            },
            self._opts,
        )
        return repository.image

    def _tracking_server(self) -> TrackingServerArgs:
        s = self._settings
        artifacts_at: ArtifactsAtArgs = {
            "destination": self.artifacts.destination,
            "prefix": s.artifact_prefix,
        }
        if s.artifact_endpoint:
            parts = urlsplit(s.artifact_endpoint)
            artifacts_at["endpoint_url"] = self.artifacts.endpoint_url
            artifacts_at["endpoint_port"] = parts.port or {"http": 80, "https": 443}[parts.scheme]
            artifacts_at["credentials_secret_arn"] = self.artifacts.credentials_secret_arn
        else:
            artifacts_at["bucket_arn"] = self.artifacts.bucket_arn
            artifacts_at["kms_key_arn"] = (
                s.artifact_kms_key_arn if s.artifact_bucket else self.kms_key_arn
            )
        args: TrackingServerArgs = {
            "image": self._image,
            "placement": {
                "region": s.region,
                "account_id": self._account_id,
                "vpc_id": self.network.vpc_id,
                "subnet_ids": self.network.task_subnet_ids,
                "assign_public_ip": self.network.assign_public_ip,
            },
            "entrance": {
                "url": self.door.url,
                "host": self.door.host,
                "target_group_arns": self.door.target_group_arns,
                "security_group_id": self.door.security_group_id,
                "balancer_arn": self.door.balancer_arn,
            },
            "artifacts_at": artifacts_at,
            "database_at": {
                "address": self.backend.address,
                "port": self.backend.port,
                "name": self.backend.database,
                "resource_id": self.backend.resource_id,
                "master_secret_arn": self.backend.master_secret_arn,
                "security_group_id": self.backend.security_group_id,
            },
            "tracking": {
                "tasks": s.tracking_tasks,
                "tasks_max": s.tracking_tasks_max,
                "cpu": s.tracking_cpu,
                "memory_mib": s.tracking_memory_mib,
                "workers": s.workers,
            },
            "architecture": s.architecture,
            "largest_artifact_gib": s.largest_artifact_gib,
            "largest_artifact_minutes": s.largest_artifact_minutes,
            "allow_schema_upgrade": s.allow_schema_upgrade,
            "log_retention_days": s.log_retention_days,
            "deleted_runs_days": s.deleted_runs_days,
            "spot": s.spot,
            "allow_exec": s.allow_exec,
            "wait_for_steady_state": s.wait_for_steady_state,
            "container_insights": s.container_insights,
            "kms_key_arn": self.kms_key_arn,
            "permissions_boundary": s.permissions_boundary,
        }
        if self.credentials:
            args["access"] = self._access(self.credentials)
        if s.artifacts == "separate":
            args["artifacts"] = {
                "tasks": s.artifacts_tasks,
                "tasks_max": s.artifacts_tasks_max,
                "cpu": s.artifacts_cpu,
                "memory_mib": s.artifacts_memory_mib,
                "workers": s.workers,
            }
        return args

    def _access(self, credentials: Credentials) -> AccessArgs:
        s = self._settings
        args: AccessArgs = {
            "default_permission": s.default_permission,
            "admin_secret_arn": credentials.admin_secret_arn,
            "client_secret_arn": credentials.client_secret_arn,
            "session_secret_arn": credentials.session_secret_arn,
        }
        if s.access == "oidc":
            args["oidc"] = {
                "signer": self.door.balancer_arn,
                "issuer": s.oidc_issuer,
                "client_id": s.oidc_client_id,
                "user_claim": s.oidc_user_claim,
                "email_domains": list(s.oidc_email_domains),
            }
        return args

    def _artifact_store(self) -> ArtifactStoreArgs:
        s = self._settings
        args: ArtifactStoreArgs = {
            "region": s.region,
            "prefix": s.artifact_prefix,
            "noncurrent_days": s.artifact_noncurrent_days,
            "tiering_days": s.artifact_tiering_days,
            "existing_bucket": s.artifact_bucket,
            "kms_key_arn": self.kms_key_arn,
            "expendable": s.expendable,
        }
        if s.access_logs:
            args["log_bucket"] = self.logs.bucket
        if s.artifact_endpoint:
            config = pulumi.Config()
            args["endpoint"] = {
                "url": s.artifact_endpoint,
                "access_key_id": config.require_secret("artifact_access_key_id"),
                "secret_access_key": config.require_secret("artifact_secret_access_key"),
            }
        return args

    def _observability(self) -> ObservabilityArgs:
        s = self._settings
        args: ObservabilityArgs = {
            "region": s.region,
            "account_id": pulumi_aws.get_caller_identity_output(opts=self._look_up).account_id,
            "servers": {
                "roles": [TRACKING, ARTIFACTS] if s.artifacts == "separate" else [TRACKING],
                "balancer_arn": self.door.balancer_arn,
                "target_group_arns": self.door.target_group_arns,
                "cluster_name": self.server.cluster_name,
                "service_names": self.server.service_names,
                "log_group_name": self.server.log_group_name,
            },
            "database": {
                "identifier": self.backend.identifier,
                "instance_class": s.database_instance_class,
                "storage_gib": s.database_storage_gib,
            },
            "alarms": s.alarms,
            "kms_key_arn": self.kms_key_arn,
            "alarm_emails": list(s.alarm_emails),
        }
        if s.tls != "plaintext":
            args["servers"]["certificate_arn"] = self.door.certificate_arn
        if not s.artifact_endpoint:
            args["bucket"] = self.artifacts.bucket
        return args

    def _ci_access(self) -> CiAccessArgs:
        s = self._settings
        args: CiAccessArgs = {
            "region": s.region,
            "parameter_name": self.clients.parameter_name,
            "parameter_arn": self.clients.parameter_arn,
            "github_repositories": list(s.github_repositories),
            "github_oidc_provider_arn": s.github_oidc_provider_arn,
            "gitlab_projects": list(s.gitlab_projects),
            "gitlab_oidc_provider_arn": s.gitlab_oidc_provider_arn,
            "gitlab_url": s.gitlab_url,
            "kms_key_arn": self.kms_key_arn,
            "permissions_boundary": s.permissions_boundary,
        }
        # Where the platform has users, the one secret of the user for jobs.
        if self.credentials:
            args["secret_arns"] = Output.all(self.credentials.client_secret_arn)
        return args


def _provider(s: Settings, name: str = "aws", region: str = "") -> pulumi_aws.Provider:
    """The one way to a region; a program that forgot it is refused (disable-default-providers)."""
    tags = {
        "project": pulumi.get_project(),
        "stack": pulumi.get_stack(),
        **({"owner": s.owner} if s.owner else {}),
        **s.tags,
    }
    return pulumi_aws.Provider(
        name,
        region=region or s.region,
        allowed_account_ids=list(s.account_ids) or None,
        assume_roles=[pulumi_aws.ProviderAssumeRoleArgs(role_arn=s.assume_role)]
        if s.assume_role
        else None,
        default_tags={"tags": tags},
    )
