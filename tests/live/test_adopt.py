"""Stray runs in a stack: they keep the ids that they had, so whatever names them goes on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.cases import stray_runs
from tests.live.stacks import ROOT, Stack, clean_environment

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("stack")]


def test_a_stack_gives_adopted_runs_their_own_ids_and_every_point(
    dev_stack: Stack, tmp_path: Path
) -> None:
    stray_runs(tmp_path / "mlruns", 6, 1500)
    ids = {meta.parent.name for meta in tmp_path.glob("mlruns/*/*/meta.yaml")}
    done = subprocess.run(
        [sys.executable, "-m", "trackstack.cli", "adopt", tmp_path, "--json", "--delete", "--yes"],
        cwd=ROOT,
        env=clean_environment() | {"MLFLOW_TRACKING_URI": dev_stack.uri},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (store,) = json.loads(done.stdout)["stores"]
    (experiment,) = store["experiments"]
    assert {(run["id"], run["id_there"]) for run in experiment["runs"]} == {
        (one, one) for one in ids
    }
    assert len(ids) == 6
    assert store["removed"]
    assert not (tmp_path / "mlruns").exists()
    for run_id in ids:
        asked = f"metrics/get-history?run_id={run_id}&metric_key=metric-0"
        assert len(dev_stack.call(asked)["metrics"]) == 375
