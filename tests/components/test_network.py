import json
from typing import Any

import pytest
from pulumi_aws import get_availability_zones_output

from components.network import Network, NetworkArgs
from tests.components.recorder import Declared, declare

BUCKET = "arn:aws:s3:::runs"


def args(**more: object) -> NetworkArgs:
    base: NetworkArgs = {"region": "us-east-1", "zones": ["us-east-1a", "us-east-1b"]}
    return {**base, **more}  # type: ignore[typeddict-item]


def network(**more: Any) -> Declared:
    return declare(lambda: Network("net", args(**more)))


def test_every_zone_has_a_public_and_a_private_subnet() -> None:
    subnets = network().all(":Subnet")
    assert {(s.name, s.inputs["availabilityZone"]) for s in subnets} == {
        ("net-public-1", "us-east-1a"),
        ("net-private-1", "us-east-1a"),
        ("net-public-2", "us-east-1b"),
        ("net-private-2", "us-east-1b"),
    }
    assert len({s.inputs["cidrBlock"] for s in subnets}) == 4


def test_a_list_of_zones_that_changes_moves_no_subnet() -> None:
    for subnet in network().all(":Subnet"):
        assert subnet.options.ignore_changes == ("availabilityZone",)


def test_the_default_security_group_lets_nothing_through() -> None:
    group = network().one(":DefaultSecurityGroup")
    assert group.inputs["ingress"] == []
    assert group.inputs["egress"] == []


def test_by_default_tasks_get_out_by_their_own_address_and_no_gateway_is_paid() -> None:
    declared = network()
    outputs = declared.outputs("Network")
    assert declared.all(":NatGateway") == []
    assert outputs["assign_public_ip"] is True
    assert outputs["task_subnet_ids"] == outputs["public_subnet_ids"]


def test_private_subnets_have_no_way_out_unless_there_is_a_nat() -> None:
    assert [r.name for r in network().all(":Route")] == ["net-public-out"]


@pytest.mark.parametrize(("egress", "gateways"), [("nat", 1), ("nat_per_zone", 2)])
def test_behind_a_nat_tasks_are_private(egress: str, gateways: int) -> None:
    declared = network(egress=egress)
    outputs = declared.outputs("Network")
    assert len(declared.all(":NatGateway")) == gateways
    assert outputs["assign_public_ip"] is False
    assert outputs["task_subnet_ids"] == outputs["private_subnet_ids"]
    ways = [r for r in declared.all(":Route") if "natGatewayId" in r.inputs]
    assert len(ways) == 2
    assert len({r.inputs["natGatewayId"] for r in ways}) == gateways


def test_a_nat_waits_for_the_way_out() -> None:
    declared = network(egress="nat")
    way_out = declared.one(":Route", "net-public-out").urn
    assert way_out in declared.one(":NatGateway").dependencies


def test_artifacts_reach_s3_from_every_subnet_without_a_gateway_that_bills_them() -> None:
    declared = network(artifact_bucket_arn=BUCKET)
    endpoint = declared.one(":VpcEndpoint")
    assert endpoint.inputs["vpcEndpointType"] == "Gateway"
    assert endpoint.inputs["serviceName"] == "com.amazonaws.us-east-1.s3"
    assert set(endpoint.inputs["routeTableIds"]) == {t.id for t in declared.all(":RouteTable")}
    policy = json.dumps(declared.policy(endpoint))
    assert f"{BUCKET}/*" in policy
    assert "prod-us-east-1-starport-layer-bucket" in policy


def test_connections_are_noted_where_a_bucket_is_given_and_only_there() -> None:
    assert network().all(":FlowLog") == []
    flows = network(log_bucket_arn="arn:aws:s3:::logs").one(":FlowLog").inputs
    assert (flows["trafficType"], flows["logDestinationType"]) == ("ALL", "s3")
    # Below AWSLogs, where the bucket's policy lets the delivery write to.
    assert flows["logDestination"] == "arn:aws:s3:::logs"


@pytest.mark.parametrize("egress", ["public", "nat"])
def test_an_existing_vpc_is_used_and_nothing_is_made(egress: str) -> None:
    existing = {
        "vpc_id": "vpc-1",
        "public_subnet_ids": ["subnet-1", "subnet-2"],
        "private_subnet_ids": ["subnet-3", "subnet-4"],
    }
    declared = declare(
        lambda: Network("net", {"region": "us-east-1", "egress": egress, "existing": existing})
    )
    assert declared.made() == []
    assert declared.outputs("Network") == {
        **existing,
        "task_subnet_ids": existing[
            "public_subnet_ids" if egress == "public" else "private_subnet_ids"
        ],
        "assign_public_ip": egress == "public",
    }


def test_a_component_that_looks_something_up_fails_its_test() -> None:
    def program() -> None:
        Network("net", args(zones=get_availability_zones_output().names.apply(list)))

    with pytest.raises(Exception, match="looked up aws:index/getAvailabilityZones"):
        declare(program)
