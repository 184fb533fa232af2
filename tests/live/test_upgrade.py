"""A stack that the first release deployed, brought up by this program in a real engine.

Its twin without an engine is tests/rules/test_replacing.py.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.live.engine import SPARES_MOTO, engine_of, missing
from tests.live.stacks import PROGRAM, ROOT
from tests.rules.replacing import DATA

RELEASED = "95fc2e2655f7700bdcb45a17339f8685aa7cb3a7"


def _lacking() -> str:
    if absent := missing():
        return absent
    known = subprocess.run(
        ["git", "cat-file", "-e", f"{RELEASED}^{{commit}}"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    return "" if known.returncode == 0 else f"no commit {RELEASED[:7]} in this clone"


_LACKING = _lacking()

pytestmark = [
    pytest.mark.live,
    pytest.mark.engine,
    pytest.mark.xdist_group("engine"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(_LACKING), reason=f"no upgrade to be tried here: {_LACKING}"),
]


def released_program(folder: Path) -> Path:
    """The first release's files and stack files."""
    folder.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", RELEASED, "stacks", *PROGRAM],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    subprocess.run(["tar", "-x"], cwd=folder, input=archive.stdout, check=True)
    return folder


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_a_stack_of_the_first_release_becomes_this_one_without_losing_data(
    stack: str, tmp_path: Path
) -> None:
    with engine_of(stack, tmp_path, released_program, {}) as engine:
        engine.up()
        before = engine.outputs()
        secrets = {one["ARN"] for one in engine.aws("secretsmanager").list_secrets()["SecretList"]}

        # The user's stack file stays as it was: what is new comes by its defaults.
        for name in PROGRAM:
            old = engine.project / name
            shutil.rmtree(old) if old.is_dir() else old.unlink()
            (engine.project / name).symlink_to(ROOT / name)
        for key, value in SPARES_MOTO.items():
            engine.set(key, value)
        changes = engine.up()

        lost = [c for c in changes if c.type in DATA and c.op not in {"create", "update"}]
        assert lost == []
        assert changes, "nothing was new"
        after = engine.outputs()
        for output in ("tracking_uri", "artifact_bucket", "backend_endpoint", "backend_secret_arn"):
            assert after[output] == before[output], output
        left = {one["ARN"] for one in engine.aws("secretsmanager").list_secrets()["SecretList"]}
        assert secrets <= left
        assert not [c for c in engine.preview() if c.type in DATA]
