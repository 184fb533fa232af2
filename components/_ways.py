"""Who may connect to whom: the security groups of the tasks and a rule at both ends of each way."""

from dataclasses import dataclass

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import ec2, vpc

from trackstack.core.server_environment import CONTAINER_PORT

HTTPS_PORT = 443


@dataclass(frozen=True)
class Ways:
    """The security group of a role's tasks, and the rules that must exist before they start."""

    group_id: Output[str]
    rules: list[pulumi.Resource]


def open_ways(
    parent: pulumi.ComponentResource,
    name: str,
    role: str,
    *,
    vpc_id: Input[str],
    balancer_group_id: Input[str],
    out_ports: set[int],
    database: tuple[Input[str], Input[int]] | None,
) -> Ways:
    """A role's security group: the balancer in, the given ports and the database out.

    Args:
        parent: whose children they are.
        name: the component's name.
        role: what the tasks do.
        vpc_id: the VPC of the tasks.
        balancer_group_id: security group that requests come from.
        out_ports: TCP ports that tasks are let out to.
        database: its security group and port. None: the role has no database.
    """
    child = ResourceOptions(parent=parent)
    group = ec2.SecurityGroup(
        f"{name}-{role}",
        description=f"MLflow {role} tasks",
        vpc_id=vpc_id,
        tags={"Name": f"{name}-{role}"},
        opts=child,
    )
    rules = open_way(
        parent, f"{name}-balancer-to-{role}", balancer_group_id, group.id, CONTAINER_PORT
    )
    if database is not None:
        rules += open_way(parent, f"{name}-{role}-to-database", group.id, *database)
    # AWS's APIs, the registry and S3 by TLS; an S3-compatible server by its own port.
    rules += [
        vpc.SecurityGroupEgressRule(
            f"{name}-{role}-out-{port}",
            security_group_id=group.id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            cidr_ipv4="0.0.0.0/0",
            description=f"{name} {role} out to port {port}",
            opts=child,
        )
        for port in sorted(out_ports)
    ]
    return Ways(group.id, rules)


def open_way(
    parent: pulumi.ComponentResource,
    name: str,
    source: Input[str],
    target: Input[str],
    port: Input[int],
) -> list[pulumi.Resource]:
    """A TCP port from one security group to another: out of the one, into the other."""
    child = ResourceOptions(parent=parent)
    return [
        vpc.SecurityGroupEgressRule(
            name,
            security_group_id=source,
            referenced_security_group_id=target,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=name.replace("-", " "),
            opts=child,
        ),
        vpc.SecurityGroupIngressRule(
            name,
            security_group_id=target,
            referenced_security_group_id=source,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=name.replace("-", " "),
            opts=child,
        ),
    ]
