#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Three sites as real processes: east and west in sync, south async by the stream.

usage: async_test.py BUILD [--south distant|member|pair]...

distant: south is no member of the quorum; member: it is one, in the witness's place; pair: east and south alone,
without a quorum.  Under a writer: the lag is told; south frozen, paused, removed, away for longer than the journal:
no write waits for it and it catches up; the primary is killed and south goes on from the other site.  At the end the
digests of all sites are equal and every acknowledged write is there.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, Failed, wait_for  # noqa: E402
from restart_test import Scenes, Writer  # noqa: E402

LAG = 0.5  # seconds under light load on one machine; usual are 0.02
GAP = 1.0  # seconds without an acknowledgement while only south is disturbed; usual are 0.05


class Async(Scenes):
    def peer(self, site, name="south"):
        g = self.c.group(site)
        return next((p for p in (g or {}).get("peers", []) if p["site"] == name), None)

    def caught_up(self, site, seconds=60):
        """South has all that `site`, which writes nothing now, has; its state is streaming."""
        def check():
            g, p, s = self.c.group(site), self.peer(site), self.c.group("south")
            return (g and p and s and p["state"] == "streaming" and p["lag_bytes"] == 0 and
                    g["commit_lsn"] == g["head_lsn"] == s["commit_lsn"] == p["durable_lsn"])
        return wait_for(f"south has what {site} has", seconds, check)

    def quiet(self, report):
        self.expect("no write waited for the async site", report["longest_gap_seconds"] <= GAP, report)
        return f"gap {report['longest_gap_seconds']:.3f} s"

    def primary_now(self):
        return wait_for("a primary", 60, self.c.primary)

    # --- scenes ---
    def stream(self):
        primary = self.primary_now()
        w = Writer(self, primary, 4)
        lags, end = [], time.monotonic() + 3
        while time.monotonic() < end:
            p = self.peer(primary)
            self.expect("an async peer", p and p["mode"] == "async", p)
            lags.append(p["lag_seconds"])
        self.quiet(w.join())
        self.caught_up(primary)
        p = self.peer(primary)
        self.expect("the newest write there is known", p["newest_time"] is not None and p["lag_seconds"] == 0, p)
        self.expect("the lag is small", statistics.quantiles(lags, n=100)[98] <= LAG, lags)
        return f"lag median {statistics.median(lags):.3f}, most {max(lags):.3f} s of {len(lags)} looks"

    def frozen(self):
        primary = self.primary_now()
        w = Writer(self, primary, 6)
        time.sleep(1)  # some load before
        self.c.freeze("south")
        time.sleep(3)  # some load without it
        p, g = self.peer(primary), self.c.group(primary)
        self.expect("its lag is told while it is away", p["lag_bytes"] > 0 and p["lag_seconds"] > 2, p)
        self.expect("the group is as it was", g["state"] == ("async" if self.c.south == "pair" else "in-sync"), g)
        self.c.thaw("south")
        said = self.quiet(w.join())
        self.caught_up(primary)
        return said

    def paused(self):
        primary = self.primary_now()
        w = Writer(self, primary, 4)
        self.c.ctl(primary, "pause", "pg", "south")
        wait_for("paused", 10, lambda: self.peer(primary)["state"] == "paused")
        before = self.c.group("south")["commit_lsn"]
        time.sleep(1.5)  # some load meanwhile
        self.expect("nothing goes out", self.c.group("south")["commit_lsn"] - before < 1 << 20)
        before = self.c.group("south")["commit_lsn"]
        time.sleep(0.5)  # it must stay so
        self.expect("nothing goes out", self.c.group("south")["commit_lsn"] == before)
        self.c.ctl(primary, "resume", "pg", "south")
        said = self.quiet(w.join())
        self.caught_up(primary)
        return said

    def removed(self):
        primary = self.primary_now()
        w = Writer(self, primary, 4)
        self.c.ctl(primary, "group", "set", "pg", "--remove", "south")
        self.expect("it is gone", self.peer(primary) is None, self.c.group(primary))
        wait_for("south knows", 10, lambda: self.c.group("south")["role"] == "none")
        self.c.ctl(primary, "group", "set", "pg", "--async", "south")
        said = self.quiet(w.join())
        self.caught_up(primary)
        return said

    def away_for_long(self):
        """Longer than any journal: its cursor does not hold the journal, and it is filled again."""
        primary = self.primary_now()
        self.c.kill("south")
        self.go_round(primary)
        before = self.c.sent(primary)
        w = Writer(self, primary, 5)
        self.c.start("south")
        said = self.quiet(w.join())
        self.caught_up(primary, 120)
        after = self.c.sent(primary)
        return f"{said}; sent {after['record'] - before['record']} of records, {after['base'] - before['base']} of a base"

    def failover(self):
        if self.c.south == "pair":
            return "no other site"
        primary, other = self.sides()
        w = Writer(self, primary, 6)
        time.sleep(1)  # some load before
        base = self.c.sent(other)["base"]
        self.c.kill(primary)
        report = w.join()
        wait_for(f"{other} serves", 30, lambda: (self.c.group(other) or {}).get("role") == "primary")
        self.caught_up(other)
        self.expect("from the last common LSN", self.c.sent(other)["base"] == base, self.c.sent(other))
        self.expect("the gap is bounded", report["longest_gap_seconds"] <= 5, report)
        self.c.start(primary)
        self.in_sync()
        self.caught_up(other)
        return f"gap {report['longest_gap_seconds']:.2f} s, south went on from {other} without a base"

    def snapshots(self):
        """A snapshot and a clone of it come along by their records."""
        primary = self.primary_now()
        w = Writer(self, primary, 3)
        self.c.ctl(primary, "snapshot", "create", "pg", "--name", "moment")
        wait_for("the snapshot is at south", 30,
                 lambda: any(s["name"] == "moment" for s in self.c.ctl("south", "snapshot", "list", "pg")["snapshots"]))
        self.c.ctl(primary, "clone", "pg@moment", "copy")
        wait_for("the clone is at south", 30, lambda: (self.c.group("south", "copy") or {}).get("volumes"))
        said = self.quiet(w.join())
        self.caught_up(primary)
        return said

    def south_restarts_alone(self):
        """All others are away: it keeps its copy, and serves nothing."""
        for site in self.c.sites:
            if site != "south":
                self.c.stop(site)
        self.c.kill("south")
        self.c.start("south")
        self.c.wait_admin("south")
        g = self.c.group("south")
        self.expect("it does not serve", g and g["role"] != "primary" and g["volumes"], g)
        for site in self.c.sites:
            if site != "south":
                self.c.start(site)
        primary = self.primary_now()
        if self.c.south != "pair":
            self.in_sync()
        self.caught_up(primary)
        return "kept"

    def equal(self):
        primary = self.primary_now()
        self.verify(primary)
        self.caught_up(primary)
        for site in self.c.sites:
            self.c.stop(site)
        roots = [{(d.get("group"), d["name"]): d["digest"] for d in self.c.ctl_offline(s)} for s in self.c.sites]
        self.expect("equal digests", roots[0] and all(r == roots[0] for r in roots), roots)
        return f"{len(roots)} sites have equal digests"


def create(c):
    sync = [] if c.south == "pair" else ["--sync", "west"]

    def attempt():
        try:
            c.ctl("east", "group", "create", "pg", *sync, "--async", "south", "--mode", "stream")
            return True
        except Failed:
            return False
    wait_for("a group can be created", 60, attempt)
    c.ctl("east", "volume", "create", "pg/db", "--size", "64MiB")
    c.wait_state("east", "async" if c.south == "pair" else "in-sync", role="primary")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--south", action="append", choices=["distant", "member", "pair"])
    args = p.parse_args()
    writer = os.path.join(args.build, "tests/process/ack_writer")
    for south in args.south or ["distant", "pair", "member"]:
        with Cluster(args.build, south=south) as c:
            create(c)
            scenes = Async(c, writer)
            for scene in ("stream", "frozen", "paused", "removed", "failover", "snapshots", "away_for_long", "south_restarts_alone", "equal"):
                began = time.monotonic()
                try:
                    said = getattr(scenes, scene)()
                except (Failed, subprocess.SubprocessError) as e:
                    raise Failed(f"{south}, {scene}: {e}") from e
                print(f"ok {south}, {scene}: {said} ({time.monotonic() - began:.1f} s)", flush=True)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"async_test: {failure}")
