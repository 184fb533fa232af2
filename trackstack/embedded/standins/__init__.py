"""Who plays which AWS resource on this machine; one noun a file."""

from trackstack.embedded.standins.balancer import Balancer
from trackstack.embedded.standins.base import StandIn
from trackstack.embedded.standins.bucket import Bucket
from trackstack.embedded.standins.database import Database
from trackstack.embedded.standins.secret import SecretStore
from trackstack.embedded.standins.shape import Shapes
from trackstack.embedded.standins.task import Tasks
from trackstack.embedded.standins.values import KeptValues

CATALOGUE: tuple[StandIn, ...] = (
    KeptValues(),
    Shapes(),
    SecretStore(),
    Database(),
    Bucket(),
    Balancer(),  # before the tasks: their environment carries its public name
    Tasks(),
)
"""In the order in which they plan: a task needs what comes before it."""

STAND_INS: dict[str, StandIn] = {kind: one for one in CATALOGUE for kind in one.types}
"""Type token to who plays it."""
