"""A project's folders, without those that hold other people's files by the thousand."""

import os
from collections.abc import Iterator
from pathlib import Path

ENTRIES = 500_000
"""Names looked at before a search ends unfinished: somebody's home may hold millions."""

_SKIPPED = frozenset((
    *(".git", ".hg", ".svn", ".venv", ".tox", ".nox", ".terraform", "node_modules"),
    *("site-packages", "__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache"),
    *(".ruff_cache", ".import_linter_cache"),
))  # fmt: skip


class Walk:
    """The folders below one, each with its names; links aren't followed, not even to files."""

    def __init__(self, folder: Path, entries: int = ENTRIES) -> None:
        self._folder = folder
        self._left = entries

    @property
    def whole(self) -> bool:
        """Whether nothing was left out for the bound's sake."""
        return self._left >= 0

    def __iter__(self) -> Iterator[tuple[Path, list[str], list[str]]]:
        """A folder, the names of folders in it and of files; empty the second to go no deeper."""
        for name, folders, files in os.walk(self._folder):
            self._left -= len(folders) + len(files)
            if not self.whole:
                return
            if "pyvenv.cfg" in files and Path(name) != self._folder:  # an environment by any name
                folders.clear()
                continue
            here = Path(name)
            folders[:] = sorted(
                one for one in folders if one not in _SKIPPED and not (here / one).is_symlink()
            )
            yield here, folders, sorted(one for one in files if not (here / one).is_symlink())
