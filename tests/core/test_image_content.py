import re
from pathlib import Path

import pytest

from infra import image
from trackstack.core.image_content import COPIED, DOCKERFILE, belongs, fingerprint

ROOT = Path(__file__).parents[2]
FILES = {DOCKERFILE: b"FROM x", "trackstack/core/a.py": b"a", "trackstack/server/b.py": b"b"}


def test_the_tag_changes_with_whatever_goes_into_the_image() -> None:
    tags = {
        fingerprint(FILES, "arm64"),
        fingerprint(FILES, "x86_64"),
        fingerprint({**FILES, DOCKERFILE: b"FROM y"}, "arm64"),
        fingerprint({**FILES, "trackstack/core/a.py": b"A"}, "arm64"),
        fingerprint({**FILES, "trackstack/core/c.py": b""}, "arm64"),
        fingerprint({DOCKERFILE: b"FROM x", "trackstack/core/b.py": b"a"}, "arm64"),
    }
    assert len(tags) == 6


def test_the_tag_changes_with_nothing_else() -> None:
    more = {
        "trackstack/cli/up.py": b"x",
        "trackstack/core/__pycache__/a.cpython-311.pyc": b"x",
        "README.md": b"x",
    }
    assert fingerprint({**more, **FILES}, "arm64") == fingerprint(FILES, "arm64")


def test_a_tag_is_what_a_registry_takes() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", fingerprint(FILES, "arm64"))


def test_without_the_dockerfile_there_is_no_tag() -> None:
    with pytest.raises(ValueError, match="Dockerfile is not among the files"):
        fingerprint({"trackstack/core/a.py": b"a"}, "arm64")


def test_all_that_the_dockerfile_copies_is_in_the_tag_and_nothing_more() -> None:
    text = (ROOT / DOCKERFILE).read_text()
    copied = {
        source
        for words in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for source in words.split()[:-1]
    }
    files = {
        file.relative_to(ROOT).as_posix()
        for source in copied
        for file in ([ROOT / source] if (ROOT / source).is_file() else (ROOT / source).rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert files == {path for path in files if belongs(path)}
    assert {path.split("/")[1] for path in files} == {path.split("/")[1] for path in COPIED}


def test_the_tag_of_this_repository_is_the_same_every_time() -> None:
    assert image.content("arm64") == image.content("arm64") != image.content("x86_64")
