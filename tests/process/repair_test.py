#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bytes of a running site's store file are flipped: reads stay right, the peer repairs, what is bad everywhere is refused.

usage: repair_test.py BUILD

Blocks are found in the store files by their content, so the test knows nothing of the format: every copy
of a block that lies in a file is damaged.
"""
import json
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import SITES, Cluster, Failed, wait_for  # noqa: E402

BLOCK = 4096
BLOCKS = 1024


def rot(store, wanted):
    """Flip a byte in every place of the file that holds one of these blocks; how many places."""
    n = 0
    with open(store, "r+b", buffering=0) as f:
        size = os.fstat(f.fileno()).st_size
        for at in range(0, size, 1 << 20):
            piece = os.pread(f.fileno(), 1 << 20, at)
            for i in range(0, len(piece), BLOCK):
                if piece[i:i + BLOCK] in wanted:
                    os.pwrite(f.fileno(), bytes([piece[i + 100] ^ 4]), at + i + 100)
                    n += 1
        os.fsync(f.fileno())
    return n


def places(store, wanted):
    with open(store, "rb") as f:
        return {p for p in iter(lambda: f.read(BLOCK), b"") if p in wanted}


def read_all(c, site, path):
    c.sh(["nbdcopy", c.uri(site), path], timeout=120)
    with open(path, "rb") as f:
        return f.read(BLOCKS * BLOCK)


def qemu_io(c, site, command):
    """True when it succeeded: qemu-io tells a failed read in words only."""
    r = subprocess.run(["qemu-io", "-f", "raw", "-c", command, c.uri(site)], capture_output=True, text=True, timeout=60,
                       check=False)
    return r.returncode == 0 and "failed" not in r.stdout + r.stderr


def scrub(c, site):
    """Exit status and what was found, at one site."""
    r = subprocess.run([c.bin("twinshore"), "--admin", c.path(site, "admin"), "--json", "--timeout", "120s", "scrub", "pg"],
                       capture_output=True, text=True, timeout=150, check=False)
    if not r.stdout:
        raise Failed(f"scrub at {site}: {r.stderr}")
    return r.returncode, json.loads(r.stdout)


def run(c):
    content = random.Random(7).randbytes(BLOCKS * BLOCK)
    blocks = [content[i:i + BLOCK] for i in range(0, len(content), BLOCK)]
    image, back = os.path.join(c.dir, "image"), os.path.join(c.dir, "back")
    with open(image, "wb") as f:
        f.write(content)
    c.create(size="16MiB")
    site = c.primary()
    other = SITES[1 - SITES.index(site)]
    c.sh(["nbdcopy", "--flush", image, c.uri(site)], timeout=120)
    wait_for("all is folded", 60, lambda: c.metric(site, r'twinshore_group_fold_bytes\{group="pg"\}') ==
             c.metric(site, r'twinshore_group_commit_bytes\{group="pg"\}'))

    half = set(blocks[::2])
    n = rot(c.path(site, "store"), half)
    if n < len(half):
        raise Failed(f"only {n} places were found in the store of {site}")
    if read_all(c, site, back) != content:
        raise Failed("wrong data was read after the store had rotted")
    repairs = c.metric(site, "twinshore_repairs_total")
    errors = c.metric(site, r'twinshore_checksum_errors_total\{where="home"\}')
    if not errors:
        raise Failed("no checksum errors were counted")

    def whole_again():
        if read_all(c, site, back) != content:
            raise Failed("wrong data was read while the store was repaired")
        return places(c.path(site, "store"), half) == half
    wait_for("every block is in the store again", 60, whole_again)
    repairs = c.metric(site, "twinshore_repairs_total")
    if repairs < len(half):
        raise Failed(f"{repairs} repairs were counted for {len(half)} blocks")
    print(f"{n} places damaged at {site}: {int(repairs)} blocks repaired, {int(errors)} checksum errors at first")

    rest = set(blocks[1::2])
    wait_for("all is folded at the other site", 60, lambda: c.metric(other, r'twinshore_group_fold_bytes\{group="pg"\}') ==
             c.metric(site, r'twinshore_group_commit_bytes\{group="pg"\}'))
    rot(c.path(other, "store"), rest)
    rc, found = scrub(c, other)
    print(f"scrub at {other}, {len(rest)} blocks damaged: {found}")
    if rc != 0 or found["bytes"] < len(content) or found["bad"] < len(rest) or found["repaired"] != found["bad"]:
        raise Failed(f"the scrub at {other} did not repair what nobody had read: {rc} {found}")
    if places(c.path(other, "store"), rest) != rest:
        raise Failed("the scrub did not write every block again")

    bad = {blocks[5]}
    for s in SITES:
        rot(c.path(s, "store"), bad)
    if qemu_io(c, site, f"read {5 * BLOCK} {BLOCK}"):
        raise Failed("a block that is bad at both sites was read")
    if not qemu_io(c, site, f"read {6 * BLOCK} {BLOCK}"):
        raise Failed("its neighbour cannot be read")
    rc, found = scrub(c, site)
    if rc != 1 or found["unrepairable"] != 1 or found["repaired"] + 1 != found["bad"]:
        raise Failed(f"a scrub of a block that nobody has: {rc} {found}")
    events = c.sh([c.bin("twinshore"), "--admin", c.path(site, "admin"), "--json", "events"], timeout=30)
    if "no peer has it" not in events:
        raise Failed(f"no event tells of the block that nobody has: {events[-500:]}")
    if not qemu_io(c, site, f"write -P 3 {5 * BLOCK} {BLOCK}") or not qemu_io(c, site, f"read -P 3 {5 * BLOCK} {BLOCK}"):
        raise Failed("writing the bad block anew does not make it good")
    c.wait_state(site, "in-sync", role="primary")
    c.stop(other)
    print("a block bad at both sites: an error, an event, good again when written")


def main():
    with Cluster(sys.argv[1]) as c:
        run(c)
    return 0


if __name__ == "__main__":
    sys.exit(main())
