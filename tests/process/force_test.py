#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A forced failover of real processes: the only in-sync site is lost, the other one is promoted with the loss stated
and accepted, and what only the lost one had is found again as a branch when it returns.

usage: force_test.py BUILD
"""
import filecmp
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, Failed, wait_for  # noqa: E402

SIZE = 32 << 20


class Test:
    def __init__(self, cluster):
        self.c, self.checks, self.images = cluster, 0, 0

    def check(self, fact, ok, detail=""):
        self.checks += 1
        if not ok:
            raise Failed(f"not so: {fact}: {detail}")

    def ctl(self, site, *args, want=0):
        p = subprocess.run([self.c.bin("twinshore"), "--admin", self.c.path(site, "admin"), "--json", *args],
                           capture_output=True, text=True, timeout=90, check=False)
        self.check(f"exit code of {' '.join(args)} at {site}", p.returncode == want,
                   f"{p.returncode}, not {want}: {p.stdout} {p.stderr}")
        return json.loads(p.stdout)

    def image(self):
        self.images += 1
        name = os.path.join(self.c.dir, f"image{self.images}")
        with open(name, "wb") as f:
            f.write(os.urandom(SIZE))
        return name

    def fill(self, site, image):
        self.c.sh(["nbdcopy", "--flush", image, self.c.uri(site)], timeout=120)

    def same(self, fact, site, volume, image):
        self.images += 1
        to = os.path.join(self.c.dir, f"image{self.images}")
        self.c.sh(["nbdcopy", self.c.uri(site, volume), to], timeout=120)
        self.check(fact, filecmp.cmp(to, image, shallow=False), f"{volume} at {site}")
        os.unlink(to)

    def branches(self, site):
        return [s["name"] for s in self.ctl(site, "snapshot", "list", "pg")["snapshots"] if "branch" in s["flags"]]

    def refusals(self):
        """P6: the loss is stated, and nothing less than it is accepted."""
        force = ("failover", "pg", "--to", "west")
        doc = self.ctl("west", *force, want=3)
        loss = doc["loss"]
        self.check("a loss that nobody knows is unknown", loss["bytes"] == "unknown" and loss["seconds"] == "unknown", doc)
        self.check("who has more is named", loss["newer_at"] == "east" and loss["newest_here"]["lsn"] > 0, doc)
        self.check("who must be fenced is named", doc["fence"] == ["east"], doc)
        self.check("the message names the options", "--fenced east --accept-loss unknown" in doc["error"]["message"], doc)
        self.ctl("west", *force, "--fenced", "east", "--accept-loss", "1GiB", want=3)
        self.ctl("west", *force, "--accept-loss", "unknown", want=3)
        self.ctl("west", *force, "--fenced", "west", "--accept-loss", "unknown", want=3)
        self.ctl("west", *force, "--fenced", "nowhere", want=4)
        self.ctl("west", *force, "--without-quorum", want=1)
        self.check("nothing has changed", self.c.group("west")["state"] == "blocked")
        table = subprocess.run([self.c.bin("twinshore"), "--admin", self.c.path("west", "admin"), *force],
                               capture_output=True, text=True, timeout=60, check=False)
        self.check("a person is told the same", table.returncode == 3 and "to be fenced   east" in table.stderr
                   and "would be lost  unknown" in table.stderr, table.stderr)

    def run(self):
        c = self.c
        common, lost, after = self.image(), self.image(), self.image()
        c.create(size=str(SIZE))
        self.fill("east", common)
        # west is lost, east goes on alone, then east is lost, too
        c.kill("west")
        c.wait_state("east", "degraded", role="primary")
        self.fill("east", lost)
        c.kill("east")
        c.start("west")
        c.wait_state("west", "blocked")
        self.refusals()
        generation = c.group("west")["content_generation"]
        self.ctl("west", "failover", "pg", "--to", "west", "--fenced", "east", "--accept-loss", "unknown",
                 "--reason", "the site burnt down")
        g = c.group("west")
        self.check("west serves", g["role"] == "primary" and g["in_sync"] == ["west"], g)
        self.check("clients must attach on purpose", g["content_generation"] > generation, g)
        told = [e for e in self.ctl("west", "events")["events"] if e["kind"] == "loss"]
        self.check("who forced it, and why, is an event", any("burnt down" in e["reason"] and "uid=" in e["reason"]
                                                              for e in told), told)
        self.ctl("west", "failover", "pg", "--to", "west")  # it is there already
        self.same("west has what it had", "west", "pg/db", common)
        self.fill("west", after)
        # east returns: what only it had is a branch there
        c.start("east")
        c.wait_admin("east")
        c.wait_state("west", "in-sync", 120, role="primary")
        self.same("the new history goes on", "west", "pg/db", after)
        names = self.branches("east")
        self.check("one branch is at east", len(names) == 1 and names[0].startswith("branch-"), names)
        self.check("none is at west", self.branches("west") == [])
        branch = names[0]
        self.same("the branch is what was acknowledged at east", "east", f"pg/db@{branch}", lost)
        told = [e for e in self.ctl("east", "events")["events"] if e["kind"] == "loss"]
        self.check("the branch is told, with its size", len(told) == 1 and told[0]["to"] == branch
                   and told[0]["bytes"] >= SIZE, told)
        self.ctl("west", "snapshot", "create", "pg", "--name", "now")
        wait_for("the snapshot at east", 20, lambda: any(
            s["name"] == "now" for s in self.ctl("east", "snapshot", "list", "pg")["snapshots"]))
        diff = self.ctl("east", "diff", "pg@now", f"pg@{branch}")
        self.check("the branch can be compared", sum(r["bytes"] for r in diff["ranges"]) == SIZE, diff["ranges"][:4])
        self.ctl("west", "snapshot", "create", "pg", "--name", "branch-9", want=1)
        # it survives a restart, and a takeover; it goes when it is told to
        c.stop("east")
        c.start("east")
        c.wait_admin("east")
        c.wait_state("west", "in-sync", 120, role="primary")
        self.ctl("west", "switchover", "pg", "--to", "east")
        c.wait_state("east", "in-sync", role="primary")
        self.same("the branch is still there", "east", f"pg/db@{branch}", lost)
        self.same("and not in the way", "east", "pg/db", after)
        self.ctl("east", "snapshot", "delete", f"pg@{branch}")
        self.check("it is gone", self.branches("east") == [])
        c.stop("west")
        c.stop("east")
        for site in ("east", "west"):
            c.ctl_offline(site)


def main():
    passed = failed = 0
    try:
        with Cluster(sys.argv[1]) as c:
            t = Test(c)
            t.run()
            passed = 1
            print(f"forced failover and return: {t.checks} checks")
    except (Failed, subprocess.TimeoutExpired) as e:
        failed = 1
        print(f"FAILED: {e}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed


if __name__ == "__main__":
    sys.exit(main())
