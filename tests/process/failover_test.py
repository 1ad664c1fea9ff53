#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rounds on real processes: the primary is killed, frozen or cut off under a writer.

usage: failover_test.py BUILD [--rounds N] [--seconds S] [--json FILE] [--timers default|tuned]
                        [--kinds kill,freeze,cut,switch,takeover] [--no-digest]

Kind switch: an operator switches over, takeover: one lets the secondary take over, both under the same writer.
After each round every acknowledged write is checked byte for byte at the new primary; the old one
returns and must become in-sync; the next round goes the other way round. After every tenth round
both are stopped and their digests compared, and after a clean restart the bytes sent are bounded.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, Failed, die_with_parent, wait_for  # noqa: E402

KINDS = ("kill", "freeze", "cut")


class Rounds:
    def __init__(self, cluster, writer, seconds):
        self.c, self.writer, self.seconds = cluster, writer, seconds
        self.record = os.path.join(cluster.dir, "record")
        self.numbers, self.first, self.gaps, self.takeovers, self.acked = 0, 0, [], [], 0

    def write_through(self, fault):
        """Run the writer, do fault(primary) in the middle; its report."""
        primary = wait_for("a primary", 60, self.c.primary)
        other = "west" if primary == "east" else "east"
        self.numbers += 1
        p = subprocess.Popen([self.writer, "write", "--record", self.record, "--seconds", str(self.seconds),
                              "--seed", str(self.numbers), "--first", str(self.first),
                              self.c.uri(primary), self.c.uri(other)], stdout=subprocess.PIPE, text=True,
                             preexec_fn=die_with_parent)
        wait_for("the writer writes", 30, lambda: os.path.exists(self.record) and os.path.getsize(self.record) > 65536)
        time.sleep(0.7)  # some load before the fault
        fault(primary)
        out, _ = p.communicate(timeout=self.seconds + 60)
        if p.returncode != 0:
            raise Failed(f"the writer ended with {p.returncode}")
        report = json.loads(out)
        self.first = report["issued"]
        self.acked += report["acknowledged"]
        return primary, other, report

    def verify(self, site):
        r = subprocess.run([self.writer, "verify", "--record", self.record, self.c.uri(site)],
                           capture_output=True, text=True, check=False)
        if r.returncode != 0:
            raise Failed(f"verify at {site}: {r.stdout} {r.stderr}")

    def switch(self, primary):
        other = "west" if primary == "east" else "east"
        self.c.ctl(primary, "switchover", "pg", "--to", other)
        g = self.c.group(primary)
        if g["primary"] != other or len(g["in_sync"]) != 2:
            raise Failed(f"after a switchover to {other}: primary {g['primary']}, in sync {g['in_sync']}")

    def takeover(self, primary):
        other = "west" if primary == "east" else "east"
        self.c.ctl(other, "failover", "pg", "--to", other)
        if (self.c.group(other) or {}).get("role") != "primary":
            raise Failed(f"{other} has not taken over")

    def round(self, kind):
        c = self.c
        fault = {"kill": c.kill, "freeze": c.freeze, "cut": c.cut, "switch": self.switch, "takeover": self.takeover}[kind]
        old, new, report = self.write_through(fault)
        wait_for(f"{new} is primary", 30, lambda: (c.group(new) or {}).get("role") == "primary")
        self.gaps.append(report["longest_gap_seconds"])
        self.verify(new)
        {"kill": c.start, "freeze": c.thaw, "cut": c.mend}.get(kind, lambda _: None)(old)
        c.wait_state(new, "in-sync", 90, role="primary")
        self.verify(new)
        return report

    def digests(self):
        """Both stopped cleanly: store check --digest prints the same roots."""
        c = self.c
        primary = wait_for("a primary", 30, c.primary)
        other = "west" if primary == "east" else "east"
        c.stop(other)
        c.stop(primary)
        roots = [c.ctl_offline(site) for site in (primary, other)]
        if roots[0] != roots[1]:
            raise Failed(f"digests differ: {roots}")
        c.start(primary)
        c.start(other)
        c.wait_admin(primary)
        c.wait_admin(other)
        now = wait_for("a primary again", 60, c.primary)
        c.wait_state(now, "in-sync", 90, role="primary")
        self.verify(now)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("build")
    ap.add_argument("--rounds", type=int, default=9)
    ap.add_argument("--seconds", type=float, default=4)
    ap.add_argument("--json")
    ap.add_argument("--timers", default="default")
    ap.add_argument("--kinds", default=",".join(KINDS))
    ap.add_argument("--no-digest", action="store_true")
    a = ap.parse_args()
    passed = failed = 0
    kinds = a.kinds.split(",")
    netns = ("cut" in kinds and os.geteuid() == 0
             and subprocess.run(["ip", "netns", "list"], capture_output=True, check=False).returncode == 0)
    skipped = 0
    if "cut" in kinds and not netns:
        kinds.remove("cut")
        skipped = a.rounds // 3
    writer = os.path.join(a.build, "tests/process/ack_writer")
    try:
        with Cluster(a.build, netns=netns, timers=a.timers) as c:
            c.create()
            rounds = Rounds(c, writer, a.seconds)
            for i in range(a.rounds):
                kind = kinds[i % len(kinds)]
                report = rounds.round(kind)
                passed += 1
                print(f"round {i + 1} {kind}: {report['acknowledged']} acknowledged, none lost, "
                      f"gap {report['longest_gap_seconds']:.2f} s", flush=True)
                if not a.no_digest and (i + 1) % 10 == 0 or i + 1 == a.rounds and not a.no_digest:
                    rounds.digests()
                    passed += 1
                    print("digests equal at both sites", flush=True)
            gaps = sorted(rounds.gaps)
            print(f"{a.kinds}: acknowledged {rounds.acked}; gap median {statistics.median(gaps):.2f} s, worst {gaps[-1]:.2f} s")
            if a.json:
                with open(a.json, "w", encoding="utf-8") as f:
                    json.dump({"gaps": rounds.gaps, "acknowledged": rounds.acked, "rounds": a.rounds}, f)
    except (Failed, subprocess.TimeoutExpired) as e:
        failed += 1
        print(f"FAILED: {e}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
