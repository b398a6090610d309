#!/usr/bin/env python3
"""Reads Perigee packets as the comment of transport/wire.h describes them, without any of its code.

    wire_decode.py GOLDEN     checks every line `name hex json` of a file of golden packets
    wire_decode.py --hex HEX  prints one packet as JSON
"""
import json
import struct
import sys

MASK = (1 << 64) - 1


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def splitmix(z):
    z = z + 0x9E3779B97F4A7C15 & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def connection_id(sender, receiver):
    state = 0
    for word in (*sender, *receiver):
        state = splitmix(state ^ word)
    return state


class Body:
    def __init__(self, data):
        self.data = data

    def take(self, size):
        if size > len(self.data):
            raise ValueError("body too short")
        part, self.data = self.data[:size], self.data[size:]
        return part

    def fixed(self, layout):
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def varint(self):
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("varint too long")


def decode_ack(body):
    largest, hold, count = body.fixed("QIH")
    ranges, last = [], largest
    for i in range(count):
        if i > 0:
            last = ranges[-1][0] - body.varint() - 2
        first = last - body.varint()
        if first < 0:
            raise ValueError("range below 0")
        ranges.append([first, last])
    return {"largest": largest, "hold_us": hold, "ranges": ranges}


def decode_frame(body):
    kind = body.fixed("B")[0]
    if kind == 1:
        return {"frame": "ping"}
    if kind == 2:
        names = ("message", "size", "epoch", "op", "chunk", "phase", "attempt")
        return {"frame": "credit", **dict(zip(names, body.fixed("QQQQIBB")))}
    if kind == 3:
        identity, distance, length = body.fixed("QIH")
        return {"frame": "message", "id": identity, "floor": identity - distance,
                "bytes": body.take(length).hex()}
    if kind == 4:
        return {"frame": "ack", **decode_ack(body)}
    raise ValueError(f"frame type {kind}")


def decode(packet):
    if crc32c(packet[:-4]) != struct.unpack("<I", packet[-4:])[0]:
        raise ValueError("checksum")
    header = struct.unpack("<BBHIQQ", packet[:24])
    version_type, flags, length, distance, connection, number = header
    if version_type >> 4 != 1 or flags & ~0x03 or length != len(packet) - 28:
        raise ValueError("header")
    floor = 0 if distance == 0xFFFFFFFF else number - distance
    kind = {1: "data", 2: "control", 3: "ack", 5: "fenced"}[version_type & 15]
    result = {"type": kind, "flags": flags,
              "connection": f"{connection:016x}", "number": number, "floor": floor}
    body = Body(packet[24:-4])
    if result["type"] == "data":
        message, segment, count, block, k, r = body.fixed("QIIHBB")
        if (block, k, r) != (0, 0, 0):
            raise ValueError("reserved fields")
        result.update(message=message, segment=segment, count=count, bytes=body.data.hex())
    elif result["type"] == "ack":
        result.update(decode_ack(body))
    elif result["type"] == "fenced":
        if body.data:
            raise ValueError("a body")
    else:
        result["frames"] = []
        while body.data:
            result["frames"].append(decode_frame(body))
    return result


def main():
    if sys.argv[1] == "--hex":
        print(json.dumps(decode(bytes.fromhex(sys.argv[2]))))
        return 0
    assert crc32c(b"123456789") == 0xE3069283, "the check value of CRC32C"
    expected_connection = connection_id((0x0123456789ABCDEF, 0x1122334455667788),
                                        (0xFEDCBA9876543210, 0x8877665544332211))
    failures = 0
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            name, packet, expected = line.split(" ", 2)
            decoded = decode(bytes.fromhex(packet))
            if decoded.pop("connection") != f"{expected_connection:016x}":
                print(f"{name}: wrong connection id")
                failures += 1
            if decoded != json.loads(expected):
                print(f"{name}: decoded {json.dumps(decoded)}\n  expected {expected.strip()}")
                failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
