#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sites and the witness are restarted, killed and replaced under a writer: each scene on real processes.

usage: restart_test.py BUILD [--scene NAME]...

Every scene begins and ends with a group in-sync; after each one every acknowledged write is checked.
"""
import argparse
import json
import os
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import SITES, Cluster, Failed, die_with_parent, wait_for  # noqa: E402

ENTRY = struct.Struct("<QQQQQQ")
ISSUED, ACKED = 1, 2
RECORD_HEAD = 4096  # at most so much goes with the bytes of a write: its header, and its end to whole blocks
MIB = 1 << 20
RATE = 200  # writes per second: light load


class Writer:
    """ack_writer in the background; join() gives its report."""

    def __init__(self, scene, primary, seconds, rate=RATE):
        self.scene = scene
        other = "west" if primary == "east" else "east"
        scene.runs += 1
        size = scene.record_bytes()
        self.p = subprocess.Popen(
            [scene.writer, "write", "--record", scene.record, "--seconds", str(seconds), "--seed", str(scene.runs),
             "--first", str(scene.issued), "--rate", str(rate), "--window-mib", "64",
             scene.c.uri(primary), scene.c.uri(other)], stdout=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent)
        wait_for("the writer writes", 30, lambda: scene.record_bytes() > size or self.p.poll() is not None)
        self.seconds = seconds

    def join(self):
        out, _ = self.p.communicate(timeout=self.seconds + 60)
        if self.p.returncode != 0:
            raise Failed(f"the writer ended with {self.p.returncode}")
        report = json.loads(out)
        self.scene.issued = report["issued"]
        return report


class Scenes:
    def __init__(self, cluster, writer):
        self.c, self.writer = cluster, writer
        self.record = os.path.join(cluster.dir, "record")
        self.runs, self.issued = 0, 0

    # --- helpers ---
    def record_bytes(self):
        return os.path.getsize(self.record) if os.path.exists(self.record) else 0

    def issued_bytes_since(self, when_ns):
        """Bytes, and number, of writes issued after that time."""
        if not self.record_bytes():
            return 0, 0
        with open(self.record, "rb") as f:
            data = f.read()
        found = [e[3] for e in ENTRY.iter_unpack(data[:len(data) // ENTRY.size * ENTRY.size])
                 if e[0] == ISSUED and e[4] >= when_ns]
        return sum(found), len(found)

    def verify(self, site):
        r = subprocess.run([self.writer, "verify", "--record", self.record, self.c.uri(site)],
                           capture_output=True, text=True, check=False)
        if r.returncode != 0:
            raise Failed(f"verify at {site}: {r.stdout} {r.stderr}")

    def sides(self):
        primary = wait_for("a primary", 60, self.c.primary)
        return primary, "west" if primary == "east" else "east"

    def in_sync(self, seconds=90):
        """Wait until the primary says in-sync; everything acknowledged is there."""
        def check():
            site = self.c.primary()
            g = self.c.group(site) if site else None
            return site if g and g["state"] == "in-sync" else None
        site = wait_for("a primary, in-sync", seconds, check)
        self.verify(site)
        return site

    @staticmethod
    def expect(fact, ok, detail=""):
        if not ok:
            raise Failed(f"not so: {fact}: {detail}")

    def bounded(self, sender, before, since_ns):
        """What replication sent: at most what was written since the restart began, and 1 MiB; nothing of a base."""
        after = self.c.sent(sender)
        written, count = self.issued_bytes_since(since_ns)
        sent = after["record"] - before["record"]
        most = written + count * RECORD_HEAD + MIB
        self.expect("no full copy, no comparison", all(after[k] == before[k] for k in ("base", "compare")), f"{before} {after}")
        self.expect("at most the tail and 1 MiB are sent", sent <= most, f"{sent} bytes, {written} written, {count} writes")
        return f"{sent} bytes were sent, {written} written"

    def go_round(self, primary):
        """Write more than any journal here holds, so that its beginning is gone."""
        journal = self.c.metric(primary, "twinshore_journal_size_bytes")
        since = time.monotonic_ns()
        while self.issued_bytes_since(since)[0] < 1.5 * journal:
            Writer(self, primary, 2, rate=0).join()

    # --- scenes ---
    def secondary_restarts(self):
        primary, other = self.sides()
        w = Writer(self, primary, 5)
        time.sleep(1)  # some load before
        before, since = self.c.sent(primary), time.monotonic_ns() - 100_000_000
        self.c.stop(other)
        time.sleep(0.5)  # some load while it is away
        self.c.start(other)
        report = w.join()
        self.in_sync()
        said = self.bounded(primary, before, since)
        self.expect("the gap is bounded", report["longest_gap_seconds"] <= 3, report)
        return f"{said}, gap {report['longest_gap_seconds']:.2f} s"

    def primary_restarts(self):
        primary, other = self.sides()
        w = Writer(self, primary, 6)
        time.sleep(1)  # some load before
        before, since = self.c.sent(other), time.monotonic_ns() - 100_000_000
        self.c.stop(primary)
        time.sleep(0.5)  # some load while it is away
        self.c.start(primary)
        report = w.join()
        now = self.in_sync()
        self.expect("the other site serves", now == other, now)
        said = self.bounded(other, before, since)
        self.expect("the gap is bounded", report["longest_gap_seconds"] <= 3, report)
        return f"{said}, gap {report['longest_gap_seconds']:.2f} s"

    def _all_at_once(self, names, sig):
        primary, _ = self.sides()
        w = Writer(self, primary, 6)
        time.sleep(1)  # some load before
        for m in names:
            self.c.procs[m].send_signal(sig)
        for m in names:
            rc = self.c.procs.pop(m).wait(30)
            self.expect("a clean stop", sig == signal.SIGKILL or rc == 0, f"{m}: {rc}")
        for m in names:
            self.c.start(m)
        report = w.join()
        self.in_sync()
        return f"gap {report['longest_gap_seconds']:.2f} s, {report['acknowledged']} acknowledged"

    def both_stop_at_once(self):
        return self._all_at_once(SITES, signal.SIGTERM)

    def all_killed_at_once(self):
        return self._all_at_once(("east", "west", "witness"), signal.SIGKILL)

    def witness_restarts(self):
        primary, _ = self.sides()
        w = Writer(self, primary, 5)
        time.sleep(1)  # some load before
        self.c.kill("witness")
        time.sleep(1)  # some load without it
        self.c.start("witness")
        report = w.join()
        now = self.in_sync()
        self.expect("the same primary", now == primary, now)
        self.expect("no gap over 1 s", report["longest_gap_seconds"] <= 1, report)
        self.expect("one connection all the time", report["connects"] == 1, report)
        return f"gap {report['longest_gap_seconds']:.2f} s"

    def secondary_killed(self):
        primary, other = self.sides()
        w = Writer(self, primary, 7)
        time.sleep(1)  # some load before
        self.c.kill(other)
        g = self.c.wait_state(primary, "degraded", 20, role="primary")
        self.expect("only the primary is in sync", g["in_sync"] == [primary], g)
        self.expect("a guarantee that says so", other not in g["guarantee"] or "not" in g["guarantee"], g["guarantee"])
        self.c.start(other)
        report = w.join()
        self.expect("the same primary", self.in_sync() == primary)
        self.expect("the gap is bounded", report["longest_gap_seconds"] <= 5, report)
        return f"gap {report['longest_gap_seconds']:.2f} s"

    def stop_on_peer_loss(self):
        """With --on-peer-loss stop nothing is acknowledged by one site alone."""
        primary, other = self.sides()
        self.c.ctl(primary, "group", "set", "pg", "--on-peer-loss", "stop")
        w = Writer(self, primary, 8)
        time.sleep(1)  # some load before
        self.c.kill(other)
        gone = time.monotonic_ns()
        g = self.c.wait_state(primary, "suspended", 20)
        self.expect("suspended with a reason", bool(g["reason"]), g)
        time.sleep(1)  # it must stay so
        back = time.monotonic_ns()
        self.c.start(other)
        w.join()
        self.in_sync()
        with open(self.record, "rb") as f:
            data = f.read()
        alone = sum(1 for e in ENTRY.iter_unpack(data[:len(data) // ENTRY.size * ENTRY.size])
                    if e[0] == ACKED and gone + 100_000_000 < e[4] < back)
        self.expect("nothing is acknowledged by one site", alone == 0, alone)
        self.c.ctl(self.in_sync(), "group", "set", "pg", "--on-peer-loss", "continue")
        return "nothing was acknowledged alone"

    def replaced_disk(self, at_once=False):
        """A secondary with an empty store of the same name gets a full copy and is never believed before."""
        primary, other = self.sides()
        self.go_round(primary)
        w = Writer(self, primary, 8)
        time.sleep(1)  # some load before
        self.c.kill(other)
        if not at_once:
            self.c.wait_state(primary, "degraded", 20, role="primary")
        self._empty(other)
        self.c.start(other)
        w.join()
        self.expect("the same primary", self.in_sync() == primary)
        self.expect("a full copy", self.c.sent(primary)["base"] > 0, self.c.sent(primary))
        self.c.kill(primary)
        wait_for("the copy serves", 30, lambda: (self.c.group(other) or {}).get("role") == "primary")
        self.verify(other)
        self.c.start(primary)
        self.in_sync()
        return "copied, then it served"

    def replaced_disk_at_once(self):
        """Back so soon that it still counts as in sync."""
        return self.replaced_disk(at_once=True)

    def replaced_primary_disk(self):
        """The same for the site that was the primary: it comes back empty at once, and must not serve."""
        primary, other = self.sides()
        w = Writer(self, primary, 8)
        time.sleep(1)  # some load before
        self.c.kill(primary)
        self._empty(primary)
        self.c.start(primary)
        w.join()
        self.expect("the other site serves", self.in_sync() == other)
        return "the other site served, and copied"

    def _copy(self, site):
        """A copy of a site's store as it is now, taken while the site is stopped."""
        self.c.stop(site)
        self.c.sh(["cp", "--sparse=always", self.c.path(site, "store"), self.c.path(site, "store.old")])
        self.c.start(site)
        self.in_sync()

    def _put_back(self, site):
        os.replace(self.c.path(site, "store.old"), self.c.path(site, "store"))

    def _start_managed(self, site, seconds, noticed):
        """Start it again whenever it ends, as a service manager does, until its log says `noticed` and it runs."""
        end = time.monotonic() + seconds
        self.c.start(site)
        while time.monotonic() < end:
            if self.c.procs[site].poll() is not None:
                with open(self.c.path(site, "log"), encoding="utf-8") as f:
                    said = noticed in f.read()
                self.c.procs.pop(site)
                time.sleep(0.2)  # RestartSec
                self.c.start(site)
                if said:
                    return True
            time.sleep(0.05)
        return False

    def _start_older(self, site):
        self.expect("it does not believe its store", self._start_managed(site, 60, "counts as a new disk"))

    def older_secondary(self):
        """An earlier copy of a secondary's store is put back while its primary is away: it must not serve."""
        primary, other = self.sides()
        Writer(self, primary, 1).join()
        self._copy(other)
        self.expect("the same primary", self.in_sync() == primary)
        Writer(self, primary, 2).join()
        self.c.kill(other)
        self.c.kill(primary)
        self._put_back(other)
        self._start_older(other)
        time.sleep(5)  # far longer than a takeover takes
        g = self.c.group(other)
        self.expect("it serves nothing", g and g["role"] != "primary" and "replaced" in g["reason"], g)
        self.c.start(primary)
        self.expect("the one that has all serves", self.in_sync() == primary)
        return self._equal(primary, other)

    def older_primary(self):
        """The same for the primary, back at once, while the other site is there."""
        primary, first = self.sides()
        Writer(self, primary, 1).join()
        self._copy(first)
        back, now = self.sides()
        self.c.stop(back)  # so that `first` serves
        self.c.start(back)
        self.expect("it serves", self.in_sync() == now == first, (now, first))
        w = Writer(self, first, 6)
        time.sleep(1)  # some load before
        self.c.kill(first)
        self._put_back(first)
        self._start_managed(first, 10, "counts as a new disk")  # it may be dropped before it notices
        w.join()
        self.expect("the other serves", self.in_sync() == back)
        return self._equal(back, first)

    def _equal(self, primary, other):
        """In sync and stopped, both stores have the same content; and the copy serves it."""
        self.c.kill(primary, signal.SIGTERM)
        wait_for("the copy serves", 30, lambda: (self.c.group(other) or {}).get("role") == "primary")
        self.verify(other)
        self.c.start(primary)
        self.in_sync()
        self.c.stop(primary)
        self.c.stop(other)
        roots = [{d["name"]: d["digest"] for d in self.c.ctl_offline(s) if d["kind"] == "volume"} for s in SITES]
        self.expect("equal digests", roots[0] == roots[1] and roots[0], roots)
        return "not believed, filled again, equal digests"

    def _empty(self, site):
        self.c.sh([self.c.bin("twinshore"), "store", "format", self.c.path(site, "store"), "--force"], timeout=120)

    def deletes_after_failover(self):
        """A volume and a group that were deleted are gone at both sites, after a failover too."""
        primary, other = self.sides()
        c = self.c
        Writer(self, primary, 1).join()
        c.ctl(primary, "group", "create", "tmp", "--sync", other)
        for v in ("tmp/a", "tmp/b"):
            c.ctl(primary, "volume", "create", v, "--size", "16MiB")
        wait_for("tmp is in-sync", 60, lambda: (c.group(primary, "tmp") or {}).get("state") == "in-sync")
        c.ctl(primary, "volume", "delete", "tmp/a")
        c.kill(primary)
        g = wait_for("tmp is served", 30, lambda: self._served(other, "tmp"))
        self.expect("only b is left", [v["name"] for v in g["volumes"]] == ["b"], g)
        c.start(primary)
        wait_for("tmp is in-sync again", 60, lambda: (c.group(other, "tmp") or {}).get("state") == "in-sync")
        self.in_sync()
        c.ctl(other, "group", "delete", "tmp", "--force")
        self.expect("gone here", c.group(other, "tmp") is None)
        wait_for("gone there", 30, lambda: c.status(primary) and c.group(primary, "tmp") is None)
        c.kill(other)
        wait_for("pg is served", 30, lambda: self._served(primary, "pg"))
        self.expect("still gone", c.group(primary, "tmp") is None)
        c.start(other)
        self.in_sync()
        self.expect("gone at both", all(c.group(s, "tmp") is None for s in SITES))
        return "gone at both sites"

    def _served(self, site, group):
        g = self.c.group(site, group)
        return g if g and g["role"] == "primary" else None


SCENES = ("secondary_restarts", "primary_restarts", "witness_restarts", "secondary_killed", "stop_on_peer_loss",
          "both_stop_at_once", "all_killed_at_once", "deletes_after_failover", "replaced_disk",
          "replaced_disk_at_once", "replaced_primary_disk", "older_secondary", "older_primary")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("build")
    ap.add_argument("--scene", action="append", choices=SCENES)
    a = ap.parse_args()
    passed = failed = 0
    for name in a.scene or SCENES:
        began = time.monotonic()
        try:
            with Cluster(a.build) as c:
                c.create()
                scenes = Scenes(c, os.path.join(a.build, "tests/process/ack_writer"))
                said = getattr(scenes, name)()
            passed += 1
            print(f"{name}: {said} ({time.monotonic() - began:.0f} s)", flush=True)
        except (Failed, subprocess.TimeoutExpired, OSError, KeyError) as e:
            failed += 1
            print(f"FAILED {name}: {e}", flush=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
