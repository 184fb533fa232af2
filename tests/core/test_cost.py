"""The bill: each line by hand once, each declared type known, the three stacks in bounds."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from trackstack.core import cost_report, managed_offers, prices
from trackstack.core.cost import FREE, NOT_PRICED, Estimate, entry_for, estimate
from trackstack.core.prices import PRICES, RDS_HOURLY, price_of
from trackstack.core.usage import Usage
from trackstack.embedded import cost as embedded
from trackstack.embedded.project import Project
from trackstack.embedded.record import UNKNOWN, Recording, Secret

ROOT = Path(__file__).parents[2]
STACKS = ("dev", "staging", "prod")
NOTHING = Usage(runs=0, requests=0, data_out_gb=0, nat_gb=0, log_gb=0, image_gb=0, flow_log_gb=0)


@dataclass(frozen=True)
class Made:
    """A declared resource with only what a price asks for."""

    type: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    name: str = "it"
    made_of: Mapping[str, "Made"] = field(default_factory=dict)

    @property
    def urn(self) -> str:
        return f"urn:pulumi:test::shop::{self.type}::{self.name}"

    @property
    def property_dependencies(self) -> Mapping[str, tuple[str, ...]]:
        return {key: (one.urn,) for key, one in self.made_of.items()}


def aws(kind: str, name: str = "it", /, **inputs: Any) -> Made:
    """``aws("rds/instance", instanceClass=…)``; inputs that are resources become dependencies."""
    return Made(
        f"aws:{kind}:{kind.rpartition('/')[2].capitalize()}",
        {key: value for key, value in inputs.items() if not isinstance(value, Made)},
        name,
        {key: value for key, value in inputs.items() if isinstance(value, Made)},
    )


def bill(*resources: Made, usage: Usage = NOTHING) -> dict[str, float]:
    """What is billed to USD a month, without lines of nothing."""
    found: dict[str, float] = {}
    for line in estimate(resources, usage).lines:
        found[line.what] = round(found.get(line.what, 0) + line.usd, 6)
    return {what: usd for what, usd in found.items() if usd}


ARM_TASK = aws(
    "ecs/taskDefinition",
    "server-tracking",
    cpu="512",
    memory="1024",
    runtimePlatform={"cpuArchitecture": "ARM64"},
    ephemeralStorage={"sizeInGib": 30},
)
X86_TASK = aws("ecs/taskDefinition", "server-artifacts", cpu="1024", memory="2048")


def service(task: Made, name: str = "server-tracking", /, **inputs: Any) -> Made:
    return aws("ecs/service", name, taskDefinition=task, launchType="FARGATE", **inputs)


SERVICE = service(ARM_TASK, desiredCount=2)
BUCKET = aws("s3/bucket", "artifacts")
LOGS = aws("s3/bucket", "logs")
COPY = aws("s3/bucket", "copy")
NAT_ADDRESS = aws("ec2/eip", "nat")
SCHEDULED = aws(
    "scheduler/schedule",
    "server-gc",
    target=ARM_TASK,
    scheduleExpression="rate(1 day)",
)

# Each by hand from the pages: 730 hours, the unit price, nothing of the code.
BY_HAND: list[tuple[str, list[Made], dict[str, Any], dict[str, float]]] = [
    (
        "two ARM tasks of 0.5 vCPU, 1 GB and 10 GB of disk above the free 20",
        [ARM_TASK, SERVICE],
        {},
        {
            "tracking: vCPU": 23.6374,  # 2 x 0.5 x 730 x 0.03238
            "tracking: memory": 5.1976,  # 2 x 1 x 730 x 0.00356
            "tracking: disk": 1.6206,  # 2 x 10 x 730 x 0.000111
        },
    ),
    (
        "one x86 task with a public address",
        [
            X86_TASK,
            service(
                X86_TASK,
                "server-artifacts",
                desiredCount=1,
                networkConfiguration={"assignPublicIp": True},
            ),
        ],
        {},
        {
            "artifacts: vCPU": 29.5504,  # 730 x 0.04048
            "artifacts: memory": 6.4897,  # 2 x 730 x 0.004445
            "Public IPv4 of artifacts": 3.65,  # 730 x 0.005
        },
    ),
    (
        "a Spot task costs three tenths; its disk doesn't",
        [
            ARM_TASK,
            aws(
                "ecs/service",
                "server-tracking",
                taskDefinition=ARM_TASK,
                desiredCount=2,
                capacityProviderStrategies=[{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
            ),
        ],
        {},
        {
            "tracking: vCPU": 7.09122,
            "tracking: memory": 1.55928,
            "tracking: disk": 1.6206,
        },
    ),
    (
        "half on Spot",
        [
            ARM_TASK,
            aws(
                "ecs/service",
                "server-tracking",
                taskDefinition=ARM_TASK,
                desiredCount=2,
                capacityProviderStrategies=[
                    {"capacityProvider": "FARGATE_SPOT", "weight": 1},
                    {"capacityProvider": "FARGATE", "weight": 1},
                ],
            ),
        ],
        {},
        {
            "tracking: vCPU": 15.36431,  # 11.8187 + 3.54561
            "tracking: memory": 3.37844,  # 2.5988 + 0.77964
            "tracking: disk": 1.6206,
        },
    ),
    (
        "autoscaling: the least of tasks",
        [
            ARM_TASK,
            SERVICE,
            aws("appautoscaling/target", minCapacity=1, maxCapacity=4, resourceId=SERVICE),
            aws("appautoscaling/policy", policyType="TargetTrackingScaling"),
        ],
        {},
        {
            "tracking: vCPU": 11.8187,
            "tracking: memory": 2.5988,
            "tracking: disk": 0.8103,
            "Alarm metrics of autoscaling": 0.2,  # two alarms a policy
        },
    ),
    ("no task, no bill", [ARM_TASK, service(ARM_TASK, desiredCount=0)], {}, {}),
    (
        "a task ten minutes a day",
        [ARM_TASK, SCHEDULED],
        {},
        {  # 730 / 24 runs x 1/6 h = 5.069444 h
            "gc: vCPU": 0.082074,
            "gc: memory": 0.018047,
            "gc: disk": 0.005627,
        },
    ),
    (
        "PostgreSQL in one zone, its master's secret",
        [
            aws(
                "rds/instance",
                instanceClass="db.t4g.micro",
                allocatedStorage=20,
                manageMasterUserPassword=True,
            )
        ],
        {},
        {
            "PostgreSQL": 11.68,  # 730 x 0.016
            "Disk of PostgreSQL": 2.3,  # 20 x 0.115
            "Secret of the database's master": 0.4,
        },
    ),
    (
        "PostgreSQL in two zones",
        [aws("rds/instance", instanceClass="db.t4g.small", allocatedStorage=20, multiAz=True)],
        {},
        {
            "PostgreSQL": 47.45,  # 730 x 0.065
            "Disk of PostgreSQL": 4.6,  # 20 x 0.23
        },
    ),
    (
        "a balancer that the internet reaches, in two zones",
        [aws("lb/loadBalancer", internal=False, subnets=["a", "b"])],
        {"requests": 900_000, "data_out_gb": 10},
        {
            "Load balancer": 16.425,  # 730 x 0.0225
            "Public IPv4 of the balancer": 7.3,  # 2 x 730 x 0.005
            "Capacity units": 0.08,  # 900,000 / 90,000 x 0.008
            "Data out to the internet": 0.9,  # 10 x 0.09
        },
    ),
    (
        "an internal balancer has no address of its own",
        [aws("lb/loadBalancer", internal=True, subnets=["a", "b"])],
        {"runs": 1000, "data_out_gb": 10},
        {
            "Load balancer": 16.425,
            "Capacity units": 0.24,  # 10 GB written, 20 GB read, a GB an LCU-hour
        },
    ),
    (
        "two NAT gateways share the data",
        [
            NAT_ADDRESS,
            aws("ec2/natGateway", "one", allocationId=NAT_ADDRESS),
            aws("ec2/natGateway", "two"),
        ],
        {"nat_gb": 100},
        {
            "NAT gateway": 65.7,  # 2 x 730 x 0.045
            "NAT data": 4.5,  # 100 x 0.045
            "Public IPv4 of the NAT gateway": 3.65,
        },
    ),
    ("a reserved address", [aws("ec2/eip")], {}, {"Public IPv4 reserved": 3.65}),
    (
        "endpoints: S3's costs nothing, an interface a zone",
        [
            aws("ec2/vpcEndpoint", "s3", vpcEndpointType="Gateway"),
            aws("ec2/vpcEndpoint", "ecr", vpcEndpointType="Interface", subnetIds=["a", "b"]),
        ],
        {},
        {"Interface endpoint": 14.6},  # 2 x 730 x 0.01
    ),
    (
        "WAF: the list, each rule, the requests",
        [aws("wafv2/webAcl", rules=[{}, {}, {}])],
        {"requests": 2_000_000},
        {"WAF web ACL": 5, "WAF rules": 3, "WAF requests": 1.2},
    ),
    (
        "a thousand runs of 10 MB",
        [BUCKET],
        {"runs": 1000},
        {
            "Artifacts kept": 0.23,  # 10 GB x 0.023
            "Artifacts written": 0.05,  # 10,000 objects
            "Artifacts read": 0.008,  # 20,000 reads
        },
    ),
    (
        "what is kept may be more than a month's",
        [BUCKET],
        {"stored_gb": 500},
        {"Artifacts kept": 11.5},
    ),
    (
        "logs and copies have buckets of their own",
        [
            BUCKET,
            LOGS,
            COPY,
            aws("s3/bucketLogging", bucket=BUCKET, targetBucket=LOGS),
            aws(
                "s3/bucketLifecycleConfiguration",
                bucket=LOGS,
                rules=[{"id": "parts"}, {"expiration": {"days": 73}}],
            ),
            aws("s3/bucketReplicationConfig", bucket=BUCKET, rules=COPY),
        ],
        {"runs": 1000, "requests": 10_000_000},
        {
            "Artifacts kept": 0.23,
            "Artifacts written": 0.05,
            "Artifacts read": 0.008,
            "Access logs kept": 0.3312,  # 10,000,000 x 600 bytes = 6 GB, 73 days of 365 / 12
            "Artifacts, second copy": 0.23,
            "Artifacts, second copy written": 0.05,
            "Artifacts, sent to the other region": 0.2,  # 10 GB x 0.02
        },
    ),
    (
        "a key, secrets, parameters",
        [
            aws("kms/key"),
            aws("secretsmanager/secret", "one"),
            aws("secretsmanager/secret", "two"),
            aws("ssm/parameter", "free", tier="Standard"),
            aws("ssm/parameter", "large", tier="Advanced"),
        ],
        {"runs": 1000},
        {
            "Customer key": 1,
            "Requests to the key": 0.09,  # 30,000 at 0.03 a 10,000
            "Secret": 0.8,
            "Advanced parameter": 0.05,
        },
    ),
    (
        "alarms by metric, dashboards from the fourth on",
        [
            aws("cloudwatch/metricAlarm", "one"),
            aws(
                "cloudwatch/metricAlarm",
                "ratio",
                metricQueries=[
                    {"expression": "a/b"},
                    {"metric": {"metricName": "5xx"}},
                    {"metric": {"metricName": "all"}},
                ],
            ),
            aws("cloudwatch/metricAlarm", "fast", period=10),
            aws("cloudwatch/compositeAlarm"),
            aws("cloudwatch/logMetricFilter"),
            *(aws("cloudwatch/dashboard", str(number)) for number in range(4)),
        ],
        {},
        {
            "Alarm metrics": 0.6,  # 1 + 2 at 0.10, one fast at 0.30
            "Composite alarm": 0.5,
            "Custom metric of a log filter": 0.3,
            "Dashboard": 3,
        },
    ),
    (
        "logs: written once, kept as long as declared",
        [aws("cloudwatch/logGroup", retentionInDays=365)],
        {"log_gb": 2},
        {"Logs written": 1, "Logs kept": 0.72},  # 2 GB x 12 months x 0.03
    ),
    (
        "the system below a database, looked at every minute in two zones",
        [aws("rds/instance", instanceClass="db.t4g.micro", multiAz=True, monitoringInterval=60)],
        {},
        {"PostgreSQL": 23.36, "Enhanced Monitoring's records": 0.438},
    ),
    (
        "images, flow logs, a zone",
        [aws("ecr/repository"), aws("ec2/flowLog", logDestinationType="s3"), aws("route53/zone")],
        {"image_gb": 2, "flow_log_gb": 4},
        {"Images kept": 0.2, "Flow logs": 1, "Hosted zone": 0.5},
    ),
]


@pytest.mark.parametrize(
    ("resources", "usage", "lines"), [case[1:] for case in BY_HAND], ids=[c[0] for c in BY_HAND]
)
def test_every_line_is_what_the_pages_say(
    resources: list[Made], usage: dict[str, Any], lines: dict[str, float]
) -> None:
    found = bill(*resources, usage=Usage(**{**vars(NOTHING), **usage}))
    assert found == pytest.approx(lines, abs=1e-6)


def test_every_price_is_used_by_a_line_worked_out_by_hand() -> None:
    used = {
        line.price.partition("@")[0]
        for _, resources, usage, _ in BY_HAND
        for line in estimate(resources, Usage(**{**vars(NOTHING), **usage})).lines
    }
    assert set(PRICES) - used == set()


def test_a_price_says_where_and_when_it_was_read() -> None:
    keys = [*PRICES, *(f"rds.class:{name}:multi_az" for name in RDS_HOURLY)]
    for key in keys:
        price = price_of(key)
        assert price.usd > 0, key
        assert price.page, key
        assert price.read in {prices.READ, prices.PRICE_LIST}, key


def test_what_no_source_confirms_is_said() -> None:
    found = estimate([aws("cloudwatch/compositeAlarm")], NOTHING)
    assert "No source at hand confirms the price of: Composite alarm." in cost_report.caveats(found)
    assert "No source at hand" in cost_report.price_table()


def test_a_class_without_a_price_is_told_and_not_invented() -> None:
    found = estimate([aws("rds/instance", instanceClass="db.r7g.large")], NOTHING)
    assert [line.what for line in found.lines] == ["Disk of PostgreSQL"]
    assert [aside.reason for aside in found.unpriced] == ["no price of db.r7g.large was at hand."]
    assert "at least" in found.one_line


def test_what_only_aws_knows_counts_as_nothing_declared() -> None:
    found = bill(
        aws("rds/instance", instanceClass="db.t4g.micro", allocatedStorage=UNKNOWN, multiAz=UNKNOWN)
    )
    assert found == {"PostgreSQL": pytest.approx(11.68)}
    assert bill(aws("wafv2/webAcl", rules=Secret([]))) == {"WAF web ACL": 5}


def test_a_service_whose_task_is_unknown_is_told() -> None:
    found = estimate([aws("ecs/service", desiredCount=1)], NOTHING)
    assert not found.lines
    assert found.unpriced


def test_a_type_that_nobody_priced_is_named() -> None:
    found = estimate([aws("braket/job", "quantum"), Made("random:index:RandomId")], NOTHING)
    assert [(aside.type, aside.names) for aside in found.unknown] == [("braket/job", ("quantum",))]
    assert any("braket/job" in told for told in cost_report.caveats(found))


def test_no_type_stands_in_two_tables() -> None:
    assert not set(FREE) & set(NOT_PRICED)
    assert {entry_for(f"aws:{kind}:X") for kind in FREE} == {"free"}


@pytest.mark.parametrize("stack", STACKS)
def test_every_type_that_a_stack_declares_has_a_price_or_a_reason(
    evaluate: Callable[[str], Recording], stack: str
) -> None:
    unknown = {
        one.type
        for one in evaluate(stack).resources
        if one.type.startswith("aws:") and not entry_for(one.type)
    }
    assert not unknown, (
        f"trackstack/core/cost.py knows no price of {', '.join(sorted(unknown))}: put each into"
        " _PRICED with a function that yields its lines, or into FREE or NOT_PRICED with a reason."
    )


def of(evaluate: Callable[[str], Recording], stack: str, usage: Usage | None = None) -> Estimate:
    return estimate(evaluate(stack).resources, usage or Usage(), stack=stack)


def test_the_sum_of_the_lines_is_the_total(evaluate: Callable[[str], Recording]) -> None:
    found = of(evaluate, "prod")
    told = found.to_json()
    assert math.isclose(found.total, sum(line.usd for line in found.lines))
    assert math.isclose(found.total, sum(found.groups.values()))
    assert told["total"] == pytest.approx(sum(line["usd"] for line in told["lines"]), abs=0.01)
    for line in told["lines"]:
        assert line["quantity"] * line["usdEach"] == pytest.approx(line["usd"], abs=1e-3), line


@pytest.mark.parametrize(("stack", "bound"), [("dev", 55), ("prod", 175)])
def test_a_stack_costs_no_more_than_it_promises(
    evaluate: Callable[[str], Recording], stack: str, bound: float
) -> None:
    found = of(evaluate, stack)
    assert found.total <= bound, cost_report.table(found)
    assert not found.unpriced, found.unpriced


@pytest.mark.parametrize(
    ("stack", "change", "bound"),
    [("prod", "waf=true", 185), ("dev", "spot=false", 55)],
    ids=["prod with a firewall", "dev should Spot be sold out"],
)
def test_the_bound_holds_with_a_change_too(stack: str, change: str, bound: float) -> None:
    project = Project.find(ROOT)
    configuration = embedded.with_changes(project, project.configuration(stack), [change])
    found = embedded.estimate_stack(project, stack, configuration, Usage())
    assert found.total <= bound, cost_report.table(found)
    assert not found.unknown
    assert any("WAF" in line.what for line in found.lines) is (change == "waf=true")


def test_prod_is_what_its_price_was_promised_for(evaluate: Callable[[str], Recording]) -> None:
    labels = " ".join(line.label for line in of(evaluate, "prod").lines)
    for promised in (
        "tracking: vCPU, 2 x 0.5 arm64",
        "artifacts: vCPU, 2 x 0.25 arm64",
        "db.t4g.small in two zones",
        "NAT gateway",
        "Public IPv4 of the NAT gateway",
        "Public IPv4 of the balancer, 2 zones",
        "Customer key",
    ):
        assert promised in labels
    assert "Spot" not in labels


def test_public_addresses_are_lines_of_their_own(evaluate: Callable[[str], Recording]) -> None:
    for stack, addresses in (("dev", 1), ("prod", 3)):
        found = [line for line in of(evaluate, stack).lines if line.price == "vpc.ipv4"]
        assert sum(line.quantity for line in found) == addresses * prices.HOURS, stack


def test_a_hundred_runs_of_ten_megabytes_cost_two_cents_of_s3(
    evaluate: Callable[[str], Recording],
) -> None:
    usage = Usage(runs=100, artifact_mb=10)
    found = {line.what: line for line in of(evaluate, "dev", usage).lines}
    assert usage.kept_gb == 1
    assert cost_report.amount(found["Artifacts kept"].usd) == "0.02"
    assert cost_report.amount(managed_offers.storage_of(of(evaluate, "dev", usage))) == "0.03"


def test_another_region_is_told_to_have_no_table() -> None:
    found = estimate([], NOTHING, region="eu-central-1")
    assert any(
        "eu-central-1, whose prices are not at hand" in t for t in cost_report.caveats(found)
    )
    assert len(cost_report.caveats(estimate([], NOTHING))) == 1


def test_managed_offers_are_priced_at_the_same_use() -> None:
    found = estimate([BUCKET, COPY], Usage(stored_gb=100))
    rows = {row["name"]: row for row in managed_offers.compare(found)}
    storage = rows["SageMaker MLflow App (serverless)"]["usd"]
    assert storage == pytest.approx(managed_offers.storage_of(found), abs=1e-3)
    small = rows["SageMaker tracking server, small"]["usd"]
    assert small == pytest.approx(0.642 * 730 + storage, abs=1e-3)
    assert rows["SageMaker tracking server, medium"]["usd"] is None
    assert all(row["assumes"] and row["source"] and row["read"] for row in rows.values())


def test_nobody_uses_less_than_nothing() -> None:
    with pytest.raises(ValueError, match="log_gb is -1"):
        Usage(log_gb=-1)


@pytest.mark.parametrize(
    ("expression", "runs"),
    [
        ("rate(1 day)", 730 / 24),
        ("rate(12 hours)", 730 / 12),
        ("cron(0 3 * * ? *)", 730 / 24),
        ("cron(0 3 ? * SUN *)", 730 / 24 / 7),
        ("cron(0 3 1 * ? *)", 1),
        (UNKNOWN, 730 / 24),
    ],
)
def test_a_schedule_is_counted_by_what_it_says(expression: Any, runs: float) -> None:
    schedule = aws("scheduler/schedule", "gc", target=ARM_TASK, scheduleExpression=expression)
    usage = Usage(**{**vars(NOTHING), "schedule_minutes": 60})
    found = bill(ARM_TASK, schedule, usage=usage)
    assert found["gc: vCPU"] == pytest.approx(runs * 0.5 * 0.03238, abs=1e-5)


def test_markdown_shows_every_line_the_what_if_and_the_offers(
    evaluate: Callable[[str], Recording],
) -> None:
    base, variant = of(evaluate, "prod"), of(evaluate, "staging")
    text = cost_report.markdown(
        base, variant=variant, changes=["zones=2"], offers=managed_offers.compare(base)
    )
    assert all(line.label in text for line in base.lines)
    assert f"**{cost_report.amount(base.total)}**" in text
    assert cost_report.difference(variant.total - base.total) in text
    assert "SageMaker tracking server, small" in text
    assert all(row.count("|") == 7 for row in cost_report.table(base).splitlines())


def test_a_what_if_sums_to_the_difference(evaluate: Callable[[str], Recording]) -> None:
    base, variant = of(evaluate, "prod"), of(evaluate, "dev")
    changed = cost_report.changed_lines(base, variant)
    assert sum(new - old for _, _, old, new in changed) == pytest.approx(variant.total - base.total)
