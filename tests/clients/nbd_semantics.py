#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an export must do, over raw sockets: nbd_semantics.py ADDRESS EXPORT

ADDRESS is unix:/path or tcp:host:port.  The content of the export is destroyed.  Prints one line
per case, "ok NAME" or "FAIL NAME: why", and exits 1 if one failed.
"""
import os
import random
import socket
import struct
import sys
import threading
import time

ADDRESS, EXPORT = sys.argv[1], sys.argv[2].encode()
READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZERO, STATUS, RESIZE = range(9)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO = 1, 2, 4, 8, 16
EPERM, EIO, EINVAL, ENOSPC = 1, 5, 22, 28
ERR = 1 << 31
MIB = 1 << 20


def check(condition, why):
    if not condition:
        raise AssertionError(why)


def equal(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r:.80}, wanted {wanted!r:.80}")


def dial():
    if ADDRESS.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30)
        s.connect(ADDRESS[5:])
        return s
    host, port = ADDRESS.removeprefix("tcp:").rsplit(":", 1)
    s = socket.create_connection((host.strip("[]"), int(port)), timeout=30)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


class Client:
    """A connection that is in haggling (go=False) or transmission."""

    def __init__(self, go=True, flags=3):
        self.s = dial()
        equal(self.get(18), b"NBDMAGICIHAVEOPT\0\3", "greeting")
        self.put(struct.pack(">I", flags))
        self.cookie = random.getrandbits(63)
        if go:
            replies = self.option(7, self.go_payload(EXPORT))
            equal(replies[-1][0], 1, f"GO {EXPORT!r} ({replies[-1][1]!r})")
            for kind, data in replies:
                if kind == 3 and data[:2] == b"\0\0":
                    self.size, self.flags = struct.unpack(">QH", data[2:12])

    @staticmethod
    def go_payload(name, infos=()):
        return struct.pack(">I", len(name)) + name + struct.pack(f">H{len(infos)}H", len(infos), *infos)

    def put(self, data):
        self.s.sendall(data)

    def get(self, n):
        parts = []
        while n > 0:
            part = self.s.recv(min(n, MIB))
            if not part:
                raise EOFError("the server closed")
            parts.append(part)
            n -= len(part)
        return b"".join(parts)

    def at_end(self):
        try:
            return self.s.recv(1) == b""
        except ConnectionResetError:
            return True

    def option_send(self, option, payload=b""):
        self.put(struct.pack(">QII", 0x49484156454F5054, option, len(payload)) + payload)

    def option_reply(self):
        magic, option, kind, n = struct.unpack(">QIII", self.get(20))
        equal(magic, 0x3E889045565A9, "option reply magic")
        return option, kind, self.get(n)

    def option(self, option, payload=b""):
        """All replies up to the final one: [(type, payload)]."""
        self.option_send(option, payload)
        replies = []
        while True:
            o, kind, data = self.option_reply()
            equal(o, option, "option of the reply")
            replies.append((kind, data))
            if kind == 1 or kind & ERR:
                return replies

    def send(self, kind, off=0, length=0, flags=0, payload=b""):
        self.cookie = (self.cookie + 1) & (1 << 64) - 1
        self.put(struct.pack(">IHHQQI", 0x25609513, flags, kind, self.cookie, off, length) + payload)
        return self.cookie

    def reply(self):
        magic, error, cookie = struct.unpack(">IIQ", self.get(16))
        equal(magic, 0x67446698, "reply magic")
        return error, cookie

    def call(self, kind, off=0, length=0, flags=0, payload=b""):
        cookie = self.send(kind, off, length, flags, payload)
        error, got = self.reply()
        equal(got, cookie, "cookie")
        return error

    def read(self, off, n, flags=0):
        equal(self.call(READ, off, n, flags), 0, f"read {off}+{n}")
        return self.get(n)

    def write(self, off, data, flags=0):
        equal(self.call(WRITE, off, len(data), flags, data), 0, f"write {off}+{len(data)}")

    def close(self):
        self.s.close()


def pattern(n, seed):
    return random.Random(seed).randbytes(n)


CASES = []


def case(f):
    CASES.append(f)
    return f


@case
def refused_options_leave_haggling_intact():
    c = Client(go=False)
    for option in (4, 5, 8, 9, 10, 11, 12, 0, 0xFFFFFFFF):
        (kind, message), = c.option(option, b"whatever")
        equal(kind, ERR + 1, f"option {option}")
        check(message.decode(), "a message")
    equal(c.option(5)[0], (ERR + 1, b"not available in this version"), "STARTTLS")
    equal(c.option(3, b"x")[0][0], ERR + 3, "LIST with data")
    equal(c.option(7, c.go_payload(b"no/such"))[-1][0], ERR + 6, "unknown export")
    equal(c.option(7, c.go_payload(EXPORT + b"?session=1&slot=0&gen=1"))[-1][0], ERR + 1, "session")
    equal(c.option(7, c.go_payload(b"a" * 4097))[-1][0], ERR + 9, "long name")
    equal(c.option(6, struct.pack(">I", 1 << 31) + b"abc")[-1][0], ERR + 3, "hostile name length")
    equal(c.option(6, c.go_payload(EXPORT) + b"\0")[-1][0], ERR + 3, "excess byte")
    equal(c.option(99, bytes(70000))[-1][0], ERR + 9, "70000 bytes")
    equal(c.option(7, c.go_payload(EXPORT))[-1][0], 1, "GO after all that")
    equal(c.call(FLUSH), 0, "flush")
    c.close()


@case
def option_of_two_mebibytes_closes():
    c = Client(go=False)
    c.put(struct.pack(">QII", 0x49484156454F5054, 99, 2 * MIB))
    check(c.at_end(), "the server must close")


@case
def info_and_go_agree():
    c = Client(go=False)
    info = c.option(6, c.go_payload(EXPORT, (0, 1, 2, 3, 77)))
    go = c.option(7, c.go_payload(EXPORT, (0, 1, 2, 3, 77)))
    equal(info, go, "answers")
    kinds = {data[1]: data for kind, data in go if kind == 3}
    equal(sorted(kinds), [0, 1, 2, 3], "infos")
    minimum, preferred, maximum = struct.unpack(">III", kinds[3][2:])
    check(minimum in (512, 4096) and preferred == 4096 and maximum == 32 * MIB, "block sizes")
    equal(kinds[1][2:], EXPORT, "name")
    c.close()


@case
def abort_is_acknowledged():
    c = Client(go=False)
    equal(c.option(2, b"bye"), [(1, b"")], "ABORT")
    check(c.at_end(), "closed")


@case
def list_names_the_export():
    c = Client(go=False)
    replies = c.option(3)
    equal(replies[-1][0], 1, "ACK")
    names = [d[4:4 + struct.unpack(">I", d[:4])[0]] for k, d in replies if k == 2]
    check(EXPORT in names, f"{EXPORT!r} in {names!r}")
    c.close()


@case
def export_name_works_too():
    for flags, n in ((3, 10), (1, 134)):
        c = Client(go=False, flags=flags)
        c.option_send(1, EXPORT)
        size, tflags = struct.unpack(">QH", c.get(n)[:10])
        check(size > 0 and tflags & 1, "size and flags")
        equal(c.call(FLUSH), 0, "flush")
        c.close()
    c = Client(go=False)
    c.option_send(1, b"no/such")
    check(c.at_end(), "an unknown name closes")


@case
def flags_promise_what_we_do():
    c = Client()
    equal(c.flags, 0x1 | 0x4 | 0x8 | 0x20 | 0x40 | 0x100, "transmission flags")
    c.close()


@case
def unaligned_writes_keep_their_neighbours():
    c = Client()
    c.write(0, b"\xee" * 3 * MIB)
    for off, n in ((1, 1), (511, 2), (4095, 2), (4096, 4096), (5000, 3), (MIB - 1, 2), (MIB - 3000, 8000)):
        before = bytearray(c.read(0, 3 * MIB))
        data = pattern(n, off)
        c.write(off, data)
        before[off:off + n] = data
        equal(c.read(0, 3 * MIB) == before, True, f"content after {off}+{n}")
    c.close()


@case
def last_byte_is_writable_and_nothing_beyond():
    c = Client()
    c.write(c.size - 1, b"!")
    equal(c.read(c.size - 1, 1), b"!", "last byte")
    equal(c.call(WRITE, c.size - 1, 2, 0, b"ab"), ENOSPC, "write beyond")
    equal(c.call(WRITE, 1 << 63, 2, 0, b"ab"), ENOSPC, "write far beyond")
    equal(c.call(WRITE, (1 << 64) - 1, 2, 0, b"ab"), ENOSPC, "write that overflows")
    equal(c.call(READ, c.size - 1, 2), EINVAL, "read beyond")
    equal(c.call(READ, (1 << 64) - 4096, 4096), EINVAL, "read that overflows")
    equal(c.call(TRIM, c.size, 1), EINVAL, "trim beyond")
    equal(c.call(ZERO, c.size - 1, 2), ENOSPC, "zeroes beyond")
    equal(c.read(c.size - 1, 1), b"!", "last byte still")
    c.close()


@case
def invalid_requests_get_einval_and_stay_in_step():
    c = Client()
    for kind, flags in ((READ, DF), (READ, NO_HOLE), (FLUSH, NO_HOLE), (TRIM, FAST_ZERO), (ZERO, FAST_ZERO),
                        (ZERO, REQ_ONE), (CACHE, 0), (STATUS, 0), (RESIZE, 0), (9, 0), (65535, 0)):
        length = 0 if kind == FLUSH else 512
        equal(c.call(kind, 0, length, flags), EINVAL, f"command {kind} flags {flags}")
    for flags in (NO_HOLE, DF, FAST_ZERO, 0x8000):
        equal(c.call(WRITE, 0, 100000, flags, bytes(100000)), EINVAL, f"write flags {flags}")
    equal(c.call(READ, 0, 33 * MIB), EINVAL, "33 MiB read")
    equal(c.call(WRITE, 0, 33 * MIB, 0, bytes(33 * MIB)), EINVAL, "33 MiB write")
    equal(c.call(FLUSH, 0, 1), EINVAL, "flush with a length")
    for kind in (READ, WRITE, TRIM, ZERO):
        equal(c.call(kind, 0, 0), 0, f"command {kind} of length 0")
    equal(len(c.read(0, 512)), 512, "and a read works")
    c.close()


@case
def write_of_four_gibibytes_closes():
    c = Client()
    c.send(WRITE, 0, (1 << 32) - 1)
    check(c.at_end(), "closed")


@case
def bad_magic_closes():
    c = Client()
    c.put(bytes(28))
    check(c.at_end(), "closed")


@case
def fua_is_accepted_on_everything():
    c = Client()
    data = pattern(10000, 1)
    c.write(12345, data, FUA)
    equal(c.read(12345, 10000, FUA), data, "data")
    for kind, length in ((FLUSH, 0), (TRIM, 4096), (ZERO, 5000)):
        equal(c.call(kind, 0, length, FUA), 0, f"command {kind}")
    c.close()


@case
def zeroes_read_back_zero_at_any_alignment():
    c = Client()
    for off, n, flags in ((0, 4096, 0), (1, 1, 0), (4095, 2, NO_HOLE), (100, 70000, 0), (65536, 65536, NO_HOLE),
                          (MIB - 5, 2 * MIB + 10, FUA), (3, 5 * MIB, FUA | NO_HOLE)):
        c.write(0, b"\xaa" * 6 * MIB)
        equal(c.call(ZERO, off, n, flags), 0, f"zero {off}+{n}")
        wanted = bytearray(b"\xaa" * 6 * MIB)
        wanted[off:off + n] = bytes(n)
        equal(c.read(0, 6 * MIB) == wanted, True, f"content after zero {off}+{n}")
    c.close()


@case
def trim_touches_nothing_outside_its_range():
    c = Client()
    c.write(0, b"\x77" * 2 * MIB)
    off, n = 70001, MIB
    equal(c.call(TRIM, off, n), 0, "trim")
    data = c.read(0, 2 * MIB)
    check(data[:off] == b"\x77" * off and data[off + n:] == b"\x77" * (2 * MIB - off - n), "neighbours")
    first = c.read(off, n)
    equal(c.read(off, n) == first, True, "trimmed content is stable")
    c.close()


@case
def whole_export_can_be_zeroed_in_one_request():
    c = Client()
    n = min(c.size, (1 << 32) - 512)
    c.write(n // 2, b"x" * 512)
    equal(c.call(ZERO, 0, n), 0, "zero all")
    equal(c.read(n // 2, 512), bytes(512), "the middle")
    c.close()


@case
def requests_of_32_mebibytes():
    c = Client()
    n = min(32 * MIB, c.size)
    data = pattern(n, 3)
    c.write(c.size - n, data)
    equal(c.read(c.size - n, n) == data, True, "content")
    if c.size > n + 777:
        c.write(777, data)
        equal(c.read(777, n) == data, True, "unaligned content")
    c.close()


@case
def later_of_two_overlapping_writes_wins():
    c = Client()
    for i in range(50):
        off = 8192 + i % 7 * 1000
        a, b = pattern(20000, i), pattern(15000, 1000 + i)
        c.send(WRITE, off, len(a), 0, a)
        c.send(WRITE, off + 3000, len(b), FUA if i % 2 else 0, b)
        for _ in range(2):
            equal(c.reply()[0], 0, "write")
        wanted = a[:3000] + b + a[18000:]
        equal(c.read(off, 20000) == wanted, True, f"round {i}")
    c.close()


@case
def write_on_one_connection_is_seen_on_the_others():
    clients = [Client() for _ in range(4)]
    for i in range(40):
        data = pattern(4096 + i, i)
        clients[i % 4].write(i * 512, data)
        equal(clients[(i + 1) % 4].read(i * 512, len(data)) == data, True, f"round {i}")
        equal(clients[(i + 2) % 4].call(FLUSH), 0, "flush")
    for c in clients:
        c.close()


@case
def three_hundred_pipelined_requests():
    c = Client()
    blocks = [pattern(4096, i) for i in range(300)]
    want = {}
    sender = threading.Thread(target=lambda: [want.__setitem__(
        c.send(WRITE, i * 4096, 4096, 0, b), i) for i, b in enumerate(blocks)])
    sender.start()
    seen = set()
    for _ in blocks:
        error, cookie = c.reply()
        equal(error, 0, "write")
        seen.add(cookie)
    sender.join()
    equal(seen, set(want), "cookies")
    equal(c.read(0, 300 * 4096) == b"".join(blocks), True, "content")
    c.close()


@case
def request_may_trickle_in_byte_by_byte():
    c = Client()
    for b in struct.pack(">IHHQQI", 0x25609513, 0, WRITE, 7, 10, 5) + b"hello":
        c.put(bytes([b]))
        time.sleep(0.002)
    equal(c.reply(), (0, 7), "reply")
    equal(c.read(10, 5), b"hello", "content")
    c.close()


@case
def disc_answers_what_is_outstanding():
    c = Client()
    data = pattern(MIB, 9)
    cookies = {c.send(WRITE, i * MIB, MIB, 0, data) for i in range(4)}
    c.send(DISC)
    got = set()
    for _ in range(4):
        error, cookie = c.reply()
        equal(error, 0, "write")
        got.add(cookie)
    equal(got, cookies, "cookies")
    check(c.at_end(), "closed")


@case
def dead_clients_cost_nobody_else():
    survivor = Client()
    for i in range(30):
        c = Client(go=i % 3 != 0)
        if i % 3 == 1:
            c.put(struct.pack(">IHHQQI", 0x25609513, 0, WRITE, 7, 0, MIB) + bytes(1000 * i))
        elif i % 3 == 2:
            for _ in range(20):
                c.send(READ, 0, MIB)
        c.close()
    survivor.write(0, b"alive")
    equal(survivor.read(0, 5), b"alive", "content")
    survivor.close()


@case
def random_requests_agree_with_a_model():
    c = Client()
    r = random.Random(4)
    area = min(4 * MIB, c.size)
    c.write(0, bytes(area))
    model = bytearray(area)
    for i in range(400):
        off = r.randrange(area)
        n = min(r.choice((1, 512, 700, 4096, 5000, 65536, 300000)), area - off)
        if r.random() < 0.3:
            off -= off % 4096
        kind = r.choice((READ, READ, WRITE, WRITE, ZERO))
        if kind == READ:
            equal(c.read(off, n) == model[off:off + n], True, f"step {i}: read {off}+{n}")
        elif kind == WRITE:
            data = r.randbytes(n)
            c.write(off, data, r.choice((0, FUA)))
            model[off:off + n] = data
        else:
            equal(c.call(ZERO, off, n, r.choice((0, NO_HOLE))), 0, "zero")
            model[off:off + n] = bytes(n)
    equal(c.read(0, area) == model, True, "everything")
    c.close()


def main():
    only = sys.argv[3:]
    failed = 0
    for f in CASES:
        if only and f.__name__ not in only:
            continue
        try:
            f()
            print("ok", f.__name__, flush=True)
        except Exception as e:  # whatever it was, the case failed
            failed += 1
            print(f"FAIL {f.__name__}: {type(e).__name__}: {e}", flush=True)
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
