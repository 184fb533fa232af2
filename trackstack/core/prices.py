"""AWS's list prices, each with its unit, the page it stands on and the month it was read.

On demand, us-east-1, USD, without tax, discounts, credits and the free tiers of a new account. A
figure that no page or price list at hand showed is marked ``confirmed=False`` and said so wherever
it is used; nothing is guessed. Other regions have no table: their stacks are priced by this one,
and every report says that.
"""

from dataclasses import dataclass

REGION = "us-east-1"
HOURS = 730
"""Hours of a month, as AWS's own calculator counts: 365 x 24 / 12."""
READ = "2026-11"
PRICE_LIST = "2026-08"
"""Month of the AWS Price List that the figures marked with it were checked against."""

FARGATE = "AWS Fargate pricing"
RDS = "Amazon RDS for PostgreSQL pricing"
VPC = "Amazon VPC pricing"
ALB = "Elastic Load Balancing pricing"
S3 = "Amazon S3 pricing"
CLOUDWATCH = "Amazon CloudWatch pricing"
WAF = "AWS WAF pricing"
KMS = "AWS Key Management Service pricing"
SECRETS = "AWS Secrets Manager pricing"
EC2_TRANSFER = "Amazon EC2 on-demand pricing, data transfer"


@dataclass(frozen=True)
class Price:
    """What one unit costs."""

    usd: float
    """USD a unit."""
    unit: str
    """What is counted."""
    page: str
    """The page of AWS that lists it."""
    read: str = READ
    """Year and month in which the figure was read."""
    note: str = ""
    """What the figure alone does not tell."""
    confirmed: bool = True
    """Whether a source was at hand; False: the figure is known but could not be checked."""


PRICES: dict[str, Price] = {
    "fargate.x86_64.vcpu": Price(0.04048, "vCPU-hour", FARGATE),
    "fargate.x86_64.memory": Price(0.004445, "GB-hour", FARGATE),
    "fargate.arm64.vcpu": Price(0.03238, "vCPU-hour", FARGATE),
    "fargate.arm64.memory": Price(0.00356, "GB-hour", FARGATE),
    "fargate.disk": Price(
        0.000111, "GB-hour", FARGATE, note="20 GB of each task are part of its price."
    ),
    "rds.gp3": Price(0.115, "GB-month", RDS),
    "rds.gp3.multi_az": Price(0.23, "GB-month", RDS, PRICE_LIST),
    "vpc.nat": Price(0.045, "hour", VPC),
    "vpc.nat.data": Price(0.045, "GB", VPC),
    "vpc.ipv4": Price(0.005, "address-hour", VPC, note="In use or not."),
    "vpc.interface": Price(0.01, "zone-hour", VPC),
    "alb": Price(0.0225, "hour", ALB),
    "alb.capacity": Price(0.008, "LCU-hour", ALB),
    "s3.storage": Price(0.023, "GB-month", S3, note="The first 50 TB."),
    "s3.put": Price(0.005, "1,000 requests", S3, PRICE_LIST, "PUT, COPY, POST, LIST."),
    "s3.get": Price(0.0004, "1,000 requests", S3, PRICE_LIST, "GET and all others."),
    "transfer.out": Price(
        0.09, "GB", EC2_TRANSFER, PRICE_LIST, "To the internet; 100 GB a month of an account free."
    ),
    "transfer.region": Price(0.02, "GB", EC2_TRANSFER, PRICE_LIST, "To another region."),
    "kms.key": Price(
        1.0,
        "key-month",
        KMS,
        note="The first and the second rotation add a dollar a month each.",
    ),
    "kms.requests": Price(0.03, "10,000 requests", KMS, PRICE_LIST),
    "secrets.secret": Price(0.4, "secret-month", SECRETS),
    "cloudwatch.alarm": Price(0.1, "metric-month", CLOUDWATCH, PRICE_LIST, "Standard resolution."),
    "cloudwatch.alarm.high": Price(0.3, "metric-month", CLOUDWATCH, PRICE_LIST),
    "cloudwatch.alarm.composite": Price(0.5, "alarm-month", CLOUDWATCH, confirmed=False),
    "cloudwatch.metric": Price(0.3, "metric-month", CLOUDWATCH, note="The first 10,000."),
    "cloudwatch.dashboard": Price(
        3.0, "dashboard-month", CLOUDWATCH, PRICE_LIST, "The first 3 of an account are free."
    ),
    "cloudwatch.logs": Price(0.5, "GB", CLOUDWATCH),
    "cloudwatch.logs.kept": Price(0.03, "GB-month", CLOUDWATCH, PRICE_LIST, "Compressed."),
    "cloudwatch.delivery": Price(
        0.25,
        "GB",
        CLOUDWATCH,
        note="Vended logs to S3: VPC flow logs, WAF logs. ALB's own access logs are not billed.",
        confirmed=False,
    ),
    "waf.acl": Price(5.0, "ACL-month", WAF, PRICE_LIST),
    "waf.rule": Price(
        1.0, "rule-month", WAF, PRICE_LIST, "A managed group counts as one; AWS's basic are free."
    ),
    "waf.requests": Price(0.6, "1,000,000 requests", WAF, PRICE_LIST),
    "route53.zone": Price(0.5, "zone-month", "Amazon Route 53 pricing"),
    "ecr.storage": Price(0.1, "GB-month", "Amazon ECR pricing", PRICE_LIST),
    "ssm.advanced": Price(0.05, "parameter-month", "AWS Systems Manager pricing", PRICE_LIST),
}
"""Key to price; a line of an estimate names its key."""

SPOT_SHARE = 0.3
"""What a Fargate Spot task costs of an on-demand one. AWS publishes the price of the day on its
Fargate page, "up to 70 % off", and moves it slowly; guides of 2026 saw 30 to 50 %."""

RDS_HOURLY: dict[str, tuple[float, float]] = {
    "db.t4g.micro": (0.016, 0.032),
    "db.t4g.small": (0.032, 0.065),
    "db.t4g.medium": (0.065, 0.13),
}
"""Instance class to USD an hour in one zone and in two. A class that is not here has no price at
hand, and an estimate says so instead of inventing one. The standby of a ``small`` is 0.065 in the
Price List and 0.064 in guides: the larger is taken."""
RDS_CLASS = Price(0.0, "hour", RDS, note="By class; two zones pay for both instances.")
"""Unit and page of ``RDS_HOURLY``."""


def price_of(key: str) -> Price:
    """The price of this key, on demand or ``…@spot``; KeyError when there is none.

    ``rds.class:<class>`` and ``rds.class:<class>:multi_az`` are read from ``RDS_HOURLY``.
    """
    base, _, market = key.partition("@")
    if base.startswith("rds.class:"):
        _, name, *zones = base.split(":")
        usd = RDS_HOURLY[name][1 if zones else 0]
        return Price(usd, RDS_CLASS.unit, RDS_CLASS.page, RDS_CLASS.read, RDS_CLASS.note)
    price = PRICES[base]
    if market != "spot":
        return price
    return Price(
        price.usd * SPOT_SHARE,
        price.unit,
        f"{price.page}, Spot",
        price.read,
        f"{SPOT_SHARE:.0%} of on-demand, which AWS may change every day.",
    )
