#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Seeds for the NBD fuzzers: nbd_seeds.py HANDSHAKE_DIR SERVER_DIR"""
import os
import struct
import sys


def option(number, payload=b""):
    return b"IHAVEOPT" + struct.pack(">II", number, len(payload)) + payload


def name(n, infos=()):
    return struct.pack(">I", len(n)) + n + struct.pack(f">H{len(infos)}H", len(infos), *infos)


def request(kind, flags, cookie, shift, off, length):
    return struct.pack("<BBBBII", kind, flags, cookie, shift, off, length)


flags = struct.pack(">I", 3)
talks = {
    "go": option(7, name(b"g/v", range(5))), "info": option(6, name(b"", (1, 3))) + option(7, name(b"g/v")),
    "unknown": option(7, name(b"x")) + option(6, name(b"nope")), "list": option(3) + option(3, b"x") + option(2),
    "export": option(1, b"g/v"), "later": b"".join(option(n, b"data") for n in (4, 5, 8, 9, 10, 11, 12, 99)),
    "session": option(7, name(b"g/v?session=1&slot=0&gen=1")), "large": option(98, bytes(66000)) + option(3),
    "bad": option(7, name(b"g/v") + b"\0") + option(7, b"\xff\xff\xff\xff") + option(7, name(b"\xc3(")),
    "long": option(7, name(b"a" * 4097)), "many": option(5) * 300,
}
streams = {
    "mix": [request(k, 0, k, 0, 4096 * k, 5000) for k in (1, 0, 3, 4, 6, 0, 2)],
    "large": [request(0, 0, 1, 0, 1, 3 << 20), request(1, 1, 2, 0, 100, 700000), request(0, 0, 3, 0, 0, 4096)],
    "refused": [request(1, 2, 1, 0, 0, 9000), request(1, 0, 2, 0, 4 << 20, 8192), request(7, 0, 3, 0, 0, 1),
                request(0, 0, 4, 0x80, 9, 1), request(0, 0, 5, 0, 0, 0)],
    "many": [request(i % 2, 0, i, 0, i * 512, 512) for i in range(100)],
}
for path in sys.argv[1:3]:
    os.makedirs(path, exist_ok=True)
for k, talk in talks.items():
    open(os.path.join(sys.argv[1], k), "wb").write(flags + talk)
    open(os.path.join(sys.argv[2], "talk-" + k), "wb").write(bytes([0, 1, 0, 0]) + flags + talk)
for k, stream in streams.items():
    for luck in range(4):
        for control in (0x00, 0x30, 0xD0, 0x0E):
            open(os.path.join(sys.argv[2], f"{k}-{luck}-{control}"), "wb").write(
                bytes([3 | luck << 2, luck * 37, control, 15 if luck % 2 else 24]) + b"".join(stream))
