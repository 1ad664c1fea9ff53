#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What tools/quickstart shows after the build: see there."""
import argparse
import json
import os
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, Failed, wait_for  # noqa: E402

ENTRY = struct.Struct("<QQQQQQ")
ACKED = 2


def say(text):
    print(f"   {text}", flush=True)


def acknowledged(record):
    """Times of all acknowledgements in the writer's own file."""
    times = []
    with open(record, "rb") as f:
        data = f.read()
    for at in range(0, len(data) - ENTRY.size + 1, ENTRY.size):
        kind, _, _, _, when, _ = ENTRY.unpack_from(data, at)
        if kind == ACKED:
            times.append(when)
    return times


def longest_pause(times, since):
    """Seconds: the longest pause between two acknowledgements from `since` on.  Not counted from the moment of the
    kill: what the old primary had answered is still read from the socket after it."""
    late = [t for t in times if t >= since]
    return max(b - a for a, b in zip(late, late[1:])) / 1e9 if len(late) > 1 else 0.0


def demo(c, writer):
    record = os.path.join(c.dir, "record")
    say(f"three processes: site east ({c.procs['east'].pid}), site west ({c.procs['west'].pid}), "
        f"witness ({c.procs['witness'].pid}); everything is in {c.dir}")
    c.create(size="1GiB")
    g = c.group("east")
    say(f"volume pg/db, 1 GiB; {g['guarantee']}")
    say("a client writes through NBD, 16 requests at a time")
    p = subprocess.Popen([writer, "write", "--record", record, "--seconds", "20", "--window-mib", "256",
                          c.uri("east"), c.uri("west")], stdout=subprocess.PIPE, text=True)
    wait_for("the writer writes", 30, lambda: os.path.exists(record) and os.path.getsize(record) > 1 << 16)
    time.sleep(10)  # ten seconds of load to count, not a wait for an event
    killed = time.monotonic_ns()
    c.kill("east")
    say("site east was killed with SIGKILL while it was the primary")
    out, _ = p.communicate(timeout=90)
    report = json.loads(out)
    say("site west has taken over by itself; the client went on there")
    r = subprocess.run([writer, "verify", "--record", record, c.uri("west")], capture_output=True, text=True,
                       check=False)
    verdict = json.loads(r.stdout) if r.stdout else {"sectors_wrong": -1}
    times = acknowledged(record)
    before = sum(1 for t in times if killed - 1_000_000_000 <= t < killed)
    gap = longest_pause(times, killed - 1_000_000_000) if times and times[-1] > killed else None
    c.start("east")
    c.wait_state("west", "in-sync", 90, role="primary")
    say("site east was started again and is in sync again, as the secondary")
    return report, verdict, before, gap, r.returncode == 0


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("build")
    ap.add_argument("--keep", action="store_true")
    a = ap.parse_args()
    writer = os.path.join(a.build, "tests/process/ack_writer")
    c = Cluster(a.build, size="2GiB", memory="256MiB")
    c.keep = a.keep
    try:
        c.__enter__()
        report, verdict, before, gap, good = demo(c, writer)
    except (Failed, subprocess.TimeoutExpired, SystemExit, KeyboardInterrupt) as e:
        print(f"quickstart: {e}; the logs are in {c.dir}", file=sys.stderr)
        c.__exit__(Failed, None, None)
        return 1
    enough = report["acknowledged"] >= 10000 and before >= 1000
    print(f"""
== report
   writes acknowledged          {report['acknowledged']}
   of them in the second before {before}
   writes lost                  {0 if good else verdict['sectors_wrong']}
   seconds without service      {gap:.2f}
""" if gap is not None else "\n== report\n   the other site acknowledged nothing\n")
    if not enough:
        print("   too few writes to say much: this machine is very slow or busy")
    if a.keep:
        print(f"""== still running
   twinshore --admin {c.path('west', 'admin')} status
   nbdinfo '{c.uri('west')}'
   to stop them: kill {' '.join(str(p.pid) for p in c.procs.values())}; then remove {c.dir}
""")
    else:
        c.__exit__(None, None, None)
    print("== next: README.md shows how to set up two machines and a witness; tools/test runs every test")
    return 0 if good and gap is not None and enough else 1


if __name__ == "__main__":
    sys.exit(main())
