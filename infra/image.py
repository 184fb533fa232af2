"""The files that go into the server's image: the only place that reads this repository."""

from pathlib import Path

from trackstack.core import image_content

ROOT = Path(__file__).parents[1]
CONTEXT = "."
"""The root, as the engine sees it: a path of this machine in the state would change on the next."""


def content(architecture: str) -> str:
    """The image's tag; see ``image_content.fingerprint``."""
    files = {}
    for copied in image_content.COPIED:
        place = ROOT / copied
        for file in [place] if place.is_file() else place.rglob("*"):
            path = file.relative_to(ROOT).as_posix()
            if file.is_file() and image_content.belongs(path):
                files[path] = file.read_bytes()
    return image_content.fingerprint(files, architecture)
