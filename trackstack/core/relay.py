"""How a run gets the id that its client already uses: what the relay and the server agree on.

A run begun while the server is away needs an id at once, and a create that is sent again must not
make a second run. So the client chooses the id and says it in a reserved tag.
"""

import re

ID_TAG = "trackstack.id"
"""Reserved: the id that a relay gave to a run or model. Our server takes it, any other keeps it, so
that whoever has the id finds what it became."""

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_MODEL_ID = re.compile(r"m-[0-9a-f]{32}")


def is_run_id(text: str) -> bool:
    """Whether a run may have this id: 32 lowercase hexadecimal digits, as MLflow's own."""
    return _RUN_ID.fullmatch(text) is not None


def is_model_id(text: str) -> bool:
    """Whether a logged model may have this id: ``m-`` and 32 lowercase hexadecimal digits."""
    return _MODEL_ID.fullmatch(text) is not None
