"""What a stack costs a month, from the resources that its program declares.

Never from settings: a resource that nobody thought of would be missing there. Every ``aws:`` type
is either priced, free with a reason, or not priced with a reason; a type that none of the three
tables knows is told as such, and a test of the three stacks has none.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from trackstack.core import fargate, prices, server_metrics
from trackstack.core.prices import HOURS, RDS_HOURLY, price_of
from trackstack.core.usage import READS_PER_FILE, Usage

MIB_PER_GIB = 1024
CPU_PER_VCPU = 1024
DAYS = HOURS / 24
THOUSAND = 1000
MILLION = 1_000_000
CONNECTIONS_PER_LCU_HOUR = 25 * 3600
"""One LCU takes 25 new connections a second or 1 GB an hour; the larger is billed."""
LOG_LINE_GB = 600 / 1e9
"""A line of a balancer's access log: 500 to 700 bytes in AWS's own examples."""
CRON_FIELDS = 6
YEAR_DAYS = 365
FREE_DASHBOARDS = 3
INSIGHTS_FREE_DAYS = 7
MONITORING_RECORD_GB = 10e-6
"""One record of Enhanced Monitoring, 10 kB: an assumption, AWS gives no figure."""


class Resource(Protocol):
    """A declared resource; ``Registered`` of the embedded host is one."""

    @property
    def urn(self) -> str:
        """Its identity in the program."""

    @property
    def type(self) -> str:
        """Its token, such as ``aws:rds/instance:Instance``."""

    @property
    def name(self) -> str:
        """Its name in the program."""

    @property
    def inputs(self) -> Mapping[str, Any]:
        """What was declared; anything else than plain values is unknown or secret."""

    @property
    def property_dependencies(self) -> Mapping[str, tuple[str, ...]]:
        """Input to the URNs that it was made of."""


@dataclass(frozen=True)
class Line:
    """One line of the bill: ``quantity`` units at ``usd_each``."""

    group: str
    """What the line belongs to: Compute, Database, …"""
    what: str
    """What is billed, in words that a changed setting doesn't change."""
    resources: tuple[str, ...]
    """Names of the resources behind it."""
    quantity: float
    """How many units a month."""
    price: str
    """Key of the price."""
    detail: str = ""
    """How the quantity comes about, such as ``2 x 0.5 arm64``."""
    fixed: bool = True
    """False: it follows from use."""
    note: str = ""
    """What the figure alone does not tell."""

    @property
    def label(self) -> str:
        """What is billed, with its detail."""
        return f"{self.what}, {self.detail}" if self.detail else self.what

    @property
    def usd_each(self) -> float:
        """USD a unit."""
        return price_of(self.price).usd

    @property
    def usd(self) -> float:
        """USD a month."""
        return self.quantity * self.usd_each


