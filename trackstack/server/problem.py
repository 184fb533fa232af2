"""A refusal as the container says it: one sentence on standard error and an exit code."""

FAILED = 1
"""Something outside failed: the database, the disk, MLflow itself."""
MISUSED = 2
"""The command or its environment is wrong; starting it again won't help."""
NOT_ALLOWED = 3
"""The database holds data of an older schema and nobody allowed the upgrade."""
UNKNOWN_SCHEMA = 4
"""The database's schema is newer than this image, or somebody else's."""


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a defect
    """Why a command doesn't go on; whoever catches it shows the sentence, never a traceback."""

    def __init__(self, sentence: str, exit_code: int = FAILED) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code
