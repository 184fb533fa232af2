"""Subnets, Fargate sizes, timeouts and connections: the arithmetic of a stack."""

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackstack.core import database, fargate, scaling
from trackstack.core.subnets import ZONES_MAX, ZONES_MIN, plan_subnets
from trackstack.core.timeouts import timeouts_for

vpcs = st.builds(
    lambda prefix, bits: IPv4Network((bits >> (32 - prefix) << (32 - prefix), prefix)),
    st.integers(16, 24),
    st.integers(0, 2**32 - 1),
)
zone_counts = st.integers(ZONES_MIN, ZONES_MAX)


@given(vpcs, zone_counts)
def test_subnets_lie_in_the_vpc_and_never_overlap(vpc: IPv4Network, zones: int) -> None:
    plan = plan_subnets(str(vpc), zones)
    subnets = [IPv4Network(cidr) for cidr in (*plan.public, *plan.private)]
    assert len(subnets) == 2 * zones
    assert all(subnet.subnet_of(vpc) for subnet in subnets)
    assert not any(a.overlaps(b) for i, a in enumerate(subnets) for b in subnets[:i])


@given(vpcs, zone_counts)
def test_a_balancer_fits_in_every_subnet(vpc: IPv4Network, zones: int) -> None:
    plan = plan_subnets(str(vpc), zones)
    assert all(IPv4Network(c).prefixlen <= 27 for c in (*plan.public, *plan.private))


@given(vpcs, st.integers(ZONES_MIN, ZONES_MAX - 1))
def test_a_zone_added_later_renumbers_nothing(vpc: IPv4Network, zones: int) -> None:
    before, after = plan_subnets(str(vpc), zones), plan_subnets(str(vpc), zones + 1)
    assert after.public[:zones] == before.public
    assert after.private[:zones] == before.private


@pytest.mark.parametrize(
    ("cidr", "zones"), [("10.0.0.0/15", 2), ("10.0.0.0/25", 2), ("10.0.0.0/16", 1)]
)
def test_a_plan_that_aws_would_refuse_is_refused(cidr: str, zones: int) -> None:
    with pytest.raises(ValueError, match="not between"):
        plan_subnets(cidr, zones)


@given(st.sampled_from(sorted(fargate.MEMORY_MIB)), st.integers(0, 130_000))
def test_the_smallest_memory_is_sold_and_enough(cpu: int, at_least: int) -> None:
    memory = fargate.smallest_memory_mib(cpu, at_least)
    if memory is None:
        assert at_least > fargate.MEMORY_MIB[cpu][-1]
    else:
        assert fargate.is_valid(cpu, memory)
        assert memory >= at_least


@given(st.integers(1, 90))
def test_a_disk_holds_two_of_the_largest_artifact_and_fargate_sells_it(gib: int) -> None:
    disk = fargate.ephemeral_gib(gib)
    assert disk - fargate.EPHEMERAL_GIB_FREE == 2 * gib
    assert fargate.EPHEMERAL_GIB_MIN <= disk <= fargate.EPHEMERAL_GIB_MAX


@given(st.integers(1, 66))
def test_the_balancer_gives_up_before_the_server_and_a_leaving_task_has_the_same_time(
    minutes: int,
) -> None:
    t = timeouts_for(minutes)
    assert 60 <= t.idle_seconds <= 4000
    assert t.idle_seconds >= minutes * 60
    assert t.keep_alive_seconds == t.idle_seconds + 15
    assert t.deregistration_seconds == min(t.idle_seconds, 3600)
    assert t.graceful_seconds < t.stop_seconds <= 120


@given(st.integers(1, 66))
def test_a_rollout_is_waited_for_until_all_that_may_fail_have_failed(minutes: int) -> None:
    t = timeouts_for(minutes)
    assert t.rollout_minutes * 60 >= 3 * 600 + t.deregistration_seconds


@given(st.sampled_from(sorted(fargate.MEMORY_MIB)))
def test_a_task_is_given_half_of_what_its_cpu_was_measured_to_take(cpu: int) -> None:
    assert abs(scaling.requests_per_minute(cpu) - 415 / 2 / 2 * 60 * cpu / 1024) <= 1


def test_cloudwatch_s_name_of_a_target_group_s_requests_is_read_from_the_arns() -> None:
    of = "arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012"
    label = scaling.request_count_label(
        f"{of}:loadbalancer/app/mlflow-door/0123456789abcdef",
        f"{of}:targetgroup/mlflow-door-tracking/fedcba9876543210",
    )
    assert label == (
        "app/mlflow-door/0123456789abcdef/targetgroup/mlflow-door-tracking/fedcba9876543210"
    )


def test_the_smallest_database_holds_one_small_server_during_a_deployment() -> None:
    assert database.wanted_connections(tasks=1, workers=1) == 60
    assert database.usable_connections("db.t4g.micro") == 72


def test_no_database_holds_more_than_postgresql_is_set_to() -> None:
    assert database.usable_connections("db.r7g.4xlarge") == 4995


@given(st.integers(1, 4995), st.sampled_from(sorted(database.MEMORY_GIB)))
def test_the_class_that_is_advised_holds_what_is_wanted(connections: int, like: str) -> None:
    advised = database.smallest_class_for(connections, like)
    if advised is not None:
        assert database.usable_connections(advised) >= connections
        assert advised.split(".")[1] == like.split(".")[1]
