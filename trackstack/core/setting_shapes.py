"""What a single setting may look like; rules over several of them are in ``setting_rules``.

A validator raises ValueError with the rest of a sentence that begins with the key: what is wrong,
and after the semicolon what would be right.
"""

import re
from datetime import datetime
from ipaddress import IPv4Network
from typing import Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from trackstack.core import ci, database, subnets
from trackstack.core.experiments import Declared
from trackstack.core.naming import Standard

IMAGE_RIGHT = "write the image by digest: registry/repository@sha256:<64 hexadecimal digits>"
RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""What CloudWatch Logs accepts (PutRetentionPolicy)."""
MONITORING_SECONDS = (0, 1, 5, 10, 15, 30, 60)
"""What RDS accepts as MonitoringInterval; 0 is none."""
PRIVATE_RANGES = tuple(
    IPv4Network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
TAG_KEY_LENGTH = 128
TAG_VALUE_LENGTH = 256


def is_present(value: Any) -> bool:
    """Whether a secret was given: its text is dropped here."""
    return bool(value)


def between(low: int, high: int, because: str = "") -> AfterValidator:
    """A number from low to high; ``because`` is the limit's reason."""

    def check(value: int) -> int:
        if not low <= value <= high:
            reason = f", as {because}" if because else ""
            msg = f"{value} is out of bounds{reason}; write a number from {low} to {high}."
            raise ValueError(msg)
        return value

    return AfterValidator(check)


