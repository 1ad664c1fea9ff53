#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Power cuts on a real process: every write acknowledged before the cut is there after it.

usage: power_cut_test.py BUILD [--points N] [--seconds S] [--seed N]

A site alone keeps its store on a loop device over a FUSE export of a blklogwrites node, which logs
every write and flush in the order in which they reached the disk. A writer keeps a record of what
was acknowledged and how long the log was at that moment. Then the disk is rebuilt as a power cut
at N points of the log would have left it: what a flush covers is there; of later writes a random
subset, one of them torn, or all, or none. The site is started on it and the volume is compared with the record up
to that point. Every tenth time `store check` reads the whole store too.

Canaries: disks that lost what a flush had covered. Each must be found out, or the check is worth
nothing. The log has the order in which requests began: a write still in flight when a flush began
counts as covered, which is kinder than a disk needs to be; the simulator has no such kindness.
"""
import argparse
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from alone import Alone, find_bin  # noqa: E402
from cluster import Failed, wait_for  # noqa: E402

STORE_BYTES = 128 << 20
VOLUME = "48MiB"
WINDOW_MIB = 24
LOG_MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
SECTOR = 512
ENTRY = struct.Struct("<QQQQQQ")  # of the writer's record
ACKED = 2
CANARY_ACKS = 40  # acknowledged writes that a canary loses


class Disk:
    """The recording disk: qemu-storage-daemon's blklogwrites, FUSE, a loop device."""

    def __init__(self, folder):
        self.dir, self.proc, self.loop = folder, None, None
        self.log = os.path.join(folder, "disk.log")
        self.image = os.path.join(folder, "disk.raw")
        self.mount = os.path.join(folder, "disk.fuse")

    def __enter__(self):
        for path, size in ((self.image, STORE_BYTES), (self.log, 0), (self.mount, 0)):
            with open(path, "wb") as f:
                f.truncate(size)
        try:
            self.proc = subprocess.Popen(
                ["qemu-storage-daemon", "--blockdev", f"driver=file,node-name=f,filename={self.image}",
                 "--blockdev", f"driver=file,node-name=l,filename={self.log}",
                 "--blockdev", "driver=blklogwrites,node-name=b,file=f,log=l,log-sector-size=512",
                 "--export", f"type=fuse,id=e,node-name=b,mountpoint={self.mount},writable=on,growable=off"])
            wait_for("the FUSE export is there", 20, lambda: os.stat(self.mount).st_size == STORE_BYTES)
            self.loop = subprocess.run(["losetup", "--find", "--show", self.mount], check=True,
                                       capture_output=True, text=True).stdout.strip()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.loop is not None:
            subprocess.run(["losetup", "--detach", self.loop], check=False)
            wait_for(f"{self.loop} is given back", 20, lambda: self.mount not in subprocess.run(
                ["losetup", "--list", "--noheadings", "--output", "BACK-FILE", self.loop],
                check=False, capture_output=True, text=True).stdout)
            self.loop = None
        if self.proc is not None:
            self.proc.terminate()  # writes the log's number of entries
            try:
                self.proc.wait(30)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait(10)
            self.proc = None
            subprocess.run(["umount", "-q", self.mount], check=False, stderr=subprocess.DEVNULL)


def read_log(path):
    """[(bytes of the log so far, offset on the disk, bytes, flags, offset of the data in the log)]"""
    entries = []
    with open(path, "rb") as f:
        magic, _, count, sector = struct.unpack("<QQQI", f.read(28))
        if magic != LOG_MAGIC or sector != SECTOR:
            raise Failed(f"{path} is no log of writes")
        at = SECTOR
        for _ in range(count):
            f.seek(at)
            where, sectors, flags, _ = struct.unpack("<QQQQ", f.read(32))
            at += SECTOR
            data, nbytes = at, sectors * SECTOR
            if not flags & DISCARD:
                at += nbytes
            entries.append((at, where * SECTOR, nbytes, flags, data))
    return entries


