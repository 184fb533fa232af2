"""What a stack file may say, and what it means when it says nothing.

The one home of the settings: ``Pulumi.yaml`` declares the same keys (a test compares them) and
``infra`` hands the values on. Secret values never come in here; a secret key is only known to be
present or not.
"""

import difflib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from trackstack.core import setting_shapes as shapes
from trackstack.core.experiments import Declared
from trackstack.core.setting_rules import RULES, stack_name_sentences

Present = Annotated[bool, BeforeValidator(shapes.is_present), "secret"]
"""A secret key: true when the stack file holds a value for it."""


class SettingsError(ValueError):
    """Everything that is wrong with a stack file, one sentence each."""

    sentences: tuple[str, ...]

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("\n".join(self.sentences))


class Settings(BaseModel):
    """A whole stack file, checked; build it with ``from_config``, which applies all the rules."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    region: Annotated[str, shapes.REGION] = "us-east-1"
    """AWS region of everything in the stack."""
    account_ids: Annotated[tuple[str, ...], shapes.ACCOUNT_IDS] = ()
    """AWS accounts that the stack may be deployed to. Default: the one of the credentials."""
    assume_role: Annotated[str, shapes.ROLE_ARN] = ""
    """ARN of the role that deploys. Default: the credentials themselves."""
    permissions_boundary: Annotated[str, shapes.POLICY_ARN] = ""
    """ARN of the policy that bounds every role of the stack. Default: none."""
    owner: Annotated[str, shapes.TAG_VALUE] = ""
    """Who answers for the stack; the tag `owner` of every resource. Default: no such tag."""
    tags: Annotated[dict[str, str], shapes.TAGS] = Field(default_factory=dict)
    """Further tags of every resource."""

    vpc_cidr: Annotated[str, shapes.VPC_CIDR] = "10.20.0.0/16"
    """Private IPv4 range of the stack's own VPC, /16 to /24."""
    zones: Annotated[int, shapes.between(2, 4, "RDS and the balancer each need 2 zones")] = 2
    """Availability zones that the stack's own VPC spans, 2 to 4."""
    egress: Literal["public", "nat", "nat_per_zone"] = "public"
    """How tasks get out: `public` addresses that nothing can connect to, one `nat` gateway, or
    `nat_per_zone`."""
    vpc_id: Annotated[str, shapes.VPC_ID] = ""
    """An existing VPC to use. Default: the stack makes its own."""
    public_subnet_ids: Annotated[tuple[str, ...], shapes.SUBNET_IDS] = ()
    """Public subnets of the existing VPC, in two zones or more."""
    private_subnet_ids: Annotated[tuple[str, ...], shapes.SUBNET_IDS] = ()
    """Private subnets of the existing VPC, in two zones or more."""
    flow_logs: bool = False
    """Whether each connection in the stack's own VPC is noted in the log bucket."""

    internal: bool = True
    """Whether the balancer is reachable from inside the VPC only."""
    tls: Literal["domain", "certificate", "generated", "plaintext"] = "generated"
    """Where the certificate comes from: issued for a `domain`, a given `certificate`, `generated`
    and handed to clients, or none (`plaintext`, inside only)."""
    domain: Annotated[str, shapes.DOMAIN] = ""
    """Host name of the platform, such as mlflow.example.com. Default: the balancer's own."""
    hosted_zone: Annotated[str, shapes.DOMAIN] = ""
    """Route 53 zone that the domain's records are written to, such as example.com."""
    certificate_arn: Annotated[str, shapes.CERTIFICATE_ARN] = ""
    """ARN of the ACM certificate, with `tls: certificate`."""
    allowed_cidrs: Annotated[tuple[str, ...], shapes.CIDRS] = ()
    """IPv4 ranges that may connect to the balancer. Default: the VPC's own, if it is internal."""
    access_logs: bool = True
    """Whether balancer and buckets log each request into the stack's log bucket."""
    access_log_days: Annotated[int, shapes.between(1, 3650)] = 90
    """Days that access logs and flow logs are kept."""
    waf: bool = False
    """Whether AWS's managed firewall rules stand before the balancer, save those MLflow trips."""
    tunnel: bool = False
    """Whether `trackstack tunnel` may lead to the balancer; it costs nothing while unused."""

    access: Literal["none", "basic", "oidc"] = "none"
    """Who may use the platform: whoever reaches it (`none`), users with a password (`basic`), or
    besides them everybody whom an identity provider signs in (`oidc`)."""
    default_permission: Literal["read", "edit", "manage", "none"] = "edit"
    """What users may do with experiments and models of others: `read`, `edit` (log, but not
    delete), `manage` or `none`."""
    admin_password_serial: Annotated[int, shapes.between(0, 9999)] = 0
    """Another number makes new passwords for the stack's own users, the admin and the client."""
    oidc_issuer: Annotated[str, shapes.HTTPS_URL] = ""
    """The identity provider's issuer, as its discovery document spells it."""
    oidc_client_id: Annotated[str, shapes.OIDC_CLIENT_ID] = ""
    """What the identity provider calls this platform."""
    oidc_client_secret: Present = False
    """The secret that belongs to `oidc_client_id`; a secret."""
    oidc_authorization_endpoint: Annotated[str, shapes.HTTPS_URL] = ""
    """Where the identity provider signs people in."""
    oidc_token_endpoint: Annotated[str, shapes.HTTPS_URL] = ""
    """Where the balancer gets tokens."""
    oidc_user_info_endpoint: Annotated[str, shapes.HTTPS_URL] = ""
    """Where the balancer asks who somebody is."""
    oidc_scope: Annotated[str, shapes.OIDC_SCOPE] = "openid email"
    """What the balancer asks the identity provider for."""
    oidc_user_claim: Literal["email", "sub"] = "email"
    """The claim that names the user; people may choose others, such as a nickname, themselves."""
    oidc_email_domains: Annotated[tuple[str, ...], shapes.EMAIL_DOMAINS] = ()
    """Domains whose people may enter. Default: everybody whom the identity provider signs in."""

    artifacts: Literal["separate", "together"] = "separate"
    """Whether artifacts have a service of their own or travel through the tracking service."""
    artifact_bucket: Annotated[str, shapes.BUCKET] = ""
    """An existing bucket to keep artifacts in; its encryption, versions, policy, lifecycle and log
    are its owner's. Default: the stack makes its own."""
    artifact_endpoint: Annotated[str, shapes.ENDPOINT] = ""
    """URL of an S3-compatible server, such as MinIO, that holds `artifact_bucket`. Default: S3."""
    artifact_access_key_id: Present = False
    """Access key for `artifact_endpoint`; a secret."""
    artifact_secret_access_key: Present = False
    """Secret key for `artifact_endpoint`; a secret."""
    artifact_prefix: Annotated[str, shapes.PREFIX] = "runs"
    """Where in the bucket artifacts lie."""
    artifact_noncurrent_days: Annotated[int, shapes.between(1, 3650)] = 30
    """Days that an overwritten or deleted artifact can still be brought back."""
    artifact_tiering_days: Annotated[int, shapes.between(0, 3650)] = 0
    """Days after which S3 bills an artifact by how often it is read. 0: never."""
    artifact_replica_region: Annotated[str, shapes.REGION] = ""
    """A second region that every new artifact is copied to. Default: none."""
    artifact_kms_key_arn: Annotated[str, shapes.KEY_ARN] = ""
    """ARN of the KMS key that an existing artifact_bucket is encrypted with. Default: S3's own."""
    largest_artifact_gib: Annotated[
        int, shapes.between(1, 90, "a task's disk is 20 GiB and twice the largest artifact")
    ] = 5
    """Size of the largest artifact; a task's disk holds two of them, and Fargate's limit is 200
    GiB."""
    largest_artifact_minutes: Annotated[
        int, shapes.between(1, 66, "a balancer waits 4,000 seconds at most")
    ] = 10
    """Minutes that the largest artifact travels; every timeout follows from it."""

    postgres_major: Annotated[int, shapes.between(14, 18, "RDS and MLflow support no other")] = 18
    """Major version of PostgreSQL; AWS applies the minor ones."""
    database_instance_class: Annotated[str, shapes.INSTANCE_CLASS] = "db.t4g.micro"
    """RDS instance class."""
    database_storage_gib: Annotated[int, shapes.between(20, 65536, "gp3 volumes begin at 20")] = 20
    """Size of the database's disk."""
    database_max_storage_gib: Annotated[
        int, shapes.between(0, 65536, "gp3 volumes end at 65,536")
    ] = 100
    """Size that the disk grows to by itself when it is nearly full. 0: it stays as it is."""
    database_multi_az: bool = False
    """Whether a standby in a second zone takes over when the first fails."""
    database_backup_days: Annotated[
        int, shapes.between(1, 35, "runs could not be restored without a backup")
    ] = 7
    """Days that the database can be restored to any point of."""

    database_monitoring_seconds: Annotated[int, shapes.MONITORING] = 0
    """Time between metrics of the system below the database: 1, 5, 10, 15, 30 or 60. 0: none."""
    database_restores: Annotated[tuple[str, ...], shapes.RESTORES] = ()
    """What the database was restored to, one entry each time: a UTC time, such as
    2026-11-20T10:00:00Z, or a snapshot's name or ARN. Each makes an instance from the one before,
    and the servers use the last."""
    keep_former_database: bool = True
    """Whether the instance from before the last restore is kept beside it."""
    allow_major_upgrade: bool = False
    """Whether the next deployment may upgrade the database to another postgres_major, at once and
    with an interruption."""

    image: Annotated[str, shapes.IMAGE] = ""
    """The server's image, by digest: registry/repository@sha256:... Default: the stack builds it,
    with the Docker of who deploys, into a repository of its own."""
    architecture: Literal["arm64", "x86_64"] = "arm64"
    """Processor that the image was built for."""
    tracking_tasks: Annotated[int, shapes.between(1, 50)] = 1
    """Tasks of the tracking service."""
    tracking_tasks_max: Annotated[int, shapes.between(0, 50)] = 0
    """The most tasks that requests and CPU may make of them. Default, 0: the number is fixed."""
    tracking_cpu: int = 512
    """CPU of a tracking task, in 1/1024 vCPU."""
    tracking_memory_mib: int = 1024
    """Memory of a tracking task."""
    artifacts_tasks: Annotated[int, shapes.between(1, 50)] = 1
    """Tasks of the artifacts service."""
    artifacts_tasks_max: Annotated[int, shapes.between(0, 50)] = 0
    """The most tasks that CPU may make of them. Default, 0: the number is fixed."""
    artifacts_cpu: int = 512
    """CPU of an artifacts task, in 1/1024 vCPU."""
    artifacts_memory_mib: int = 1024
    """Memory of an artifacts task."""
    workers: Annotated[int, shapes.between(0, 64)] = 0
    """Worker processes of a task. Default, 0: one for each whole vCPU, and at least one."""
    allow_schema_upgrade: Annotated[str, shapes.REVISION] = ""
    """Alembic revision that the next deployment may migrate a database with runs in it to.
    Default: such a database is left as it is."""
    deleted_runs_days: Annotated[int, shapes.between(0, 3650)] = 0
    """Days after which deleted runs and their artifacts are removed for good. Default, 0: never."""
    log_retention_days: Annotated[int, shapes.RETENTION] = 30
    """Days that CloudWatch keeps the log."""
    spot: bool = False
    """Whether tasks run on Fargate Spot: about 70 % cheaper, and AWS takes them back at two
    minutes' notice."""
    allow_exec: bool = False
    """Whether a shell may be opened in a server's container, by whoever IAM allows it."""
    wait_for_steady_state: bool = True
    """Whether `pulumi up` waits for a rollout, and fails when it was rolled back."""
    container_insights: bool = False
    """Whether CloudWatch Container Insights measures the tasks; its metrics are billed."""

    alarms: bool = False
    """Whether alarms watch the stack; docs/operations.md says what each means and costs."""
    alarm_emails: Annotated[tuple[str, ...], shapes.EMAILS] = ()
    """Addresses that alarms and budget write to; for alarms each confirms by a link."""
    monthly_budget_usd: Annotated[int, shapes.between(0, 1_000_000)] = 0
    """What the stack may cost a month before `alarm_emails` are told. Default, 0: no budget."""

    experiments: Annotated[dict[str, Declared], shapes.EXPERIMENTS] = Field(default_factory=dict)
    """Experiments that `trackstack bootstrap` makes: name to `tags` and `permissions` (user to
    `read`, `edit`, `manage` or `none`). Nothing on AWS depends on them."""
    experiment_name_pattern: Annotated[str, shapes.NAME_PATTERN] = ""
    """The standard of experiments' names, such as `{team}-{model}/v{model_version}`. Default: any
    name is good."""

    github_repositories: Annotated[tuple[str, ...], shapes.GITHUB_REPOSITORIES] = ()
    """GitHub repositories and branches whose jobs may read where to log: what GitHub's `sub` claim
    says after `repo:`, such as org/repo:ref:refs/heads/main."""
    github_oidc_provider_arn: Annotated[str, shapes.OIDC_PROVIDER_ARN] = ""
    """The account's OIDC provider for GitHub; an account has one. Default: the stack makes it."""
    gitlab_projects: Annotated[tuple[str, ...], shapes.GITLAB_PROJECTS] = ()
    """GitLab projects and branches likewise: what GitLab's `sub` claim says after `project_path:`,
    such as group/project:ref_type:branch:ref:main."""
    gitlab_oidc_provider_arn: Annotated[str, shapes.OIDC_PROVIDER_ARN] = ""
    """The account's OIDC provider for this GitLab. Default: the stack makes it."""
    gitlab_url: Annotated[str, shapes.ISSUER] = "https://gitlab.com"
    """Where GitLab is."""

    customer_key: bool = False
    """Whether a KMS key of the stack's own encrypts bucket, database, secrets and logs. A database
    that exists keeps the key it was made with. Default: AWS's keys."""

    expendable: bool = False
    """Whether a destroy may take the runs and models along."""

    @classmethod
    def from_config(
        cls, raw: Mapping[str, str], stack: str, encrypted: Collection[str] | None = None
    ) -> Self:
        """Check the config as Pulumi hands it over; SettingsError tells all that is wrong.

        Args:
            raw: keys without the project's namespace; lists and objects as JSON text.
            stack: the stack's name.
            encrypted: keys whose value is encrypted in the stack file. None: nobody knows.
        """
        values, wrong = cls._parse(raw)
        if encrypted is not None:
            wrong += [
                (key, f"{key}: in the clear; `pulumi config set --secret {key}` encrypts it.")
                for key in values
                if kind_of(key) == "secret" and raw[key] and key not in encrypted
            ]
        unknown = [sentence for key, sentence in wrong if key not in cls.model_fields]
        told = {key: sentence for key, sentence in wrong if key in cls.model_fields}
        while True:
            try:
                settings = cls.model_validate(values)
                break
            except ValidationError as errors:
                for found in errors.errors(include_url=False):
                    key = str(found["loc"][0])
                    values.pop(key, None)
                    told.setdefault(key, f"{key}: {_said(found)}")
        sentences = [*stack_name_sentences(stack), *unknown, *told.values()]
        for rule in RULES:
            if told.keys().isdisjoint(rule.keys):
                sentences += rule.check(settings)
        if sentences:
            raise SettingsError(sentences)
        return settings

    @classmethod
    def _parse(cls, raw: Mapping[str, str]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        values: dict[str, Any] = {}
        wrong: list[tuple[str, str]] = []
        for key, text in raw.items():
            try:
                if key in cls.model_fields:
                    values[key] = _parsed(kind_of(key), text, nested=_is_nested(key))
                else:
                    wrong.append((key, _unknown(key, cls.model_fields)))
            except ValueError as error:
                wrong.append((key, f"{key}: {error}"))
        return values, wrong


Kind = Literal["string", "integer", "boolean", "array", "object", "secret"]


def kind_of(key: str) -> Kind:
    """How ``Pulumi.yaml`` calls the type of a key; KeyError when there is no such key."""
    field = Settings.model_fields[key]
    if "secret" in field.metadata:
        return "secret"
    kinds: dict[Any, Kind] = {int: "integer", bool: "boolean", tuple: "array", dict: "object"}
    hint = field.annotation
    return kinds.get(get_origin(hint) or hint, "string")


def _is_nested(key: str) -> bool:
    """Whether the values of an object are objects themselves."""
    return get_args(Settings.model_fields[key].annotation)[1:] == (Declared,)


def _unknown(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    right = f"did you mean {close[0]}?" if close else "Pulumi.yaml lists the keys there are."
    return f"{key}: there is no such setting; {right}"


def _parsed(kind: Kind, text: str, *, nested: bool) -> Any:
    """The value in a config text; ValueError with the rest of a sentence when it is no such."""
    parse: dict[str, Callable[[str], Any]] = {
        "integer": _integer,
        "boolean": _boolean,
        "array": _array,
        "object": _map if nested else _object,
    }
    return parse.get(kind, str)(text)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        msg = f"{text!r} is not a whole number; write one without quotes or units, such as 2."
        raise ValueError(msg) from None


def _boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        msg = f"{text!r} is neither true nor false; write one of the two."
        raise ValueError(msg)
    return text == "true"


def _array(text: str) -> tuple[str, ...]:
    value = _json(text)
    if not isinstance(value, list) or not all(isinstance(item, str | int) for item in value):
        msg = f"{text!r} is not a list; write one entry a line, each after a dash."
        raise ValueError(msg)
    return tuple(str(item) for item in value)


def _object(text: str) -> dict[str, str]:
    value = _json(text)
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        msg = f"{text!r} is not a map of texts; write one `key: value` a line."
        raise ValueError(msg)
    return value


def _map(text: str) -> dict[str, Any]:
    value = _json(text)
    if not isinstance(value, dict):
        msg = f"{text!r} is not a map; write one `name:` a line, with what belongs to it below."
        raise ValueError(msg)  # noqa: TRY004 - a wrong setting is a ValueError
    return value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def _said(error: Mapping[str, Any]) -> str:
    """The rest of the sentence for what pydantic found."""
    if error["type"] == "literal_error":
        return f"{error['input']!r} is not known; write {error['ctx']['expected']}."
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{error['input']!r} is wrong: {error['msg']}."
