"""Artifacts up and down: byte-identical, whatever their size, way and name."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.live.stacks import Stack

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("stack")]

SCRIPT = Path(__file__).parent / "scripts" / "artifacts.py"
MIB = 1 << 20
# Not among them, because MLflow itself takes them for something else: its server answers
# "Invalid path" to a "#" and decodes "%41" twice; its client cuts a name at "?".
STRANGE = (
    "with space.txt",
    "ünïcödé 日本語 🧪.txt",
    "100%.txt",
    "a+b.txt",
    "a&b=c;d.txt",
    'it\'s "quoted".txt',
    "[brackets] {braces}.txt",
    "two  spaces.txt",
    ".hidden",
    "empty.txt",
    "nested/deep er/100%/ü+.txt",
)
MULTIPART = {
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "true",
    "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": str(6 * MIB),
    "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": str(5 * MIB),
    "MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE": str(6 * MIB),
    "MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE": str(5 * MIB),
}


def write_random(file: Path, size: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        for _ in range(0, size, MIB):
            out.write(os.urandom(min(MIB, size)))


def sums(folder: Path) -> dict[str, str]:
    """Relative path to SHA-256 of every file below a folder."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def carry(
    stack: Stack, tmp_path: Path, more: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Carry ``tmp_path/source`` up and down; what the client did, and what came back."""
    (tmp_path / "cwd").mkdir()
    argv = (SCRIPT, tmp_path / "source", tmp_path / "target")
    printed = stack.client(*argv, cwd=tmp_path / "cwd", more=more).stdout
    told = json.loads(printed.splitlines()[-1])
    return told, sums(tmp_path / "target")


def on_disk(stack: Stack, told: Mapping[str, Any]) -> dict[str, str]:
    """What lies in the bucket's folder for the run."""
    return sums(stack.objects / "runs" / told["experiment_id"] / told["run_id"] / "artifacts")


def test_64_mib_through_the_server_come_back_identical(dev_stack: Stack, tmp_path: Path) -> None:
    write_random(tmp_path / "source" / "weights.bin", 64 * MIB)
    told, back = carry(dev_stack, tmp_path)
    sent = sums(tmp_path / "source")
    assert back == sent
    assert on_disk(dev_stack, told) == sent
    (put,) = [line for line in told["up"] if line.startswith("PUT ")]
    assert put.startswith(f"PUT {dev_stack.uri}/api/2.0/mlflow-artifacts/")


def test_presigned_multipart_goes_past_the_server_and_comes_back_identical(
    dev_stack: Stack, tmp_path: Path
) -> None:
    write_random(tmp_path / "source" / "big" / "weights.bin", 16 * MIB)
    told, back = carry(dev_stack, tmp_path, MULTIPART)
    sent = sums(tmp_path / "source")
    assert back == sent
    assert on_disk(dev_stack, told) == sent
    parts = [line for line in told["up"] if line.startswith("PUT ")]
    assert len(parts) == 4  # 5 + 5 + 5 + 1 MiB
    assert not [line for line in parts if line.startswith(f"PUT {dev_stack.uri}/")]
    bucket = dev_stack.outputs["artifact_bucket"]
    assert all(f"/{bucket}/" in line and "X-Amz-Signature=" in line for line in parts)
    ranges = [line for line in told["down"] if "X-Amz-Signature=" in line]
    assert len(ranges) >= 4


@pytest.mark.parametrize("way", ["proxied", "presigned"])
def test_strange_names_survive_the_way_up_and_down(
    dev_stack: Stack, tmp_path: Path, way: str
) -> None:
    for index, name in enumerate(STRANGE):
        file = tmp_path / "source" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        size = 6 * MIB if way == "presigned" else 100 + index
        write_random(file, 0 if name == "empty.txt" else size)
    told, back = carry(dev_stack, tmp_path, MULTIPART if way == "presigned" else None)
    assert back == sums(tmp_path / "source")
    assert back.keys() == set(STRANGE)
    assert on_disk(dev_stack, told) == back