class Image:
    """The disk up to some entry of the log, in a file; copies of it with something added."""

    def __init__(self, log, entries, path):
        self.log, self.entries, self.path, self.next = open(log, "rb"), entries, path, 0
        with open(path, "wb") as f:
            f.truncate(STORE_BYTES)
        self.file = open(path, "r+b", buffering=0)

    def apply(self, f, entry, part=None):
        _, where, nbytes, flags, data = entry
        if flags & MARK or nbytes == 0:
            return
        f.seek(where)
        if flags & DISCARD:
            f.write(bytes(nbytes))
            return
        self.log.seek(data)
        content = self.log.read(nbytes)
        if part is not None:  # torn: only these sectors reached the disk
            old = os.pread(f.fileno(), nbytes, where)
            content = b"".join((content if i in part else old)[i * SECTOR:(i + 1) * SECTOR]
                               for i in range(nbytes // SECTOR))
        f.write(content)

    def go_to(self, index):
        """All entries before `index` are there."""
        while self.next < index:
            self.apply(self.file, self.entries[self.next])
            self.next += 1

    def copy_with(self, path, later):
        shutil.copyfile(self.path, path)
        with open(path, "r+b", buffering=0) as f:
            for index, part in later:
                self.apply(f, self.entries[index], part)


class Cut:
    """One cut: entries before base are on the disk, of the later ones those in `later`."""

    def __init__(self, kind, base, later, until, must_fail=False):
        self.kind, self.base, self.later, self.until, self.must_fail = kind, base, later, until, must_fail


def choose(rng, entries, first, points, acks):
    """`points` cuts at or after entry `first`, and canaries; in the order of their base."""
    flushes = [i for i in range(first, len(entries)) if entries[i][3] & FLUSH]
    if len(flushes) < 50:
        raise Failed(f"only {len(flushes)} flushes in the log")
    last_flush, base_of = 0, []
    for i, entry in enumerate(entries):
        base_of.append(last_flush)
        if entry[3] & FLUSH:
            last_flush = i + 1
    cuts = []
    for i in rng.sample(flushes, min(points * 2 // 5, len(flushes))):
        cuts.append(Cut("flush", i + 1, [], entries[i][0]))
    spans = [(i, i - base_of[i]) for i in flushes if i > base_of[i]]  # a flush and the writes it covers
    wide = sorted(spans, key=lambda s: s[1])[-max(20, len(spans) // 20):]
    while len(cuts) < points:
        flush, count = rng.choice(wide if len(cuts) % 2 else spans)
        end = flush if rng.random() < 0.5 else rng.randrange(flush - count, flush) + 1
        keep, later = rng.choice((0.0, 0.3, 0.5, 0.8, 1.0)), []
        for k in range(base_of[flush], end):
            if entries[k][3] & FUA or rng.random() < keep:
                later.append((k, None))
        if later and rng.random() < 0.5:
            which = rng.randrange(len(later))
            sectors = entries[later[which][0]][2] // SECTOR
            if not entries[later[which][0]][3] & FUA:
                later[which] = (later[which][0], {i for i in range(sectors) if rng.random() < 0.5})
        cuts.append(Cut("inside", base_of[flush], later, entries[end - 1][0]))
    return sorted(cuts + canaries(rng, entries, flushes, acks), key=lambda c: c.base)


def canaries(rng, entries, flushes, acks):
    found, few = [], len(flushes) // 4
    for n, i in enumerate(rng.sample(flushes[few:-few], 6)):
        until = entries[i][0]
        known = [m for m in acks if m <= until]
        if len(known) <= CANARY_ACKS:
            continue
        base = max(k for k in flushes if entries[k][0] < known[-CANARY_ACKS]) + 1
        later = [] if n % 2 == 0 else [(k, None) for k in range(base, i) if rng.random() < 0.5]
        found.append(Cut("canary", base, later, until, must_fail=True))
    if not found:
        raise Failed("too few acknowledgements for a canary")
    return found


class Test:
    def __init__(self, build, folder, a):
        self.build, self.dir, self.a = build, folder, a
        self.writer = find_bin(build, "ack_writer")
        self.record = os.path.join(folder, "record")
        self.authority = os.path.join(folder, "authority")

    def record_run(self):
        """A life of the site on the recording disk; the log's length when the volume was there."""
        with Disk(self.dir) as disk:
            site = Alone(self.build, os.path.join(self.dir, "site"), disk.loop, memory="64MiB")
            var_lib = os.path.join(self.dir, "lib")
            try:
                site.format()
                site.start(var_lib)
                site.create(VOLUME)
                begin = os.stat(disk.log).st_size
                shutil.copyfile(os.path.join(var_lib, "twinshore", "east.authority"), self.authority)
                r = subprocess.run([self.writer, "write", "--record", self.record, "--mark", disk.log, "--seconds",
                                    str(self.a.seconds), "--seed", str(self.a.seed), "--window-mib", str(WINDOW_MIB),
                                    site.uri()], capture_output=True, text=True, check=False)
                if r.returncode != 0:
                    raise Failed(f"the writer ended with {r.returncode}: {r.stderr}; {site.log_tail()}")
                report, group = json.loads(r.stdout), site.is_primary()
                rc = site.end(signal.SIGTERM)
                if rc != 0:
                    raise Failed(f"twinshored ended with {rc} after SIGTERM: {site.log_tail()}")
            finally:
                site.end()
        print(f"recorded: {report['acknowledged']} writes acknowledged, head at {group['head_lsn'] >> 20} MiB, "
              f"folded to {group['fold_lsn'] >> 20} MiB", flush=True)
        os.unlink(disk.image)
        return disk.log, begin

    def acks(self):
        with open(self.record, "rb") as f:
            data = f.read()
        return [e[5] for e in ENTRY.iter_unpack(data) if e[0] == ACKED]

    def try_cut(self, image, cut, number):
        """'' if every acknowledged write is there, else what is wrong."""
        site = Alone(self.build, os.path.join(self.dir, "again"), os.path.join(self.dir, "again.raw"), memory="64MiB")
        image.copy_with(site.store, cut.later)
        shutil.copyfile(self.authority, site.store + ".authority")
        try:
            site.start()
            try:
                site.wait_primary(20)
            except Failed as e:
                return f"the site does not serve: {e}; {site.log_tail()}"
            r = subprocess.run([self.writer, "verify", "--record", self.record, "--until-mark", str(cut.until),
                                site.uri()], capture_output=True, text=True, check=False)
            if r.returncode != 0:
                return f"verify: {(r.stderr + r.stdout).strip()}"
            if number % 10 == 0 and not cut.must_fail:
                if site.end(signal.SIGTERM) != 0:
                    return f"no clean end: {site.log_tail()}"
                r = subprocess.run([find_bin(self.build, "twinshore"), "store", "check", site.store],
                                   capture_output=True, text=True, check=False)
                if r.returncode != 0 and "not available" not in r.stderr + r.stdout:
                    return f"store check: {(r.stderr + r.stdout).strip()}"
            return ""
        finally:
            site.end()

    def run(self):
        log, begin = self.record_run()
        entries = read_log(log)
        first = next(i for i, e in enumerate(entries) if e[0] > begin)
        flushes = sum(1 for e in entries if e[3] & FLUSH)
        print(f"log: {len(entries)} entries, {flushes} flushes, {entries[-1][0] >> 20} MiB", flush=True)
        cuts = choose(random.Random(self.a.seed), entries, first, self.a.points, self.acks())
        image = Image(log, entries, os.path.join(self.dir, "base.raw"))
        passed = failed = 0
        began = time.monotonic()
        for number, cut in enumerate(cuts):
            image.go_to(cut.base)
            wrong = self.try_cut(image, cut, number)
            if bool(wrong) == cut.must_fail:
                passed += 1
            else:
                failed += 1
                what = "a disk that lost what was flushed was not found out" if cut.must_fail else wrong
                print(f"FAIL cut {number} ({cut.kind}): before entry {cut.base} of the log, later {cut.later}, "
                      f"until {cut.until}: {what}", flush=True)
                if not cut.must_fail and failed <= 2 and self.a.keep:
                    shutil.copyfile(os.path.join(self.dir, "base.raw"), f"{self.a.keep}/cut-{number}.raw")
        kinds = [sum(1 for c in cuts if c.kind == k) for k in ("flush", "inside", "canary")]
        print(f"cuts: {kinds[0]} at a flush, {kinds[1]} inside, {kinds[2]} canaries; "
              f"{time.monotonic() - began:.0f} s")
        return passed, failed


def missing():
    if os.geteuid() != 0:
        return "not root"
    for name in ("qemu-storage-daemon", "losetup", "unshare"):
        if shutil.which(name) is None:
            return f"no {name}"
    if not os.path.exists("/dev/fuse") or not os.path.exists("/dev/loop-control"):
        return "no /dev/fuse or no loop devices"
    return None


def room_for(bytes_wanted):
    """Memory is much faster than a disk here; what counts was recorded already."""
    try:
        v = os.statvfs("/dev/shm")
        if v.f_bavail * v.f_frsize > bytes_wanted:
            return "/dev/shm"
    except OSError:
        pass
    return None


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("build")
    ap.add_argument("--points", type=int, default=200)
    ap.add_argument("--seconds", type=float, default=6)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--keep", help="a folder for the disks of the first two failures")
    a = ap.parse_args()
    why = missing()
    if why is not None:
        print(f"skipped: {why}\n0 passed, 0 failed, 1 skipped")
        return 77
    folder = tempfile.mkdtemp(prefix="ts-cut-", dir=room_for(6 << 30))
    passed = failed = 0
    try:
        passed, failed = Test(a.build, folder, a).run()
    except (Failed, subprocess.SubprocessError, OSError) as e:
        failed += 1
        print(f"FAIL {e}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
