"""What any AWS resource answers here: an id, an ARN and a name of the right shape.

Nothing in this file runs anything. Types with a stand-in add their real outputs; every other
computed output stays unknown, as in ``pulumi preview``.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from trackstack.embedded.errors import ProgramError
from trackstack.embedded.monitor import Answer
from trackstack.embedded.record import Registered, Secret

ACCOUNT = "000000000000"
"""The account of everything that is declared here; no real one has this number."""
DEFAULT_REGION = "us-east-1"

# The property that a provider fills when the program leaves it out: name plus 7 hex digits.
_AUTO_NAMED = {
    "aws:s3/bucket:Bucket": "bucket",
    "aws:rds/instance:Instance": "identifier",
    "aws:ecs/taskDefinition:TaskDefinition": "family",
}
_NAMELESS = ("aws:ec2/", "aws:vpc/", "aws:acm/", "aws:route53/", "pulumi:providers:")

_ID_PREFIX = {
    "vpc": "vpc",
    "subnet": "subnet",
    "securityGroup": "sg",
    "securityGroupIngressRule": "sgr",
    "securityGroupEgressRule": "sgr",
    "defaultSecurityGroup": "sg",
    "routeTable": "rtb",
    "defaultRouteTable": "rtb",
    "internetGateway": "igw",
    "natGateway": "nat",
    "eip": "eipalloc",
    "vpcEndpoint": "vpce",
    "networkInterface": "eni",
}

# Types whose id is their ARN, and how the ARN ends; {name} is the physical name.
_ARN = {
    "aws:s3/bucket:Bucket": "arn:aws:s3:::{name}",
    "aws:iam/role:Role": "arn:aws:iam::{account}:role/{name}",
    "aws:iam/policy:Policy": "arn:aws:iam::{account}:policy/{name}",
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": (
        "arn:aws:iam::{account}:oidc-provider/{host}"
    ),
    "aws:rds/instance:Instance": "arn:aws:rds:{region}:{account}:db:{name}",
    "aws:ecs/cluster:Cluster": "arn:aws:ecs:{region}:{account}:cluster/{name}",
    "aws:ecs/service:Service": "arn:aws:ecs:{region}:{account}:service/{name}",
    "aws:ecs/taskDefinition:TaskDefinition": (
        "arn:aws:ecs:{region}:{account}:task-definition/{name}:1"
    ),
    "aws:cloudwatch/logGroup:LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}",
    "aws:secretsmanager/secret:Secret": (
        "arn:aws:secretsmanager:{region}:{account}:secret:{name}-{hex6}"
    ),
    "aws:ssm/parameter:Parameter": "arn:aws:ssm:{region}:{account}:parameter/{bare}",
    "aws:lb/loadBalancer:LoadBalancer": (
        "arn:aws:elasticloadbalancing:{region}:{account}:loadbalancer/app/{name}/{hex16}"
    ),
    "aws:lb/targetGroup:TargetGroup": (
        "arn:aws:elasticloadbalancing:{region}:{account}:targetgroup/{name}/{hex16}"
    ),
    "aws:lb/listener:Listener": (
        "arn:aws:elasticloadbalancing:{region}:{account}:listener/app/{name}/{hex16}"
    ),
    "aws:ecr/repository:Repository": "arn:aws:ecr:{region}:{account}:repository/{name}",
    "aws:acm/certificate:Certificate": "arn:aws:acm:{region}:{account}:certificate/{uuid}",
}
_ID_IS_ARN = (
    "aws:lb/",
    "aws:acm/certificate:",
    "aws:secretsmanager/secret:",
    "aws:iam/policy:",
    "aws:ecs/service:",
    "aws:ecs/cluster:",
)
_ID_IS_NAME = (
    "aws:s3/",
    "aws:rds/",
    "aws:iam/role:",
    "aws:cloudwatch/",
    "aws:ssm/",
    "aws:ecs/taskDefinition:",
)

LookUp = Callable[[Mapping[str, Any], str], Mapping[str, Any]]


def digits(urn: str, count: int) -> str:
    """Hex digits that belong to a URN, the same every time."""
    return hashlib.sha256(urn.encode()).hexdigest()[:count]


def physical_name(registered: Registered) -> tuple[str, str]:
    """The name property of a type ("" when it has none) and the value it will have."""
    kind = registered.type
    key = _AUTO_NAMED.get(kind, "" if kind.startswith(_NAMELESS) else "name")
    given = registered.inputs.get(key) if key else None
    if isinstance(given, str) and given:
        return key, given
    prefix = registered.inputs.get(f"{key}Prefix")
    start = prefix if isinstance(prefix, str) and prefix else f"{registered.name}-"
    return key, f"{start}{digits(registered.urn, 7)}".lower()


def generic(registered: Registered, region: str) -> Answer:
    """Id, ARN and auto-name of any resource."""
    key, name = physical_name(registered)
    kind = registered.type
    hexes = digits(registered.urn, 32)
    module, _, rest = kind.partition(":")[2].partition("/")
    short = rest.partition(":")[0]
    template = _ARN.get(kind, "arn:aws:{module}:{region}:{account}:{short}/{name}")
    arn = template.format(
        name=name,
        bare=name.removeprefix("/"),
        host=str(registered.inputs.get("url", "")).removeprefix("https://"),
        account=ACCOUNT,
        region=region,
        module=module,
        short=short,
        hex6=hexes[:6],
        hex16=hexes[:16],
        uuid=f"{hexes[:8]}-{hexes[8:12]}-{hexes[12:16]}-{hexes[16:20]}-{hexes[20:]}",
    )
    if kind.startswith(_ID_IS_ARN):
        ident = arn
    elif kind.startswith(_ID_IS_NAME):
        ident = name
    elif short in _ID_PREFIX:
        ident = f"{_ID_PREFIX[short]}-{hexes[:17]}"
    else:
        ident = name
    outputs: dict[str, Any] = {}
    if kind.startswith("aws:"):
        outputs |= {"arn": arn, "region": registered.inputs.get("region", region)}
        if key:
            outputs[key] = name
    if kind == "aws:ecr/repository:Repository":
        outputs |= {"registryId": ACCOUNT, "repositoryUrl": f"{registry(ACCOUNT, region)}/{name}"}
    return Answer(ident, outputs)


def _zones(_: Mapping[str, Any], region: str) -> Mapping[str, Any]:
    names = [f"{region}{letter}" for letter in "abcdef"]
    number = digits(region, 1)
    return {
        "id": region,
        "names": names,
        "zoneIds": [f"{region[:2]}{number}-az{n}" for n in range(1, 7)],
    }


def _zone(args: Mapping[str, Any], _: str) -> Mapping[str, Any]:
    name = str(args.get("name") or "example.com").rstrip(".")
    zone = "Z" + digits(name, 20).upper()
    return {
        "id": zone,
        "zoneId": zone,
        "name": name,
        "arn": f"arn:aws:route53:::hostedzone/{zone}",
        "nameServers": [f"ns-{n}.awsdns-00.example" for n in range(4)],
    }


def _registry_login(args: Mapping[str, Any], region: str) -> Mapping[str, Any]:
    account = str(args.get("registryId") or ACCOUNT)
    # Nobody logs in here: no registry is behind it.
    return {
        "id": region,
        "userName": "AWS",
        "password": Secret("none"),
        "authorizationToken": Secret("none"),
        "proxyEndpoint": f"https://{registry(account, region)}",
        "expiresAt": "2100-01-01T00:00:00Z",
    }


def registry(account: str, region: str) -> str:
    """Host of an account's private image registry."""
    return f"{account}.dkr.ecr.{region}.amazonaws.com"


