"""Pulumi's wire values as plain Python: unknowns, secrets and outputs keep their meaning.

The signatures are those of Pulumi's ``sdk/go/common/resource``; a dictionary that carries one
under ``SIGNATURE`` is a special value and not a map.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf import struct_pb2

from trackstack.embedded.record import UNKNOWN, Secret

SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a signature of the protocol
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_REFERENCE = "5cf8f73096256a8f31e491e813e4eb8e"
UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def load(struct: struct_pb2.Struct) -> dict[str, Any]:
    """The plain values of a message; numbers without a fraction become integers."""
    return {key: _load(value) for key, value in struct.fields.items()}


def _load(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _load_struct(value.struct_value)
    if kind == "list_value":
        return [_load(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "string_value":
        return UNKNOWN if value.string_value == UNKNOWN_STRING else value.string_value
    return value.bool_value if kind == "bool_value" else None


def _load_struct(struct: struct_pb2.Struct) -> Any:
    plain = load(struct)
    signature = plain.pop(SIGNATURE, None)
    if signature == _SECRET:
        return Secret(plain.get("value"))
    if signature == _OUTPUT:
        value = plain.get("value", UNKNOWN)
        return Secret(value) if plain.get("secret") else value
    if signature == _REFERENCE:
        return plain.get("id") or plain.get("urn")
    return plain


def dump(values: Mapping[str, Any]) -> struct_pb2.Struct:
    """The message of plain values; the reverse of ``load``."""
    return struct_pb2.Struct(fields={key: _dump(value) for key, value in values.items()})


def _dump(value: Any) -> struct_pb2.Value:  # noqa: PLR0911 - a case for each kind of value
    if value is UNKNOWN:
        return struct_pb2.Value(string_value=UNKNOWN_STRING)
    if isinstance(value, Secret):
        return _dump({SIGNATURE: _SECRET, "value": value.value})
    if isinstance(value, Mapping):
        return struct_pb2.Value(struct_value=dump(value))
    if isinstance(value, list | tuple):
        return struct_pb2.Value(
            list_value=struct_pb2.ListValue(values=[_dump(item) for item in value])
        )
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    return struct_pb2.Value(string_value=str(value))


def reveal(value: Any) -> Any:
    """The value without its secret marks, for the one who runs it; never for printing."""
    if isinstance(value, Secret):
        return reveal(value.value)
    if isinstance(value, Mapping):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    return value


def has_unknown(value: Any) -> bool:
    """Whether an unknown hides anywhere in the value."""
    if isinstance(value, Secret):
        return has_unknown(value.value)
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN


def show(value: Any) -> Any:
    """The value as people and ``--json`` may see it: secrets and unknowns by a word."""
    if isinstance(value, Secret):
        return "[secret]"
    if value is UNKNOWN:
        return "[unknown]"
    if isinstance(value, Mapping):
        return {key: show(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [show(item) for item in value]
    return value
