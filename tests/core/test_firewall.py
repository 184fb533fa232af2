from trackstack.core.firewall import INCLUDED_CAPACITY, LEFT_OUT, RULE_GROUPS


def test_exactly_the_rules_that_mlflow_s_traffic_matches_count_instead_of_blocking() -> None:
    assert {group.name: set(group.counted) for group in RULE_GROUPS} == {
        "AWSManagedRulesAmazonIpReputationList": set(),
        "AWSManagedRulesKnownBadInputsRuleSet": {
            "JavaDeserializationRCE_BODY",
            "Log4JRCE_BODY",
            "ReactJSRCE_BODY",
        },
        "AWSManagedRulesCommonRuleSet": {
            "SizeRestrictions_BODY",
            "SizeRestrictions_QUERYSTRING",
            "SizeRestrictions_URIPATH",
            "SizeRestrictions_Cookie_HEADER",
            "NoUserAgent_HEADER",
            "RestrictedExtensions_URIPATH",
            "RestrictedExtensions_QUERYARGUMENTS",
            "GenericLFI_BODY",
            "GenericRFI_BODY",
            "GenericRFI_QUERYARGUMENTS",
            "EC2MetaDataSSRF_BODY",
            "CrossSiteScripting_BODY",
        },
    }


def test_no_rule_that_reads_bodies_blocks_as_an_artifact_may_hold_anything() -> None:
    """The core rule set's and the known bad inputs' rules on bodies, from AWS's list."""
    of_bodies = {
        "SizeRestrictions_BODY",
        "EC2MetaDataSSRF_BODY",
        "GenericLFI_BODY",
        "GenericRFI_BODY",
        "CrossSiteScripting_BODY",
        "JavaDeserializationRCE_BODY",
        "Log4JRCE_BODY",
        "ReactJSRCE_BODY",
    }
    assert of_bodies <= {rule for group in RULE_GROUPS for rule in group.counted}


def test_path_traversal_in_a_path_or_query_is_blocked() -> None:
    counted = {rule for group in RULE_GROUPS for rule in group.counted}
    assert counted.isdisjoint({"GenericLFI_URIPATH", "GenericLFI_QUERYARGUMENTS"})


def test_a_month_with_a_million_requests_costs_less_than_ten_dollars() -> None:
    assert 5 + len(RULE_GROUPS) + 0.60 <= 10
    assert sum(group.capacity for group in RULE_GROUPS) <= INCLUDED_CAPACITY


def test_every_rule_that_counts_and_every_group_left_out_has_its_reason() -> None:
    reasons = [*LEFT_OUT.values(), *(r for group in RULE_GROUPS for r in group.counted.values())]
    assert all(len(reason) > 20 for reason in reasons)
    assert {group.name for group in RULE_GROUPS}.isdisjoint(LEFT_OUT)
