"""The bench isn't run by tests, but it must start."""

import subprocess
import sys


def test_the_bench_knows_its_options() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.bench", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--points" in done.stdout
