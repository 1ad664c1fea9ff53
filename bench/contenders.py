# SPDX-License-Identifier: Apache-2.0
"""What bench/fio compares: each serves one volume of the same size from the same disk.

A contender has start(), stop(), pids() (all its server processes), fio() (arguments that reach its
volume) and, for Twinshore, groups() (status of each site). All files are written once in full
before anything is measured; all are opened past the page cache where the program can (nbdkit's
file plugin cannot).
"""
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests/process"))
from alone import Alone  # noqa: E402
from cluster import SITES, Cluster, Failed, wait_for  # noqa: E402

JOURNAL_PERCENT = 12
STORE_FACTOR = 2  # a store's size in sizes of the volume


def aio():
    """io_uring where this qemu has it."""
    r = subprocess.run(["qemu-nbd", "--help"], capture_output=True, text=True, check=False)
    return "io_uring" if "io_uring" in r.stdout else "threads"


class Contender:
    name = ""

    def __init__(self, folder, volume_bytes, build):
        self.dir = os.path.join(folder, self.name)
        self.bytes, self.build, self.procs = volume_bytes, build, []
        os.makedirs(self.dir, exist_ok=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def disk(self, name):
        with open(self.path(name), "wb") as f:
            os.posix_fallocate(f.fileno(), 0, self.bytes)
        return self.path(name)

    def run(self, args, ready):
        with open(self.path("log"), "ab") as log:
            p = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.procs.append(p)

        def is_ready():
            if p.poll() is not None:
                raise Failed(f"{args[0]} ended with {p.returncode}: see {self.path('log')}")
            return os.path.exists(ready)
        wait_for(f"{args[0]} listens", 20, is_ready)

    def pids(self):
        return [p.pid for p in self.procs]

    def groups(self):
        return []

    def settle(self):
        """Until it has nothing left to do by itself."""

    def stop(self):
        for p in reversed(self.procs):
            p.terminate()
        for p in self.procs:
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait(10)
        self.procs = []

    def fio(self):
        return ["--ioengine=nbd", f"--uri=nbd+unix:///?socket={self.path('nbd')}"]


class Raw(Contender):
    name = "raw"

    def start(self):
        self.disk("disk")

    def fio(self):
        return ["--ioengine=io_uring", "--direct=1", f"--filename={self.path('disk')}"]


class QemuNbd(Contender):
    name = "qemu-nbd"

    def start(self):
        self.run(["qemu-nbd", "--format=raw", "--cache=none", f"--aio={aio()}", "--persistent", "--shared=8",
                  f"--socket={self.path('nbd')}", self.disk("disk")], self.path("nbd"))


class Nbdkit(Contender):
    name = "nbdkit"

    def start(self):
        self.run(["nbdkit", "--foreground", "--threads=16", "--unix", self.path("nbd"), "file", self.disk("disk")],
                 self.path("nbd"))


class QemuPair(Contender):
    """Two copies by qemu's quorum driver, both needed; the far one over a unix socket."""
    name = "qemu-pair"

    @staticmethod
    def file(path):
        return f"driver=file,filename={path},cache.direct=on,aio={aio()}"

    def start(self):
        far, near = self.path("far"), self.path("nbd")
        self.run(["qemu-storage-daemon", "--blockdev", f"{self.file(self.disk('disk-far'))},node-name=d",
                  "--nbd-server", f"addr.type=unix,addr.path={far}",
                  "--export", "type=nbd,id=e,node-name=d,name=d,writable=on"], far)
        time.sleep(0.3)  # the socket is there before the export
        self.run(["qemu-storage-daemon", "--blockdev", f"{self.file(self.disk('disk'))},node-name=a",
                  "--blockdev", f"driver=nbd,node-name=b,server.type=unix,server.path={far},export=d",
                  "--blockdev", "driver=quorum,node-name=q,vote-threshold=2,children.0=a,children.1=b",
                  "--nbd-server", f"addr.type=unix,addr.path={near}",
                  "--export", "type=nbd,id=e,node-name=q,name=,writable=on"], near)
        time.sleep(0.3)


class Twinshore(Contender):
    """Common to both modes: when is it steady?"""

    def fold_lag(self):
        return [g["head_lsn"] - g["fold_lsn"] for g in self.groups()]

    def settle(self):
        seen, since = None, time.monotonic()
        end = since + 20
        while time.monotonic() < end:
            lag = [(g["head_lsn"], g["fold_lsn"]) for g in self.groups()]
            if lag != seen:
                seen, since = lag, time.monotonic()
            elif time.monotonic() - since > 0.5:
                return
            time.sleep(0.1)

    def fio(self):
        return ["--ioengine=nbd", f"--uri={self.uri()}"]


class Single(Twinshore):
    name = "single"

    def start(self):
        self.site = Alone(self.build, self.dir, self.path("store"), memory="512MiB",
                          extra=f"journal: {JOURNAL_PERCENT}%\n")
        self.site.format(str(self.bytes * STORE_FACTOR))
        self.site.start()
        self.site.create(str(self.bytes))

    def uri(self):
        return self.site.uri()

    def pids(self):
        return [self.site.proc.pid]

    def groups(self):
        return [g for g in (self.site.status() or {}).get("groups", []) if g["name"] == "pg"]

    def journal_bytes(self):
        return self.site.status()["store"]["journal_size"]

    def stop(self):
        if getattr(self, "site", None) is not None:
            self.site.end()


class BenchCluster(Cluster):
    def _write_config(self, m):
        super()._write_config(m)
        if m != "witness":
            with open(self.path(m, "config"), "a", encoding="utf-8") as f:
                f.write(f"journal: {JOURNAL_PERCENT}%\n")


class Sync(Twinshore):
    """East serves, west must have every write on its disk, a witness looks on; loopback TCP."""
    name = "sync"

    def start(self):
        self.cluster = BenchCluster(self.build, size=str(self.bytes * STORE_FACTOR), memory="512MiB", base=self.dir)
        self.cluster.__enter__()
        self.cluster.create(size=str(self.bytes))

    def uri(self):
        return self.cluster.uri("east")

    def pids(self):
        return [p.pid for p in self.cluster.procs.values()]

    def groups(self):
        return [g for g in (self.cluster.group(s) for s in SITES) if g]

    def journal_bytes(self):
        return self.cluster.status("east")["store"]["journal_size"]

    def stop(self):
        if getattr(self, "cluster", None) is not None:
            self.cluster.__exit__(None, None, None)


ALL = [Raw, QemuNbd, Nbdkit, QemuPair, Single, Sync]
