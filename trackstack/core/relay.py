"""Names that the relay, the server's store and the client's settings share."""

ID_TAG = "trackstack.id"
"""Reserved: the id that a relay gave to a run or model. Our server takes it, any other keeps it, so
that whoever has the id finds what it became."""
