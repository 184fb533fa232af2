"""How a VPC's range is cut into subnets; which zones they lie in is somebody else's decision.

The cut is the same for every number of zones, so a zone added later renumbers nothing: a subnet
whose range changes would be replaced, and the database with it.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network

ZONES_MIN = 2
"""RDS subnet groups and application load balancers refuse fewer."""
ZONES_MAX = 4
"""Places that the cut keeps; few regions have more zones."""
VPC_PREFIX_MIN = 16
"""AWS's largest VPC (Amazon VPC User Guide, "VPC CIDR blocks")."""
VPC_PREFIX_MAX = 24
"""Cut in eight, each subnet is a /27: the least that a load balancer accepts (ELB User Guide)."""

_PLACES_BITS = 3  # 2 kinds x ZONES_MAX places


@dataclass(frozen=True)
class SubnetPlan:
    """One public and one private range for each zone, in the order of the zones."""

    public: tuple[str, ...]
    private: tuple[str, ...]


def plan_subnets(vpc_cidr: str, zones: int) -> SubnetPlan:
    """Cut the range; ValueError when it or the number of zones is out of bounds."""
    network = IPv4Network(vpc_cidr)
    if not VPC_PREFIX_MIN <= network.prefixlen <= VPC_PREFIX_MAX:
        msg = f"{vpc_cidr} is not between /{VPC_PREFIX_MIN} and /{VPC_PREFIX_MAX}"
        raise ValueError(msg)
    if not ZONES_MIN <= zones <= ZONES_MAX:
        msg = f"{zones} zones are not between {ZONES_MIN} and {ZONES_MAX}"
        raise ValueError(msg)
    blocks = [str(block) for block in network.subnets(prefixlen_diff=_PLACES_BITS)]
    return SubnetPlan(
        public=tuple(blocks[:zones]), private=tuple(blocks[ZONES_MAX : ZONES_MAX + zones])
    )