def matching(pattern: str, right: str) -> AfterValidator:
    """An empty text, or one that the pattern matches as a whole."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if value and not compiled.fullmatch(value):
            msg = f"{value!r} is not valid; {right}."
            raise ValueError(msg)
        return value

    return AfterValidator(check)


def each_matching(pattern: str, right: str) -> AfterValidator:
    """A list whose entries all match the pattern."""
    compiled = re.compile(pattern)

    def check(values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not compiled.fullmatch(value):
                msg = f"{value!r} is not valid; {right}."
                raise ValueError(msg)
        return values

    return AfterValidator(check)


def _network(cidr: str) -> IPv4Network:
    try:
        return IPv4Network(cidr)
    except ValueError:
        pass
    try:
        right = str(IPv4Network(cidr, strict=False))
    except ValueError:
        msg = f"{cidr!r} is no IPv4 range; write one such as 10.20.0.0/16."
        raise ValueError(msg) from None
    msg = f"{cidr!r} has bits set beyond its length; write {right}."
    raise ValueError(msg)


def _vpc_cidr(value: str) -> str:
    network = _network(value)
    low, high = subnets.VPC_PREFIX_MIN, subnets.VPC_PREFIX_MAX
    if network.prefixlen > high:
        msg = (
            f"the subnets don't fit in {value}, as a balancer needs a /27 in each zone; "
            f"write a /{high} or larger."
        )
        raise ValueError(msg)
    if network.prefixlen < low:
        msg = f"{value} is larger than AWS's largest VPC; write a /{low} or smaller."
        raise ValueError(msg)
    if not any(network.subnet_of(private) for private in PRIVATE_RANGES):
        msg = (
            f"{value} is a public range, whose owner could not be reached any more; "
            "write a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16."
        )
        raise ValueError(msg)
    return value


def _cidrs(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        _network(value)
    return values


def _https_url(value: str) -> str:
    if not value:
        return value
    right = "write an address such as https://login.example.com/authorize"
    try:
        parts = urlsplit(value)
        valid = parts.scheme == "https" and parts.hostname and not parts.username
    except ValueError:
        valid = False
    if not valid or not re.fullmatch(r"[!-~]+", value) or parts.query or parts.fragment:
        msg = f"{shown(value)} is no https address without a query; {right}."
        raise ValueError(msg)
    return value


def _oidc_scope(value: str) -> str:
    if "openid" not in value.split() or not re.fullmatch(r"[!-~]+( [!-~]+)*", value):
        msg = f"{value!r} is no list of scopes with openid; write such as openid email."
        raise ValueError(msg)
    return value


def _bucket(value: str) -> str:
    wrong = value and (
        not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", value)
        or value.startswith(("xn--", "sthree-", "amzn-s3-demo-"))
        or value.endswith(("-s3alias", "--ol-s3", "--x-s3", "--table-s3"))
    )
    if wrong:
        msg = (
            f"{value!r} is no bucket name; write 3 to 63 lowercase letters, digits and hyphens, "
            "without S3's reserved beginnings and endings."
        )
        raise ValueError(msg)
    return value


def _endpoint(value: str) -> str:
    if not value:
        return value
    right = "write the server's address alone, such as https://minio.example.com:9000"
    try:
        parts = urlsplit(value)
        bare = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        bare = ""
    if not bare or parts.scheme not in {"http", "https"} or bare != value.lower():
        msg = f"{shown(value)} is not valid; {right}."
        raise ValueError(msg)
    return value


def _issuer(value: str) -> str:
    if not ci.is_plain_url(value):
        msg = (
            f"{shown(value)} is not valid; write GitLab's address alone, such as "
            "https://gitlab.example.com."
        )
        raise ValueError(msg)
    return value


def shown(url: str) -> str:
    """The URL in quotes, without a password that somebody wrote into it."""
    return repr(re.sub(r"//[^/@]*@", "//…@", url))


def _tags(values: dict[str, str]) -> dict[str, str]:
    for key, value in values.items():
        if not 0 < len(key) <= TAG_KEY_LENGTH or key.lower().startswith("aws:"):
            msg = f"{key!r} is no tag key; write 1 to 128 characters that don't begin with aws:."
            raise ValueError(msg)
        _tag_value(value)
    return values


def _tag_value(value: str) -> str:
    if len(value) > TAG_VALUE_LENGTH or not re.fullmatch(r"[\w\s.:/=+\-@]*", value):
        msg = (
            f"{value!r} is no tag value; write at most 256 letters, digits, spaces "
            "and any of . : / = + - @ _."
        )
        raise ValueError(msg)
    return value


def _instance_class(value: str) -> str:
    if value not in database.MEMORY_GIB:
        families = sorted({name.rpartition(".")[0] for name in database.MEMORY_GIB})
        msg = (
            f"{value!r} is not among the known instance classes; write one such as db.t4g.micro, "
            f"of the families {', '.join(families)}."
        )
        raise ValueError(msg)
    return value


def _retention(value: int) -> int:
    if value not in RETENTION_DAYS:
        nearest = min(RETENTION_DAYS, key=lambda days: (abs(days - value), days))
        msg = f"CloudWatch does not offer {value} days; write {nearest}, the nearest it does."
        raise ValueError(msg)
    return value


def _image(value: str) -> str:
    if value and not re.fullmatch(r"[\w.:/-]+@sha256:[0-9a-f]{64}", value):
        msg = f"{value!r} may change under a running stack; {IMAGE_RIGHT}."
        raise ValueError(msg)
    return value


def _prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", value):
        msg = f"{value!r} is no prefix; write one without a slash at either end, such as runs."
        raise ValueError(msg)
    return value


def _monitoring(value: int) -> int:
    if value not in MONITORING_SECONDS:
        known = ", ".join(map(str, MONITORING_SECONDS[:-1]))
        msg = f"RDS does not offer {value} seconds; write {known} or {MONITORING_SECONDS[-1]}."
        raise ValueError(msg)
    return value


def _restores(values: tuple[str, ...]) -> tuple[str, ...]:
    right = "write a UTC time such as 2026-11-20T10:00:00Z, or a snapshot's name or ARN"
    for value in values:
        if database.is_restore_time(value):
            try:
                datetime.fromisoformat(value)
                continue
            except ValueError:
                pass
        elif re.fullmatch(_SNAPSHOT, value):
            continue
        msg = f"{value!r} is neither a time nor a snapshot; {right}."
        raise ValueError(msg)
    return values


def _experiments(values: dict[str, Any]) -> dict[str, Declared]:
    return {name: Declared.from_config(name, value) for name, value in values.items()}


def _name_pattern(value: str) -> str:
    if value:
        Standard(value)
    return value


_SNAPSHOT = (
    r"(arn:aws[a-z-]*:rds:[a-z0-9-]+:\d{12}:snapshot:)?(rds:)?[a-zA-Z](-?[a-zA-Z0-9]){0,254}"
)
REGION = matching(r"[a-z]{2}(-[a-z]+)+-\d", "write a region's code, such as eu-central-1")
ACCOUNT_IDS = each_matching(r"\d{12}", "write an account's 12 digits in quotes")
ROLE_ARN = matching(
    r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+",
    "write a role's ARN, such as arn:aws:iam::123456789012:role/deployer",
)
POLICY_ARN = matching(
    r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/[\w+=,.@/-]+",
    "write a policy's ARN, such as arn:aws:iam::123456789012:policy/boundary",
)
CERTIFICATE_ARN = matching(
    r"arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[\w-]+",
    "write the certificate's ARN, such as arn:aws:acm:us-east-1:123456789012:certificate/…",
)
EMAILS = each_matching(
    r"[\w.+-]+@([\w-]+\.)+[a-zA-Z]{2,}", "write an e-mail address, such as ml-platform@example.com"
)
GITHUB_REPOSITORIES = each_matching(
    ci.GITHUB_SUBJECT,
    "write one repository and branch as GitHub's sub claim does after repo:, such as "
    "org/repo:ref:refs/heads/main or org/repo:environment:prod, without wildcards",
)
GITLAB_PROJECTS = each_matching(
    ci.GITLAB_SUBJECT,
    "write one project and branch as GitLab's sub claim does after project_path:, such as "
    "group/project:ref_type:branch:ref:main, without wildcards",
)
OIDC_PROVIDER_ARN = matching(
    r"arn:aws[a-z-]*:iam::\d{12}:oidc-provider/[\w.:/-]+",
    "write the provider's ARN, such as "
    "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com",
)
KEY_ARN = matching(
    r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+",
    "write a key's ARN, such as arn:aws:kms:us-east-1:123456789012:key/…, not its alias",
)
VPC_ID = matching(r"vpc-[0-9a-f]{8,17}", "write a VPC's id, such as vpc-0123456789abcdef0")
SUBNET_IDS = each_matching(
    r"subnet-[0-9a-f]{8,17}", "write subnets' ids, such as subnet-0123456789abcdef0"
)
DOMAIN = matching(
    r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])",
    "write a lowercase host name without https://, such as mlflow.example.com",
)
REVISION = matching(
    r"[0-9a-f]{12}", "write the 12 hexadecimal digits that the migration's log names"
)
TAG_VALUE = AfterValidator(_tag_value)
TAGS = AfterValidator(_tags)
OIDC_CLIENT_ID = matching(r"[!-~]{1,255}", "write the client's id as the provider shows it")
OIDC_SCOPE = AfterValidator(_oidc_scope)
HTTPS_URL = AfterValidator(_https_url)
EMAIL_DOMAINS = each_matching(
    r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}",
    "write lowercase domains without an @, such as example.com",
)
VPC_CIDR = AfterValidator(_vpc_cidr)
CIDRS = AfterValidator(_cidrs)
BUCKET = AfterValidator(_bucket)
ENDPOINT = AfterValidator(_endpoint)
ISSUER = AfterValidator(_issuer)
PREFIX = AfterValidator(_prefix)
INSTANCE_CLASS = AfterValidator(_instance_class)
RETENTION = AfterValidator(_retention)
IMAGE = AfterValidator(_image)
MONITORING = AfterValidator(_monitoring)
RESTORES = AfterValidator(_restores)
EXPERIMENTS = BeforeValidator(_experiments)
NAME_PATTERN = AfterValidator(_name_pattern)
