#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory: random 4 KiB writes over a large thin volume by many connections; the peak of resident memory.

usage: soak.py BUILD [--seconds 300] [--writes 2000000] [--connections 64] [--memory-mib 128]
               [--volume 100GiB] [--store 200GiB] [--folder DIR]

By hand, not in tools/test: the store is a sparse file, which is for measuring only, and it grows by
what is written (give --folder on a disk with room).  Fails when the peak is above memory + 64 MiB.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from alone import Alone, find_bin  # noqa: E402
from cluster import Cluster, Failed  # noqa: E402

MORE_MIB = 64


def rss_mib(pid, key):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return int(re.search(rf"^{key}:\s+(\d+) kB", f.read(), re.M).group(1)) / 1024


def fio(uri, a, volume_bytes):
    """Runs fio; the number of writes it did."""
    job = ["fio", "--name=soak", "--ioengine=nbd", f"--uri={uri}", "--rw=randwrite", "--bs=4k", "--iodepth=4",
           f"--numjobs={a.connections}", "--thread", f"--size={volume_bytes}", f"--runtime={a.seconds}",
           f"--number_ios={max(1, a.writes // a.connections)}", "--group_reporting", "--norandommap",
           "--randrepeat=0", "--output-format=terse", "--minimal"]
    r = subprocess.run(job, capture_output=True, text=True, check=False, timeout=a.seconds + 300)
    if r.returncode != 0:
        raise Failed(f"fio: {r.stderr[:800]}")
    fields = [line for line in r.stdout.splitlines() if line.startswith("3;")][-1].split(";")
    return int(fields[46]) // 4  # KiB written


def watch(pid, stop, seen):
    while not stop.wait(5):
        seen.append(rss_mib(pid, "VmRSS"))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("build")
    ap.add_argument("--seconds", type=int, default=300)
    ap.add_argument("--writes", type=int, default=2000000)
    ap.add_argument("--connections", type=int, default=64)
    ap.add_argument("--memory-mib", type=int, default=128)
    ap.add_argument("--volume", default="100GiB")
    ap.add_argument("--store", default="200GiB")
    ap.add_argument("--folder")
    a = ap.parse_args()
    folder = tempfile.mkdtemp(prefix="ts-soak-", dir=a.folder)
    store = os.path.join(folder, "store")
    site = Alone(a.build, os.path.join(folder, "site"), store, memory=f"{a.memory_mib}MiB")
    try:
        with open(store, "wb") as f:
            f.truncate(int(a.store.removesuffix("GiB")) << 30)
        Cluster.sh([find_bin(a.build, "twinshore"), "store", "format", store, "--force"], timeout=300)
        site.start()
        site.create(a.volume)
        pid = site.proc.pid
        idle = rss_mib(pid, "VmRSS")
        seen, stop = [], threading.Event()
        watcher = threading.Thread(target=watch, args=(pid, stop, seen))
        watcher.start()
        try:
            writes = fio(site.uri(), a, int(a.volume.removesuffix("GiB")) << 30)
        finally:
            stop.set()
            watcher.join()
        peak, most = rss_mib(pid, "VmHWM"), a.memory_mib + MORE_MIB
        print(f"{writes} writes of 4 KiB, {a.connections} connections, memory {a.memory_mib} MiB: resident {idle:.0f} MiB "
              f"idle, {peak:.0f} MiB at the peak, {most} allowed; store holds {os.stat(store).st_blocks >> 21} GiB")
        print("every 5 s: " + " ".join(f"{x:.0f}" for x in seen))
        if site.end(15) != 0:
            raise Failed("no clean stop")
        return 0 if peak <= most else 1
    except (Failed, subprocess.TimeoutExpired) as e:
        ended = site.proc.poll() if site.proc else None
        print(f"FAILED: {e}: the daemon {'runs' if ended is None else f'ended with {ended}'}: {site.log_tail()}")
        if ended is None and site.proc:
            print(f"resident {rss_mib(site.proc.pid, 'VmRSS'):.0f} MiB, {rss_mib(site.proc.pid, 'VmHWM'):.0f} at the peak")
        return 1
    finally:
        site.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
