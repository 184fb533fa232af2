"""The policy pack and the package in a real Pulumi engine, the one against moto.

Who has no ``pulumi`` CLI, or no ``pulumi-resource-aws`` that speaks to moto, sees these skipped;
tests/policy asks the same pack by the same protocol, tests/rules/test_package.py the same plugin.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.engine import Engine, engine_of, missing

ROOT = Path(__file__).parents[2]
_MISSING = missing()

pytestmark = [
    pytest.mark.live,
    pytest.mark.engine,
    pytest.mark.xdist_group("engine-policy"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(_MISSING), reason=f"no real engine here: {_MISSING}"),
]

PLANTED = """
from pulumi import ResourceOptions
from pulumi_aws import Provider, iam, s3
bare = ResourceOptions(provider=Provider("bare", region="us-east-1"))
s3.Bucket("planted", acl="public-read", opts=bare)
iam.User("planted-user", opts=bare)
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine_of("dev", tmp_path_factory.mktemp("policy")) as engine:
        (engine.project / "policy").symlink_to(ROOT / "policy")
        yield engine


def test_an_engine_finds_nothing_wrong_with_a_stack_of_this_repository(engine: Engine) -> None:
    told = engine.pulumi("preview", "--policy-pack", "policy")
    assert "✅ trackstack@v0.1.0 (local: policy)" in told.stdout


def test_an_engine_refuses_what_violates_a_mandatory_rule(engine: Engine) -> None:
    program = engine.project / "__main__.py"
    right = program.read_text()
    program.write_text(right + PLANTED)
    told = engine.pulumi("preview", "--policy-pack", "policy", check=False)
    program.write_text(right)
    assert told.returncode != 0
    assert "❌ trackstack@v0.1.0 (local: policy)" in told.stdout
    for rule, kind, name in (  # of one resource, and of how several belong together
        ("bucket-public", "aws:s3:Bucket", "planted"),
        ("bucket-without-access-block", "aws:s3:Bucket", "planted"),
        ("long-lived-credentials", "aws:iam:User", "planted-user"),
    ):
        assert f"{rule}  ({kind}: {name})" in told.stdout
