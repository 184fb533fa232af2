"""What goes into the server's image, as a tag; reading the files is somebody else's duty.

A registry whose tags can't be moved refuses a second image under one tag. So the tag is made of
exactly what the Dockerfile reads, and of what it is built for: equal content, equal tag.
"""

import hashlib
import json
from collections.abc import Mapping

DOCKERFILE = "trackstack/server/Dockerfile"
COPIED = (
    "trackstack/__init__.py",
    "trackstack/core",
    "trackstack/server",
)
"""Files and folders that the Dockerfile copies, itself and its lock among them."""
PLATFORMS = {"arm64": "linux/arm64", "x86_64": "linux/amd64"}
"""Architecture to what the builder calls it."""

_NO_CONTENT = ("__pycache__", ".pyc")
_TAG_DIGITS = 32


def belongs(path: str) -> bool:
    """Whether a file goes into the image, by its path from the repository's root.

    It says what ``COPIED`` and the ``.dockerignore`` beside the Dockerfile say.
    """
    if any(part in path for part in _NO_CONTENT):
        return False
    return any(path == one or path.startswith(f"{one}/") for one in COPIED)


def fingerprint(files: Mapping[str, bytes], architecture: str) -> str:
    """The image's tag: 32 hexadecimal digits of the files' paths and bytes.

    Args:
        files: path from the repository's root to content; what doesn't belong is left out.
        architecture: what it is built for.

    Raises:
        ValueError: the Dockerfile is not among them.
    """
    if DOCKERFILE not in files:
        msg = f"{DOCKERFILE} is not among the files"
        raise ValueError(msg)
    parts = [
        [path, hashlib.sha256(content).hexdigest()]
        for path, content in sorted(files.items())
        if belongs(path)
    ]
    text = json.dumps([architecture, parts])
    return hashlib.sha256(text.encode()).hexdigest()[:_TAG_DIGITS]


def retention(images: int, untagged_days: int) -> str:
    """ECR's lifecycle policy: so many images stay, and what lost its tag so many days."""
    rules = [
        {
            "rulePriority": 1,
            "description": "What an interrupted push left behind",
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": untagged_days,
            },
            "action": {"type": "expire"},
        },
        {
            "rulePriority": 2,
            "description": "All but the newest images",
            "selection": {
                "tagStatus": "any",
                "countType": "imageCountMoreThan",
                "countNumber": images,
            },
            "action": {"type": "expire"},
        },
    ]
    return json.dumps({"rules": rules})
