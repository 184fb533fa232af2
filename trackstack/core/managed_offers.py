"""What somebody else would charge for running MLflow, with what each figure assumes.

Each offer keeps artifacts in a bucket of the customer's, so the same S3 use is added to all of
them. A fee that no source at hand tells is None, never a guess.
"""

from dataclasses import dataclass
from typing import Any

from trackstack.core.cost import ARTIFACT_LINES, Estimate
from trackstack.core.prices import HOURS, READ

SAGEMAKER = "Amazon SageMaker AI pricing"
SAGEMAKER_SMALL = 0.642
"""USD an hour of the small tracking server: $469 a month."""


@dataclass(frozen=True)
class Offer:
    """A managed MLflow."""

    name: str
    fee: float | None
    """USD a month without storage. None: no source at hand tells it."""
    assumes: str
    """What the figure takes for granted, and what it leaves out."""
    source: str
    """Where it was read."""
    read: str = READ
    """Year and month of that."""


OFFERS = (
    Offer(
        "SageMaker tracking server, small",
        SAGEMAKER_SMALL * HOURS,
        "Runs all month, up to 25 users by AWS's advice; stopped at night it costs by the hour."
        " Its own metadata storage is not counted.",
        SAGEMAKER,
    ),
    Offer(
        "SageMaker tracking server, medium",
        None,
        "Up to 50 users by AWS's advice; its price an hour was not at hand: see AWS's page.",
        SAGEMAKER,
    ),
    Offer(
        "SageMaker MLflow App (serverless)",
        0.0,
        "AWS lists no charge for compute. The client needs AWS's plugin, an ARN as tracking URI"
        " and SigV4; the version lags; no registry webhooks.",
        SAGEMAKER,
    ),
    Offer(
        "Databricks managed MLflow",
        0.0,
        "Part of a workspace, without a fee of its own that a source at hand names. A workspace"
        " bills DBUs for whatever runs in it, which is not counted; tracking has quotas.",
        "Databricks documentation, MLflow tracking and resource limits",
    ),
)
"""In the order of a report."""


def storage_of(estimate: Estimate) -> float:
    """USD a month of S3 for the artifacts themselves, which every offer needs as well."""
    return sum(line.usd for line in estimate.lines if line.what in ARTIFACT_LINES)


def compare(estimate: Estimate) -> list[dict[str, Any]]:
    """The stack and every offer with USD a month, at the same use."""
    storage = storage_of(estimate)
    rows: list[dict[str, Any]] = [
        {
            "name": f"this stack ({estimate.stack})",
            "usd": round(estimate.total, 4),
            "assumes": "All that the program declares, network and alarms included.",
            "source": "the lines above",
            "read": READ,
        }
    ]
    for offer in OFFERS:
        usd = None if offer.fee is None else round(offer.fee + storage, 4)
        rows.append(
            {
                "name": offer.name,
                "usd": usd,
                "assumes": offer.assumes,
                "source": offer.source,
                "read": offer.read,
            }
        )
    return rows
