"""How much a platform is used: the half of a bill that no declaration tells."""

from dataclasses import asdict, dataclass
from typing import Any

FILES_PER_RUN = 10
"""Objects that a run leaves in the bucket: model, its metadata, a few figures."""
READS_PER_FILE = 2
"""How often each is read back in its first month."""
MB_PER_GB = 1000
"""S3's price page counts decimal megabytes; a run of 10 MB a hundred times is 1 GB."""


@dataclass(frozen=True)
class Usage:
    """A month's use; every default is an assumption, and a report lists them."""

    runs: int = 1000
    """Runs that are logged."""
    artifact_mb: float = 10
    """MB of artifacts that a run leaves."""
    stored_gb: float | None = None
    """GB of artifacts kept. Default: what this month's runs leave."""
    requests: int = 1_000_000
    """Requests that reach the balancer."""
    data_out_gb: float = 10
    """GB that leave AWS for the internet."""
    nat_gb: float = 5
    """GB that pass NAT gateways; artifacts and image layers don't."""
    log_gb: float = 1
    """GB of logs that the servers write."""
    image_gb: float = 2
    """GB of images kept in the repository."""
    flow_log_gb: float = 1
    """GB of VPC flow logs and WAF logs, where the stack declares them."""
    schedule_minutes: float = 10
    """Minutes that a scheduled task runs each time."""

    def __post_init__(self) -> None:
        """Refuse what can't be: ValueError with a sentence."""
        for name, value in asdict(self).items():
            if value is not None and value < 0:
                raise ValueError(f"{name} is {value}; nobody uses less than nothing.")

    @property
    def artifact_gb(self) -> float:
        """GB that a month's runs leave."""
        return self.runs * self.artifact_mb / MB_PER_GB

    @property
    def kept_gb(self) -> float:
        """GB of artifacts that are billed."""
        return self.artifact_gb if self.stored_gb is None else self.stored_gb

    @property
    def objects(self) -> int:
        """Objects that a month's runs write."""
        return self.runs * FILES_PER_RUN

    def to_json(self) -> dict[str, Any]:
        """Plain values, the derived default filled in."""
        return {**asdict(self), "stored_gb": self.kept_gb}