@dataclass(frozen=True)
class Aside:
    """Resources that make no line, and why."""

    type: str
    names: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Estimate:
    """A stack's monthly bill, line by line."""

    stack: str
    region: str
    usage: Usage
    lines: tuple[Line, ...]
    free: tuple[Aside, ...]
    """Types that cost nothing."""
    unpriced: tuple[Aside, ...]
    """What costs something that is not in the total."""
    unknown: tuple[Aside, ...]
    """Types that no table of this module knows: to be added."""

    @property
    def fixed(self) -> float:
        """USD a month that the stack costs unused."""
        return sum(line.usd for line in self.lines if line.fixed)

    @property
    def used(self) -> float:
        """USD a month that follow from use."""
        return sum(line.usd for line in self.lines if not line.fixed)

    @property
    def total(self) -> float:
        """USD a month."""
        return self.fixed + self.used

    @property
    def groups(self) -> dict[str, float]:
        """Group to USD a month, in the order of the lines."""
        sums: dict[str, float] = defaultdict(float)
        for line in self.lines:
            sums[line.group] += line.usd
        return dict(sums)

    @property
    def one_line(self) -> str:
        """The estimate in a line, as a preview shows it."""
        more = " at least" if self.unpriced or self.unknown else ""
        return (
            f"about ${self.total:,.2f} a month{more} (${self.fixed:,.2f} fixed,"
            f" ${self.used:,.2f} for {self.usage.runs:,} runs; {prices.REGION} list prices)"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for scripts; amounts rounded to hundredths of a cent."""
        return {
            "stack": self.stack,
            "region": self.region,
            "prices": {"region": prices.REGION, "read": prices.READ, "currency": "USD"},
            "usage": self.usage.to_json(),
            "total": round(self.total, 4),
            "fixed": round(self.fixed, 4),
            "used": round(self.used, 4),
            "lines": [
                {
                    "group": line.group,
                    "what": line.what,
                    "detail": line.detail,
                    "resources": list(line.resources),
                    "quantity": round(line.quantity, 6),
                    "unit": price_of(line.price).unit,
                    "usdEach": line.usd_each,
                    "usd": round(line.usd, 4),
                    "fixed": line.fixed,
                    "note": line.note,
                    "source": price_of(line.price).page,
                    "read": price_of(line.price).read,
                    "confirmed": price_of(line.price).confirmed,
                }
                for line in self.lines
            ],
            "free": [asdict(one) for one in self.free],
            "unpriced": [asdict(one) for one in self.unpriced],
            "unknown": [asdict(one) for one in self.unknown],
        }


def estimate(
    resources: Iterable[Resource], usage: Usage, *, stack: str = "", region: str = prices.REGION
) -> Estimate:
    """Price everything that is declared.

    Args:
        resources: what the program registered; only ``aws:`` types are looked at.
        usage: how much it is used.
        stack: its name, for the report.
        region: where it runs; prices are us-east-1's all the same.
    """
    declared = _Declared(resources)
    lines: list[Line] = []
    asides: list[Aside] = []
    free: dict[str, list[str]] = defaultdict(list)
    unknown: dict[str, list[str]] = defaultdict(list)
    for one in declared.resources:
        kind = _short(one.type)
        if kind in _PRICED:
            for found in _PRICED[kind](one, declared, usage):
                if isinstance(found, Line):
                    lines.append(found)
                else:
                    asides.append(found)
        elif kind in FREE:
            free[kind].append(one.name)
        elif kind in NOT_PRICED:
            asides.append(Aside(kind, (one.name,), NOT_PRICED[kind]))
        else:
            unknown[kind].append(one.name)
    lines += _of_the_whole(declared, usage)
    return Estimate(
        stack=stack,
        region=region,
        usage=usage,
        lines=_merged(lines),
        free=tuple(Aside(kind, tuple(names), FREE[kind]) for kind, names in sorted(free.items())),
        unpriced=tuple(asides),
        unknown=tuple(
            Aside(kind, tuple(names), f"trackstack/core/cost.py has no entry for {kind!r}")
            for kind, names in sorted(unknown.items())
        ),
    )


class _Declared:
    """The declared AWS resources, with the questions that prices ask of them."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        mine = (one for one in resources if one.type.startswith("aws:"))
        self.resources = sorted(mine, key=lambda one: one.urn)
        self._by_urn = {one.urn: one for one in self.resources}

    def of(self, kind: str) -> list[Resource]:
        """All of one type, such as ``s3/bucket``."""
        return [one for one in self.resources if _short(one.type) == kind]

    def behind(self, one: Resource, key: str, kind: str) -> Resource | None:
        """The resource of this type that an input of ``one`` was made of."""
        for urn in one.property_dependencies.get(key, ()):
            found = self._by_urn.get(urn)
            if found is not None and _short(found.type) == kind:
                return found
        return None

    def runs(self, task: Resource) -> bool:
        """Whether a service runs tasks of this definition."""
        return any(
            self.behind(service, "taskDefinition", "ecs/taskDefinition") is task
            for service in self.of("ecs/service")
        )

    def kept_days(self, bucket: Resource) -> float:
        """Days that a bucket's lifecycle keeps an object; a year's where it says nothing."""
        days = [
            _number(_mapping(_mapping(rule).get("expiration")).get("days"), 0)
            for one in self.of("s3/bucketLifecycleConfiguration")
            if self.behind(one, "bucket", "s3/bucket") is bucket
            for rule in _list(one.inputs.get("rules"))
        ]
        return max(days, default=0) or YEAR_DAYS

    def named_by(self, target: Resource, *where: tuple[str, str]) -> bool:
        """Whether one of these (type, input) was made of the target."""
        return any(
            target.urn in one.property_dependencies.get(key, ())
            for kind, key in where
            for one in self.of(kind)
        )


def _short(token: str) -> str:
    """``rds/instance`` of ``aws:rds/instance:Instance``."""
    parts = token.split(":")
    return parts[1] if len(parts) > 1 else token


def _number(value: Any, default: float) -> float:
    """A number that was declared; the default for nothing, and for what only AWS knows."""
    if isinstance(value, bool) or value is None:
        return default
    try:
        return float(value)
    except (TypeError, ValueError):
        return default


def _count(value: Any, default: int = 1) -> int:
    return len(value) if isinstance(value, list | tuple) else default


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _merged(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Lines for the same thing as one, sorted by group, fixed ones before use."""
    together: dict[tuple[Any, ...], Line] = {}
    for line in lines:
        key = (line.group, line.what, line.detail, line.price, line.fixed, line.note)
        if key in together:
            before = together[key]
            line = replace(  # noqa: PLW2901 - the sum takes the line's place
                line,
                quantity=before.quantity + line.quantity,
                resources=(*before.resources, *line.resources),
            )
        together[key] = line
    return tuple(
        sorted(
            together.values(),
            key=lambda line: (GROUPS.index(line.group), not line.fixed, line.what),
        )
    )


COMPUTE, DATABASE, BALANCER, NETWORK = "Compute", "Database", "Balancer", "Network"
STORAGE, KEYS, WATCH = "Storage", "Keys and secrets", "Observability"
GROUPS = (COMPUTE, DATABASE, BALANCER, NETWORK, STORAGE, KEYS, WATCH)

Found = Iterator["Line | Aside"]


# Compute


@dataclass(frozen=True)
class _Size:
    vcpu: float
    memory_gb: float
    disk_gb: float
    architecture: str


def _size(task: Resource) -> _Size:
    platform = _mapping(task.inputs.get("runtimePlatform"))
    disk = _mapping(task.inputs.get("ephemeralStorage")).get("sizeInGib")
    return _Size(
        vcpu=_number(task.inputs.get("cpu"), 0) / CPU_PER_VCPU,
        memory_gb=_number(task.inputs.get("memory"), 0) / MIB_PER_GIB,
        disk_gb=max(0, _number(disk, 0) - fargate.EPHEMERAL_GIB_FREE),
        architecture="arm64" if platform.get("cpuArchitecture") == "ARM64" else "x86_64",
    )


def _task_lines(
    name: str, size: _Size, tasks: float, *, hours: float = HOURS, note: str, market: str = ""
) -> Iterator[Line]:
    """CPU, memory and disk of so many tasks for so many hours each."""
    role = name.rpartition("-")[2]
    always = hours == HOURS
    times = f"{tasks:g} x " if always else ""
    spot = ", Spot" if market else ""
    parts = [
        ("vCPU", size.vcpu, f" {size.architecture}{spot}", f"{size.architecture}.vcpu{market}"),
        ("memory", size.memory_gb, f" GB{spot}", f"{size.architecture}.memory{market}"),
    ]
    if size.disk_gb:
        parts.append(("disk", size.disk_gb, f" GB above {fargate.EPHEMERAL_GIB_FREE}", "disk"))
    for what, each, unit, key in parts:
        yield Line(
            COMPUTE,
            f"{role}: {what}",
            (name,),
            tasks * each * hours,
            f"fargate.{key}",
            f"{times}{each:g}{unit}",
            fixed=always,
            note=note,
        )


def _spot_share(service: Resource, declared: _Declared) -> float:
    """Which part of the tasks runs on Spot, by the weights of the strategy."""
    strategies = _list(service.inputs.get("capacityProviderStrategies"))
    if not strategies and not service.inputs.get("launchType"):
        cluster = declared.behind(service, "cluster", "ecs/cluster")
        for one in declared.of("ecs/clusterCapacityProviders"):
            if cluster is None or declared.behind(one, "clusterName", "ecs/cluster") is cluster:
                strategies = _list(one.inputs.get("defaultCapacityProviderStrategies"))
    weights = {
        str(_mapping(one).get("capacityProvider")): _number(_mapping(one).get("weight"), 0)
        for one in strategies
    }
    whole = sum(weights.values())
    return weights.get("FARGATE_SPOT", 0) / whole if whole else 0


def _service(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del usage
    task = declared.behind(one, "taskDefinition", "ecs/taskDefinition")
    if task is None:
        yield Aside(
            _short(one.type), (one.name,), "its task definition is not part of the program."
        )
        return
    tasks, note = _number(one.inputs.get("desiredCount"), 1), ""
    for target in declared.of("appautoscaling/target"):
        if declared.behind(target, "resourceId", "ecs/service") is one:
            tasks = _number(target.inputs.get("minCapacity"), tasks)
            most = _number(target.inputs.get("maxCapacity"), tasks)
            note = f"Autoscaling may run {most:g}; the least is priced."
    size, spot = _size(task), _spot_share(one, declared)
    if not tasks:
        return
    if spot < 1:
        yield from _task_lines(one.name, size, tasks * (1 - spot), note=note)
    if spot:
        yield from _task_lines(one.name, size, tasks * spot, note=note, market="@spot")
    network = _mapping(one.inputs.get("networkConfiguration"))
    if network.get("assignPublicIp") is True:
        yield Line(
            NETWORK,
            f"Public IPv4 of {one.name.rpartition('-')[2]}",
            (one.name,),
            tasks * HOURS,
            "vpc.ipv4",
            f"{tasks:g} tasks" if tasks != 1 else "1 task",
            note=note,
        )


def _runs_a_month(expression: Any) -> float:
    """How often a schedule fires: ``rate(…)`` exactly, ``cron(…)`` by its day fields."""
    text = str(expression)
    rate = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", text)
    if rate:
        hours = {"minute": 1 / 60, "hour": 1, "day": 24}[rate[2]] * int(rate[1])
        return HOURS / hours
    cron = re.fullmatch(r"cron\((.+)\)", text)
    fields = cron[1].split() if cron else []
    if len(fields) == CRON_FIELDS:
        if fields[2] not in {"*", "?"}:
            return 1
        if fields[4] not in {"*", "?"}:
            return DAYS / 7
    return DAYS


def _schedule(one: Resource, declared: _Declared, usage: Usage) -> Found:
    key = "target" if _short(one.type) == "scheduler/schedule" else "ecsTarget"
    task = declared.behind(one, key, "ecs/taskDefinition")
    if task is None:
        return
    runs = _runs_a_month(one.inputs.get("scheduleExpression"))
    hours = runs * usage.schedule_minutes / 60
    note = f"{runs:.3g} runs of {usage.schedule_minutes:g} minutes; the scheduler itself is free."
    yield from _task_lines(one.name, _size(task), 1, hours=hours, note=note)


def _cluster(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared, usage
    for setting in _list(one.inputs.get("settings")):
        found = _mapping(setting)
        if found.get("name") == "containerInsights" and found.get("value") != "disabled":
            yield Aside(
                _short(one.type),
                (one.name,),
                "Container Insights sends custom metrics at $0.30 each; how many depends on AWS.",
            )


# Database


def _database(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared, usage
    name = str(one.inputs.get("instanceClass"))
    double = one.inputs.get("multiAz") is True
    zones = "two zones" if double else "one zone"
    if name in RDS_HOURLY:
        key = f"rds.class:{name}{':multi_az' if double else ''}"
        yield Line(DATABASE, "PostgreSQL", (one.name,), HOURS, key, f"{name} in {zones}")
    else:
        yield Aside(_short(one.type), (one.name,), f"no price of {name} was at hand.")
    yield Line(
        DATABASE,
        "Disk of PostgreSQL",
        (one.name,),
        _number(one.inputs.get("allocatedStorage"), 0),
        "rds.gp3.multi_az" if double else "rds.gp3",
        f"gp3 in {zones}",
        note=_growth(one),
    )
    if one.inputs.get("manageMasterUserPassword") is True:
        yield Line(KEYS, "Secret of the database's master", (one.name,), 1, "secrets.secret")
    days = _number(one.inputs.get("performanceInsightsRetentionPeriod"), INSIGHTS_FREE_DAYS)
    if one.inputs.get("performanceInsightsEnabled") is True and days > INSIGHTS_FREE_DAYS:
        yield Aside(
            _short(one.type),
            (one.name,),
            f"Performance Insights kept {days:g} days; {INSIGHTS_FREE_DAYS} are free.",
        )
    if interval := _number(one.inputs.get("monitoringInterval"), 0):
        instances = 2 if one.inputs.get("multiAz") is True else 1
        yield Line(
            WATCH,
            "Enhanced Monitoring's records",
            (one.name,),
            instances * HOURS * 3600 / interval * MONITORING_RECORD_GB,
            "cloudwatch.logs",
            "A record of 10 kB is an assumption: AWS gives no figure.",
        )


def _growth(one: Resource) -> str:
    most = _number(one.inputs.get("maxAllocatedStorage"), 0)
    backups = "Backups of as much again are free; more is not counted."
    return (
        f"Grows by itself up to {most:g} GB; its first size is priced. {backups}"
        if most
        else backups
    )


# Balancer


def _balancer(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared
    yield Line(BALANCER, "Load balancer", (one.name,), HOURS, "alb")
    through_gb = usage.artifact_gb * (1 + READS_PER_FILE)
    yield Line(
        BALANCER,
        "Capacity units",
        (one.name,),
        max(through_gb, usage.requests / CONNECTIONS_PER_LCU_HOUR),
        "alb.capacity",
        fixed=False,
        note="An hour for 90,000 connections or for 1 GB, the larger; all artifacts pass.",
    )
    if one.inputs.get("internal") is False:
        zones = _count(one.inputs.get("subnets"), 2)
        yield Line(
            NETWORK,
            "Public IPv4 of the balancer",
            (one.name,),
            zones * HOURS,
            "vpc.ipv4",
            f"{zones} zones",
        )
        yield Line(
            NETWORK,
            "Data out to the internet",
            (one.name,),
            usage.data_out_gb,
            "transfer.out",
            fixed=False,
        )


def _firewall(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared
    yield Line(BALANCER, "WAF web ACL", (one.name,), 1, "waf.acl")
    rules = _count(one.inputs.get("rules"), 0)
    yield Line(BALANCER, "WAF rules", (one.name,), rules, "waf.rule")
    yield Line(
        BALANCER, "WAF requests", (one.name,), usage.requests / MILLION, "waf.requests", fixed=False
    )


# Network


def _nat(one: Resource, declared: _Declared, usage: Usage) -> Found:
    yield Line(NETWORK, "NAT gateway", (one.name,), HOURS, "vpc.nat")
    yield Line(
        NETWORK,
        "NAT data",
        (one.name,),
        usage.nat_gb / len(declared.of(_short(one.type))),
        "vpc.nat.data",
        fixed=False,
    )


def _address(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del usage
    nat = any(
        declared.behind(gateway, "allocationId", _short(one.type)) is one
        for gateway in declared.of("ec2/natGateway")
    )
    of = "of the NAT gateway" if nat else "reserved"
    yield Line(NETWORK, f"Public IPv4 {of}", (one.name,), HOURS, "vpc.ipv4")


def _endpoint(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared, usage
    if one.inputs.get("vpcEndpointType", "Gateway") == "Gateway":
        return
    zones = _count(one.inputs.get("subnetIds"))
    yield Line(
        NETWORK,
        "Interface endpoint",
        (one.name,),
        zones * HOURS,
        "vpc.interface",
        f"{zones} zones",
        note="Its data, at $0.01 a GB, is not counted.",
    )


def _flow_log(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared
    to_s3 = one.inputs.get("logDestinationType") == "s3"
    key = "cloudwatch.delivery" if to_s3 else "cloudwatch.logs"
    yield Line(WATCH, "Flow logs", (one.name,), usage.flow_log_gb, key, fixed=False)


def _firewall_log(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared
    yield Line(
        WATCH, "WAF logs", (one.name,), usage.flow_log_gb, "cloudwatch.delivery", fixed=False
    )


# Storage

_LOGS_GO_TO = (
    ("lb/loadBalancer", "accessLogs"),
    ("s3/bucketLogging", "targetBucket"),
    ("ec2/flowLog", "logDestination"),
    ("wafv2/webAclLoggingConfiguration", "logDestinationConfigs"),
)
_COPIES_GO_TO = (
    ("s3/bucketReplicationConfig", "rules"),
    ("s3/bucketReplicationConfiguration", "rules"),
)

KEPT, WRITTEN, READ = ARTIFACT_LINES = ("Artifacts kept", "Artifacts written", "Artifacts read")
"""What the artifacts themselves cost, wherever the server runs."""


def _bucket(one: Resource, declared: _Declared, usage: Usage) -> Found:
    if declared.named_by(one, *_LOGS_GO_TO):
        yield Line(
            STORAGE,
            "Access logs kept",
            (one.name,),
            usage.requests * LOG_LINE_GB * declared.kept_days(one) / DAYS,
            "s3.storage",
            f"{declared.kept_days(one):g} days",
            fixed=False,
        )
    elif declared.named_by(one, *_COPIES_GO_TO):
        yield Line(
            STORAGE, "Artifacts, second copy", (one.name,), usage.kept_gb, "s3.storage", fixed=False
        )
        yield Line(
            STORAGE,
            "Artifacts, sent to the other region",
            (one.name,),
            usage.artifact_gb,
            "transfer.region",
            fixed=False,
        )
        yield _requests(one, usage, "Artifacts, second copy written")
    else:
        yield Line(
            STORAGE,
            KEPT,
            (one.name,),
            usage.kept_gb,
            "s3.storage",
            fixed=False,
            note="Overwritten versions and cheaper tiers are not counted.",
        )
        yield _requests(one, usage, WRITTEN)
        yield Line(
            STORAGE,
            READ,
            (one.name,),
            usage.objects * READS_PER_FILE / THOUSAND,
            "s3.get",
            fixed=False,
        )


def _requests(one: Resource, usage: Usage, what: str) -> Line:
    return Line(STORAGE, what, (one.name,), usage.objects / THOUSAND, "s3.put", fixed=False)


def _repository(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared
    yield Line(STORAGE, "Images kept", (one.name,), usage.image_gb, "ecr.storage", fixed=False)


# Keys and secrets


def _key(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared
    yield Line(KEYS, "Customer key", (one.name,), 1, "kms.key")
    yield Line(
        KEYS,
        "Requests to the key",
        (one.name,),
        usage.objects * (1 + READS_PER_FILE) / (10 * THOUSAND),
        "kms.requests",
        fixed=False,
        note="One an object written or read; a bucket key makes it far fewer.",
    )


def _secret(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared, usage
    yield Line(KEYS, "Secret", (one.name,), 1, "secrets.secret")


def _parameter(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared, usage
    if one.inputs.get("tier") == "Advanced":
        yield Line(KEYS, "Advanced parameter", (one.name,), 1, "ssm.advanced")


# Observability


def _alarm(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared, usage
    metrics = [
        query for query in _list(one.inputs.get("metricQueries")) if _mapping(query).get("metric")
    ]
    high = _number(one.inputs.get("period"), 60) < 60  # noqa: PLR2004 - a minute
    key = "cloudwatch.alarm.high" if high else "cloudwatch.alarm"
    yield Line(WATCH, "Alarm metrics", (one.name,), max(1, len(metrics)), key)


def _composite_alarm(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared, usage
    yield Line(WATCH, "Composite alarm", (one.name,), 1, "cloudwatch.alarm.composite")


def _scaling(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared, usage
    if one.inputs.get("policyType") == "TargetTrackingScaling":
        yield Line(
            WATCH,
            "Alarm metrics of autoscaling",
            (one.name,),
            2,
            "cloudwatch.alarm",
            note="Target tracking makes two alarms for each target: one up, one down.",
        )


def _metric_filter(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared, usage
    yield Line(WATCH, "Custom metric of a log filter", (one.name,), 1, "cloudwatch.metric")


def _log_group(one: Resource, declared: _Declared, usage: Usage) -> Found:
    gb = usage.log_gb / len(declared.of(_short(one.type)))
    yield Line(WATCH, "Logs written", (one.name,), gb, "cloudwatch.logs", fixed=False)
    days = _number(one.inputs.get("retentionInDays"), 0)
    yield Line(
        WATCH,
        "Logs kept",
        (one.name,),
        gb * (days or YEAR_DAYS) / DAYS,
        "cloudwatch.logs.kept",
        fixed=False,
        note=f"{days:g} days." if days else "For ever; a year is priced.",
    )


def _zone(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del declared, usage
    yield Line(NETWORK, "Hosted zone", (one.name,), 1, "route53.zone")


def _dashboard(one: Resource, declared: _Declared, usage: Usage) -> Found:
    del usage
    paid = declared.of(_short(one.type))[FREE_DASHBOARDS:]
    yield Line(
        WATCH,
        "Dashboard",
        (one.name,),
        1 if one in paid else 0,
        "cloudwatch.dashboard",
        note=f"The first {FREE_DASHBOARDS} of an account are free.",
    )


def _of_the_whole(declared: _Declared, usage: Usage) -> Iterator[Line]:
    """What no single resource is billed for: metrics that the servers send by their logs."""
    del usage
    senders = [
        one.name
        for one in declared.of("ecs/taskDefinition")
        if _tells_metrics(one) and declared.runs(one)
    ]
    if senders:
        yield Line(
            WATCH,
            "Custom metrics of the server",
            tuple(senders),
            len(server_metrics.UNITS),
            "cloudwatch.metric",
            note="One set a stack, however many tasks.",
        )


def _tells_metrics(task: Resource) -> bool:
    """Whether a container is told the dimension of the server's own metrics."""
    project, stack = task.urn.split("::")[1], task.urn.split("::")[0].rpartition(":")[2]
    told = json.dumps(server_metrics.stack_value(project, stack))
    return told in str(task.inputs.get("containerDefinitions"))


_PRICED: dict[str, Callable[[Resource, _Declared, Usage], Found]] = {
    "appautoscaling/policy": _scaling,
    "cloudwatch/compositeAlarm": _composite_alarm,
    "cloudwatch/dashboard": _dashboard,
    "cloudwatch/eventTarget": _schedule,
    "cloudwatch/logGroup": _log_group,
    "cloudwatch/logMetricFilter": _metric_filter,
    "cloudwatch/metricAlarm": _alarm,
    "ec2/eip": _address,
    "ec2/flowLog": _flow_log,
    "ec2/natGateway": _nat,
    "ec2/vpcEndpoint": _endpoint,
    "ecr/repository": _repository,
    "ecs/cluster": _cluster,
    "ecs/service": _service,
    "kms/key": _key,
    "kms/replicaKey": _key,
    "lb/loadBalancer": _balancer,
    "rds/instance": _database,
    "route53/zone": _zone,
    "s3/bucket": _bucket,
    "scheduler/schedule": _schedule,
    "secretsmanager/secret": _secret,
    "ssm/parameter": _parameter,
    "wafv2/webAcl": _firewall,
    "wafv2/webAclLoggingConfiguration": _firewall_log,
}
"""Type to what it is billed for."""

FREE: dict[str, str] = {
    "acm/certificate": "public and imported certificates of integrated services cost nothing",
    "acm/certificateValidation": "a check, nothing that runs",
    "appautoscaling/target": "autoscaling is free; its alarms are lines",
    "autoscaling/group": "free; what it starts is not",
    "budgets/budget": "budgets without actions are free",
    "cloudwatch/eventRule": "events of AWS's own services and schedules are free",
    "cloudwatch/eventBus": "free; events that cross accounts are not",
    "cloudwatch/logResourcePolicy": "a policy",
    "cloudwatch/queryDefinition": "saved; a query costs $0.005 a GB that it reads",
    "ec2/defaultSecurityGroup": "a rule set",
    "ec2/eipAssociation": "the address is a line",
    "ec2/internetGateway": "free; the data that leaves is a line",
    "ec2/mainRouteTableAssociation": "routing",
    "ec2/networkAcl": "a rule set",
    "ec2/route": "routing",
    "ec2/routeTable": "routing",
    "ec2/routeTableAssociation": "routing",
    "ec2/securityGroup": "a rule set",
    "ec2/securityGroupRule": "a rule",
    "ec2/subnet": "an address range",
    "ec2/vpc": "an address range",
    "ec2/vpcEndpointRouteTableAssociation": "routing",
    "ecr/lifecyclePolicy": "a policy",
    "ecr/registryScanningConfiguration": "basic scanning is free",
    "ecr/repositoryPolicy": "a policy",
    "ecs/clusterCapacityProviders": "a choice of market; tasks are lines",
    "ecs/taskDefinition": "a description; the services that run it are lines",
    "iam/instanceProfile": "IAM is free",
    "iam/openIdConnectProvider": "IAM is free",
    "iam/policy": "IAM is free",
    "iam/role": "IAM is free",
    "iam/rolePolicies": "IAM is free",
    "iam/rolePolicy": "IAM is free",
    "iam/rolePolicyAttachment": "IAM is free",
    "iam/rolePolicyAttachmentsExclusive": "IAM is free",
    "kms/alias": "a name; the key is a line",
    "kms/grant": "a permission",
    "kms/keyPolicy": "a policy",
    "lb/listener": "part of the balancer",
    "lb/listenerCertificate": "part of the balancer",
    "lb/listenerRule": "part of the balancer",
    "lb/targetGroup": "part of the balancer",
    "lb/targetGroupAttachment": "part of the balancer",
    "rds/parameterGroup": "settings of the database",
    "rds/subnetGroup": "settings of the database",
    "route53/record": "free; a million queries of it cost $0.40, of an alias nothing",
    "s3/bucketAcl": "settings of the bucket",
    "s3/bucketIntelligentTieringConfiguration": "settings of the bucket",
    "s3/bucketLifecycleConfiguration": "settings; a move to another class costs cents",
    "s3/bucketLogging": "free; what it writes is a line",
    "s3/bucketMetric": "settings of the bucket",
    "s3/bucketNotification": "settings of the bucket",
    "s3/bucketObjectLockConfiguration": "settings of the bucket",
    "s3/bucketOwnershipControls": "settings of the bucket",
    "s3/bucketPolicy": "a policy",
    "s3/bucketPublicAccessBlock": "settings of the bucket",
    "s3/bucketReplicationConfig": "free; copies and their transfer are lines",
    "s3/bucketReplicationConfiguration": "free; copies and their transfer are lines",
    "s3/bucketServerSideEncryptionConfiguration": "settings; requests to a key are a line",
    "s3/bucketVersioning": "settings of the bucket",
    "scheduler/scheduleGroup": "a name",
    "secretsmanager/secretPolicy": "a policy",
    "secretsmanager/secretRotation": "settings of the secret",
    "secretsmanager/secretVersion": "part of the secret",
    "sns/topic": "the first 1,000 mails and 1,000,000 requests a month are free",
    "sns/topicPolicy": "a policy",
    "sns/topicSubscription": "the first 1,000 mails a month are free",
    "vpc/securityGroupEgressRule": "a rule",
    "vpc/securityGroupIngressRule": "a rule",
    "wafv2/ipSet": "part of the firewall",
    "wafv2/webAclAssociation": "part of the firewall",
}
"""Type to why it costs nothing."""

NOT_PRICED: dict[str, str] = {
    "cloudwatch/metricStream": "by the number of updates, which nothing declares",
    "lambda/function": "by invocations and seconds, which nothing declares",
    "rds/proxy": "no price was at hand",
}
"""Type to why what it costs is not in the total."""


def entry_for(token: str) -> str:
    """Which table knows the type: ``priced``, ``free``, ``not priced``, or an empty text."""
    kind = _short(token)
    tables: dict[str, Mapping[str, Any]] = {
        "priced": _PRICED,
        "free": FREE,
        "not priced": NOT_PRICED,
    }
    return next((name for name, table in tables.items() if kind in table), "")
