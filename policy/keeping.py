"""What must be kept, for how long and by whose key."""

from collections.abc import Iterator

from policy.buckets import BUCKETS
from policy.databases import CLUSTER, INSTANCE
from policy.reading import Resource, number, on
from policy.rule import ADVISORY, CRITICAL, LOW, MANDATORY, MEDIUM, Config, Rules, listing

RULES = Rules()

_PRODUCTION = {
    "stacks": listing("Names of the stacks whose data must survive.", "prod", "production")
}


@RULES.about(INSTANCE, CLUSTER, *BUCKETS, level=MANDATORY, severity=CRITICAL, config=_PRODUCTION)
def data_unprotected_in_production(it: Resource, config: Config) -> Iterator[str]:
    """No destroy and no slip in a console takes a production stack's data along."""
    if it.stack not in config["stacks"]:
        return
    if not it.protect:
        yield "a `pulumi destroy` would take it along: declare it with protect=True."
    if it.type in BUCKETS:
        if on(it.get("forceDestroy")):
            yield "it may be deleted with all that is in it: leave force_destroy out."
        return
    if it.off("deletionProtection"):
        yield "AWS would delete it when asked once: set deletion_protection=True."
    if on(it.get("skipFinalSnapshot")):
        yield "it would go without a last snapshot: leave skip_final_snapshot out."


@RULES.about("aws:cloudwatch/logGroup:LogGroup", level=MANDATORY, severity=LOW)
def log_kept_for_ever(it: Resource, _: Config) -> Iterator[str]:
    """Every log has an end, for the bill and for whoever is named in it."""
    days = it.get("retentionInDays")
    if days is None or number(days) == 0:
        yield "it is kept for ever, and billed so: set retention_in_days."


@RULES.about("aws:kms/key:Key", level=MANDATORY, severity=MEDIUM)
def key_not_rotated(it: Resource, _: Config) -> Iterator[str]:
    """Every key that encrypts gets new material each year."""
    spec = it.text("customerMasterKeySpec") or it.text("keySpec") or "SYMMETRIC_DEFAULT"
    usage = it.text("keyUsage") or "ENCRYPT_DECRYPT"
    if (spec, usage) == ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT") and it.off("enableKeyRotation"):
        yield "its material never changes: set enable_key_rotation=True."


@RULES.about("aws:sns/topic:Topic", level=ADVISORY, severity=LOW)
def topic_unencrypted(it: Resource, _: Config) -> Iterator[str]:
    """A topic's messages are encrypted while they wait."""
    if it.get("kmsMasterKeyId") is None:
        yield (
            "its messages wait in the clear: set kms_master_key_id to a key that its publishers may"
            " use (alarms can't use alias/aws/sns)."
        )
