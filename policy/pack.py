"""All rules of the pack, in the order of their modules."""

from policy import (
    buckets,
    containers,
    databases,
    doors,
    identities,
    keeping,
    ownership,
)

NAME = "trackstack"
POLICIES = [
    policy
    for module in (buckets, databases, doors, identities, containers, keeping, ownership)
    for policy in module.RULES.policies
]