def _vpc(args: Mapping[str, Any], region: str) -> Mapping[str, Any]:
    vpc = str(args.get("id") or "vpc-" + digits(region, 17))
    return {"id": vpc, "cidrBlock": "10.0.0.0/16", "state": "available"}


def _subnet(args: Mapping[str, Any], region: str) -> Mapping[str, Any]:
    subnet = str(args.get("id") or "subnet-" + digits(region, 17))
    zone = f"{region}{'abc'[int(digits(subnet, 4), 16) % 3]}"
    return {"id": subnet, "vpcId": str(args.get("vpcId") or ""), "availabilityZone": zone}


_LOOK_UPS: dict[str, LookUp] = {
    "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
    "aws:index/getCallerIdentity:getCallerIdentity": lambda _, __: {
        "id": ACCOUNT,
        "accountId": ACCOUNT,
        "arn": f"arn:aws:iam::{ACCOUNT}:user/here",
        "userId": "HERE",
    },
    "aws:index/getRegion:getRegion": lambda _, region: {
        "id": region,
        "name": region,
        "region": region,
        "endpoint": f"ec2.{region}.amazonaws.com",
        "description": region,
    },
    "aws:index/getPartition:getPartition": lambda _, __: {
        "id": "aws",
        "partition": "aws",
        "dnsSuffix": "amazonaws.com",
        "reverseDnsPrefix": "com.amazonaws",
    },
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": _registry_login,
    "aws:route53/getZone:getZone": _zone,
    "aws:ec2/getVpc:getVpc": _vpc,
    "aws:ec2/getSubnet:getSubnet": _subnet,
}


def look_up(token: str, args: Mapping[str, Any], region: str) -> Mapping[str, Any]:
    """The answer of a provider function that is known here.

    Raises:
        ProgramError: only AWS could answer it.
    """
    if token not in _LOOK_UPS:
        known = ", ".join(sorted(name.rpartition(":")[2] for name in _LOOK_UPS))
        raise ProgramError(
            f"The program looks up {token}, which only AWS can answer; known here are {known}."
        )
    return {**args, **_LOOK_UPS[token](args, str(args.get("region") or region))}
