"""Sentences of the server that an alarm listens for: who prints them and who filters agree here.

A metric filter matches a phrase of a log line. Were the phrase written twice, a better wording in
the server would switch the alarm off without a word.
"""

MIGRATION_STOPPED = "The migration stopped:"
"""Before the sentence with which ``trackstack.server migrate`` ends, whatever the reason."""
TOKEN_NOT_RENEWED = "The database token could not be renewed"  # noqa: S105 - a sentence
"""Begins every complaint about a renewal that failed; the next try may still succeed."""


def phrase_filter(sentence: str) -> str:
    """CloudWatch Logs' filter pattern for lines that hold the sentence, wherever it stands."""
    return f'"{sentence}"'
