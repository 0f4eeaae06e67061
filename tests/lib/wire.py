# SPDX-License-Identifier: Apache-2.0
"""Protobuf by hand for the messages of context.v1: a message is a dict. Needs neither protoc nor a library."""
import struct

# field number -> (name, kind); kinds: string, int, double, [kind] repeated, map, or the name of a message.
MESSAGES = {
    "ContextEnrichRequest": {1: ("request_id", "string"), 2: ("entity_id", "string"), 3: ("user_id", "string"),
                             4: ("query", "string"), 5: ("inputs", ["string"]), 6: ("attributes", "map"),
                             7: ("created_at", "int"), 8: ("prompt_id", "string")},
    "ContextItem": {1: ("source", "string"), 2: ("kind", "string"), 3: ("content", "string"), 4: ("score", "double"),
                    5: ("metadata", "map")},
    "ContextPack": {1: ("pack_id", "string"), 2: ("request_id", "string"), 3: ("entity_id", "string"),
                    4: ("summary", "string"), 5: ("items", ["ContextItem"]), 6: ("model", "string"),
                    7: ("prompt_tokens", "int"), 8: ("completion_tokens", "int"), 9: ("created_at", "int"),
                    10: ("schema_version", "int")},
    "ContextEnrichReady": {1: ("request_id", "string"), 2: ("correlation_id", "string"), 3: ("pack", "ContextPack"),
                           4: ("published_at", "int")},
}


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _length_delimited(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def _encode_one(field, kind, value):
    if kind == "string":
        return _length_delimited(field, value if isinstance(value, bytes) else value.encode())
    if kind == "int":
        return varint(field << 3) + varint(value) if value else b""
    if kind == "double":
        return varint(field << 3 | 1) + struct.pack("<d", value) if value else b""
    if kind == "map":
        return b"".join(_length_delimited(field, _encode_one(1, "string", key) + _encode_one(2, "string", value[key]))
                        for key in value)
    return _length_delimited(field, encode(kind, value))


def encode(message, fields):
    unknown = set(fields) - {name for name, _ in MESSAGES[message].values()}
    assert not unknown, "%s has no %s" % (message, ", ".join(sorted(unknown)))
    out = b""
    for number, (name, kind) in sorted(MESSAGES[message].items()):
        value = fields.get(name)
        if isinstance(kind, list):
            out += b"".join(_encode_one(number, kind[0], one) for one in value or ())
        elif value not in ("", None):
            out += _encode_one(number, kind, value)
    return out


def _read_varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def _fields(data):
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        if tag & 7 == 0:
            value, at = _read_varint(data, at)
        elif tag & 7 == 1:
            value, at = data[at:at + 8], at + 8
        elif tag & 7 == 5:
            value, at = data[at:at + 4], at + 4
        else:
            size, at = _read_varint(data, at)
            if at + size > len(data):
                raise ValueError("cut in field %d" % (tag >> 3))
            value, at = data[at:at + size], at + size
        yield tag >> 3, value


def _decode_one(kind, value):
    if kind == "string":
        return value.decode()
    if kind == "int":
        return value - (1 << 64) if value >> 63 else value
    if kind == "double":
        return struct.unpack("<d", value)[0]
    return decode(kind, value)


def decode(message, data):
    """All known fields, with proto3's default for an absent one (None for a message)."""
    zero = {"string": "", "int": 0, "double": 0.0}
    out = {}
    for name, kind in MESSAGES[message].values():
        out[name] = [] if isinstance(kind, list) else {} if kind == "map" else zero.get(kind)
    for number, value in _fields(data):
        if number not in MESSAGES[message]:
            continue
        name, kind = MESSAGES[message][number]
        if isinstance(kind, list):
            out[name].append(_decode_one(kind[0], value))
        elif kind == "map":
            entry = dict(_fields(value))
            out[name][entry.get(1, b"").decode()] = entry.get(2, b"").decode()
        else:
            out[name] = _decode_one(kind, value)
    return out
