"""``python -m tests.bench``: prints the tables of ``docs/measurements.md``."""

import argparse
import datetime as dt
import platform
import shlex
import sys

import mlflow
import psutil

from tests.bench.cases import CASES, run


def main() -> None:
    """Run the chosen cases, one after the other; tables to stdout, progress to stderr."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", choices=CASES, action="append", help="a case; default: all")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved; medians count")
    parser.add_argument("--runs", type=int, default=5000, help="that search_runs searches")
    parser.add_argument("--points", type=int, default=10_000, help="that a relay is given")
    parser.add_argument("--minutes", type=float, default=5, help="of unrest, with each server")
    parser.add_argument("--mib", type=int, default=1024, help="size of the large artifact")
    parser.add_argument("--adopt-runs", type=int, default=1000, help="that adopt moves")
    parser.add_argument("--adopt-points", type=int, default=1000, help="of metrics in each of them")
    options = parser.parse_args()
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    gib = psutil.virtual_memory().total / (1 << 30)
    print(f"`python -m tests.bench {shlex.join(sys.argv[1:])}`, {now}, {platform.machine()},")
    print(
        f"{psutil.cpu_count()} cores, {gib:.0f} GiB, Python {platform.python_version()},", end=" "
    )
    print(f"MLflow {mlflow.__version__}.", flush=True)
    for name in options.only or CASES:
        print(f"\n### {name}\n", flush=True)
        print("\n".join(run(name, options)), flush=True)


if __name__ == "__main__":
    main()
