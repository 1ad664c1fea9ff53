#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Snapshots, clones, rollback and diff of two real sites and a witness, through the command and real NBD clients.

usage: snapshot_test.py BUILD
"""
import filecmp
import json
import os
import subprocess
import sys
import time
from datetime import datetime, timezone

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import SITES, Cluster, Failed, die_with_parent, wait_for  # noqa: E402

MIB = 1 << 20
SIZE = 48 * MIB


class Test:
    def __init__(self, cluster, writer):
        self.c, self.writer, self.checks, self.images, self.writers = cluster, writer, 0, 0, 0

    def check(self, fact, ok, detail=""):
        self.checks += 1
        if not ok:
            raise Failed(f"not so: {fact}: {detail}")

    def ctl(self, site, *args, want=0):
        """The JSON document of a command whose exit code must be `want`; of an error: what is in it."""
        p = subprocess.run([self.c.bin("twinshore"), "--admin", self.c.path(site, "admin"), "--json", *args],
                           capture_output=True, text=True, timeout=90, check=False)
        self.check(f"exit code of {' '.join(args)} at {site}", p.returncode == want,
                   f"{p.returncode}, not {want}: {p.stdout} {p.stderr}")
        doc = json.loads(p.stdout)
        return doc if want == 0 else doc["error"]

    def path(self, name):
        return os.path.join(self.c.dir, name)

    def image(self, name):
        """A file of random bytes, with a hole, that a volume can be filled with."""
        with open(self.path(name), "wb") as f:
            f.write(os.urandom(SIZE // 2))
            f.truncate(SIZE)
            f.seek(SIZE - MIB)
            f.write(os.urandom(MIB))
        return self.path(name)

    def fill(self, site, volume, image):
        self.c.sh(["nbdcopy", "--flush", image, self.c.uri(site, volume)],
                  timeout=120)

    def read(self, site, volume):
        self.images += 1
        to = self.path(f"read{self.images}")
        self.c.sh(["nbdcopy", self.c.uri(site, volume), to], timeout=120)
        return to

    def same(self, fact, a, b):
        self.check(fact, filecmp.cmp(a, b, shallow=False), f"{a} {b}")

    def at_both(self, volume, image):
        """A snapshot may reach the secondary a moment later."""
        for site in SITES:
            wait_for(f"{volume} at {site}", 20, lambda: self.exports(site, volume))
            got = self.read(site, volume)
            self.same(f"{volume} at {site}", got, image)
            os.unlink(got)

    def exports(self, site, name):
        p = subprocess.run(["nbdinfo", "--json", self.c.uri(site, name)], capture_output=True, text=True, check=False)
        return json.loads(p.stdout)["exports"][0] if p.returncode == 0 else None

    def names(self, site, group="pg"):
        return [s["name"] for s in self.ctl(site, "snapshot", "list", group)["snapshots"]]

    def snapshot(self, site, group, name):
        """{}: not listed there (yet)."""
        return next((s for s in self.ctl(site, "snapshot", "list", group)["snapshots"] if s["name"] == name), {})

    def start_writer(self, seconds, rate):
        self.writers += 1
        record = self.path(f"record{self.writers}")
        p = subprocess.Popen([self.writer, "write", "--record", record, "--seconds", str(seconds), "--rate", str(rate),
                              "--window-mib", str(SIZE // MIB), self.c.uri("east"), self.c.uri("west")],
                             stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        wait_for("the writer writes", 30, lambda: os.path.exists(record) and os.path.getsize(record) > 0)
        return p

    # --- scenes ---
    def under_a_writer(self):
        p = self.start_writer(4, 400)
        time.sleep(1)
        made = [self.ctl("east", "snapshot", "create", "pg") for _ in range(3)]
        report = json.loads(p.communicate(timeout=90)[0])
        self.check("writes went on", report["longest_gap_seconds"] < 2, report)
        for m in made:
            self.check("a name of the time", m["name"].startswith("snap-20"), m)
            got = self.read("east", f"pg/db@{m['name']}")
            self.at_both(f"pg/db@{m['name']}", got)
            self.ctl("east", "snapshot", "delete", f"pg@{m['name']}")
        wait_for("deleted at both", 20, lambda: not self.names("west") and not self.names("east"))
        return f"longest gap of the writer {report['longest_gap_seconds']:.3f} s"

    def exit_codes(self, a):
        self.fill("east", "pg/db", a)
        doc = self.ctl("east", "snapshot", "create", "pg", "--name", "a")
        self.check("what was made is told", (doc["group"], doc["name"]) == ("pg", "a") and doc["uuid"], doc)
        for args, want, code in (
                (["snapshot", "create", "pg", "--name", "a"], 1, "exists"),
                (["snapshot", "create", "none"], 4, "not_found"),
                (["snapshot", "create", "pg", "--name", "a/b"], 2, "usage"),
                (["snapshot", "create", "pg", "--at", "-1h"], 1, "trimmed"),
                (["snapshot", "create", "pg", "--at", "2026-02-30T00:00:00Z"], 2, "usage"),
                (["snapshot", "create", "pg", "--at", "2400-01-01 00:00:00"], 1, "invalid"),
                (["snapshot", "create", "pg", "--at", "4611686018427383808"], 1, "range"),
                (["snapshot", "delete", "pg@none"], 4, "not_found"),
                (["snapshot", "delete", "pg"], 2, "usage"),
                (["snapshot", "list", "none"], 4, "not_found"),
                (["rollback", "pg@none"], 4, "not_found"),
                (["clone", "pg@none", "x"], 4, "not_found"),
                (["clone", "pg@a", "pg"], 1, "exists"),
                (["diff", "pg@a", "pg@none"], 4, "not_found"),
                (["diff", "pg@a", "x@a"], 2, "usage")):
            e = self.ctl("east", *args, want=want)
            self.check(f"code of {args}", e["code"] == code, e)
        for args in (["snapshot", "create", "pg"], ["snapshot", "delete", "pg@a"], ["rollback", "pg@a"],
                     ["clone", "pg@a", "x"]):
            e = self.ctl("west", *args, want=1)
            self.check("the primary is named", e["code"] == "not_primary" and "east" in e["message"], e)
        self.at_both("pg/db@a", a)
        for site in SITES:
            info = self.exports(site, "pg/db@a")
            self.check("read-only", info["is_read_only"] and not info["can_trim"], info)
        listed = self.c.sh(["nbdinfo", "--list", self.c.uri("west", "")])
        self.check("listed at the secondary", 'export="pg/db@a"' in listed and 'export="pg/db":' not in listed, listed)
        self.check("status counts them", [self.c.group(s)["snapshots"] for s in SITES] == [1, 1])
        self.check("an event", any(e["kind"] == "snapshot" for e in self.ctl("east", "events")["events"]))
        self.check("a metric", 'twinshore_snapshots{group="pg"} 1' in self.c.metrics("west"))

    def goes_back(self, a, b):
        """What was overwritten and deleted by mistake comes back: by time, by age, by LSN; then nothing of it is left."""
        self.fill("east", "pg/db", b)
        e = self.ctl("east", "snapshot", "create", "pg", "--at", "-1h", want=1)
        self.check("it says how to keep more", e["code"] == "trimmed" and "--history" in e["message"], e)
        self.ctl("east", "group", "set", "pg", "--history", "10m")
        for site in SITES:
            wait_for(f"a history at {site}", 20, lambda: (self.c.group(site) or {}).get("history_earliest"))
        p = self.start_writer(4, 400)
        time.sleep(2)
        made = [self.ctl("east", "snapshot", "create", "pg", "--at", at) for at in ("-1s", "500ms ago", "-100ms")]
        report = json.loads(p.communicate(timeout=90)[0])
        self.check("writes went on", report["longest_gap_seconds"] < 2, report)
        self.check("in order of time", [m["lsn"] for m in made] == sorted(m["lsn"] for m in made), made)
        for m in made:
            self.check("a name of that time", m["name"].startswith("at-20"), m)
            self.at_both(f"pg/db@{m['name']}", self.read("east", f"pg/db@{m['name']}"))
            self.ctl("east", "snapshot", "delete", f"pg@{m['name']}")
        self.fill("east", "pg/db", a)
        lsn, then = self.c.group("east")["head_lsn"], time.time()
        time.sleep(0.1)
        self.fill("east", "pg/db", b)
        wrong = time.time()
        time.sleep(0.1)
        with open(self.path("zeroes"), "wb") as f:
            f.truncate(SIZE)
        self.fill("east", "pg/db", self.path("zeroes"))
        stamp = datetime.fromtimestamp(then, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        took = []
        for name, at, image in (("by-time", stamp, a), ("by-lsn", str(lsn), a), ("by-odd-lsn", str(lsn + 4095), a),
                                ("by-age", None, b)):
            asked = time.time()
            at = at or f"-{int((asked - wrong) * 1000)}ms"
            doc = self.ctl("east", "snapshot", "create", "pg", "--name", name, "--at", at)
            took.append(time.time() - asked)
            self.check("its position is told", doc["lsn"] >= lsn, doc)
            for site in SITES:
                wait_for(f"{name} is made at {site}", 30, lambda: self.snapshot(site, "pg", name).get("pinned"))
            self.at_both(f"pg/db@{name}", image)
        e = self.ctl("east", "snapshot", "create", "pg", "--at", "4096", want=1)
        self.check("the earliest moment is named", e["code"] == "trimmed" and "LSN" in e["message"], e)
        doc = self.ctl("east", "snapshot", "create", "pg", "--at", stamp.replace("T", " ").rstrip("Z"))
        self.check("a name of that time", doc["name"].startswith("at-20"), doc)
        self.ctl("east", "rollback", "pg@by-age")
        self.same("the mistake is undone", self.read("east", "pg/db"), b)
        self.ctl("east", "group", "set", "pg", "--history", "off")
        for name in self.names("east"):
            self.ctl("east", "snapshot", "delete", f"pg@{name}")
        for site in SITES:
            wait_for(f"nothing is left at {site}", 20, lambda: not self.names(site))
            wait_for(f"no history at {site}", 20, lambda: not self.c.group(site)["history_earliest"])
        return f"made in {min(took):.2f} to {max(took):.2f} s, longest gap of the writer {report['longest_gap_seconds']:.3f} s"

    def differs(self, a, b):
        self.fill("east", "pg/db", b)
        self.ctl("east", "snapshot", "create", "pg", "--name", "b")
        self.at_both("pg/db@a", a)
        self.at_both("pg/db@b", b)
        for site in SITES:
            doc = self.ctl(site, "diff", "pg@a", "pg@b")
            with open(a, "rb") as f, open(b, "rb") as g:
                data = bytearray(f.read())
                for r in doc["ranges"]:
                    self.check("a range", r["volume"] == "db" and r["bytes"] > 0, r)
                    g.seek(r["offset"])
                    data[r["offset"]:r["offset"] + r["bytes"]] = \
                        g.read(r["bytes"]) if r["kind"] == "data" else bytes(r["bytes"])
                g.seek(0)
                self.check("the first with the difference is the second", bytes(data) == g.read())
            self.check("sums", doc["bytes"] == sum(r["bytes"] for r in doc["ranges"]), doc["bytes"])
            self.check("nothing differs from itself", self.ctl(site, "diff", "pg@b", "pg@b")["bytes"] == 0)
        return f"{len(doc['ranges'])} ranges, {doc['bytes'] >> 20} MiB"

    def rolls_back(self, a, b):
        p = self.start_writer(60, 5)
        wait_for("a client", 20, lambda: self.c.group("east")["volumes"][0]["clients"] == 1)
        e = self.ctl("east", "rollback", "pg@a", want=1)
        self.check("clients are named", e["code"] == "in_use" and "db (1)" in e["message"], e)
        p.terminate()
        p.wait()
        wait_for("no clients", 20, lambda: self.c.group("east")["volumes"][0]["clients"] == 0)
        self.fill("east", "pg/db", b)
        generation = self.c.group("east")["content_generation"]
        doc = self.ctl("east", "rollback", "pg@a")
        self.check("what was replaced is told", doc["name"].startswith("before-rollback-"), doc)
        self.same("the volume is what it was", self.read("east", "pg/db"), a)
        self.at_both(f"pg/db@{doc['name']}", b)
        self.at_both("pg/db@b", b)
        self.check("another generation", self.c.group("east")["content_generation"] > generation)
        self.check("it is marked", self.snapshot("east", "pg", doc["name"])["flags"] == ["kept"])
        self.ctl("east", "snapshot", "delete", f"pg@{doc['name']}")
        wait_for("deleted at both", 20, lambda: doc["name"] not in self.names("west"))

    def is_copied(self, a, b):
        """The secondary is away until the journal has gone round: what differs is copied, and its snapshots stay."""
        self.c.stop("west")
        journal = self.c.metric("east", "twinshore_journal_size_bytes")
        for _ in range(int(journal * 1.5 / SIZE) + 1):
            self.fill("east", "pg/db", b)
        self.c.start("west")
        self.c.wait_admin("west")
        reads = 0
        while (self.c.group("east") or {}).get("state") != "in-sync":
            got = self.read("west", "pg/db@a")  # a reader, whatever goes on
            self.same("a snapshot during the copy", got, a)
            os.unlink(got)
            reads += 1
            self.check("the copy ends", reads < 500)
        sent = self.c.sent("east")
        self.check("what differs was found by comparison", sent["compare"] > 0 and sent["base"] >= SIZE // 2, sent)
        self.fill("east", "pg/db", a)
        self.at_both("pg/db@a", a)
        self.at_both("pg/db@b", b)
        return f"{reads} reads meanwhile"

    def clones(self, a, b):
        self.ctl("east", "clone", "pg@a", "test")
        self.ctl("east", "clone", "pg@a", "test")  # it is there
        self.same("the clone is the snapshot", self.read("east", "test/db"), a)
        e = self.ctl("east", "snapshot", "delete", "pg@a", want=1)
        self.check("its base stays", e["code"] == "in_use" and "test" in e["message"], e)
        wait_for("the clone is in-sync", 60, lambda: (self.c.group("east", "test") or {}).get("state") == "in-sync")
        self.fill("east", "test/db", b)
        self.same("the snapshot is not touched", self.read("east", "pg/db@a"), a)
        self.same("nor the group", self.read("east", "pg/db"), a)
        self.c.kill("east")
        for group in ("pg", "test"):
            wait_for(f"west serves {group}", 30, lambda: (self.c.group("west", group) or {}).get("role") == "primary")
        self.same("the clone after a failover", self.read("west", "test/db"), b)
        self.same("the group after a failover", self.read("west", "pg/db"), a)
        self.same("the snapshot after a failover", self.read("west", "pg/db@a"), a)
        self.c.start("east")
        for group in ("pg", "test"):
            wait_for(f"{group} is in-sync", 60, lambda: (self.c.group("west", group) or {}).get("state") == "in-sync")

    def clones_without_base(self, a):
        """The secondary's disk is replaced: the full copy brings no snapshots, and a clone is copied whole."""
        self.c.stop("east")
        for group in ("pg", "test"):  # until then it is still called in-sync
            wait_for(f"{group} goes on alone", 30, lambda: (self.c.group("west", group) or {}).get("state") == "degraded")
        self.c.sh([self.c.bin("twinshore"), "store", "format", self.c.path("east", "store"), "--force"])
        self.c.start("east")
        for group in ("pg", "test"):
            wait_for(f"{group} is in-sync", 90, lambda: (self.c.group("west", group) or {}).get("state") == "in-sync")
        self.check("no snapshots came", self.names("east") == [] and "a" in self.names("west"))
        self.ctl("west", "clone", "pg@a", "late")
        wait_for("the clone is in-sync", 60, lambda: (self.c.group("west", "late") or {}).get("state") == "in-sync")
        self.same("the clone is the snapshot", self.read("west", "late/db"), a)
        self.c.kill("west")
        for group in ("pg", "test", "late"):
            wait_for(f"east serves {group}", 30, lambda: (self.c.group("east", group) or {}).get("role") == "primary")
        self.same("the clone after a failover", self.read("east", "late/db"), a)
        self.c.start("west")
        for group in ("pg", "test", "late"):
            wait_for(f"{group} is in-sync", 60, lambda: (self.c.group("east", group) or {}).get("state") == "in-sync")
        # east lacks the snapshots, so it cannot say anything about them: west must serve again
        self.c.kill("east")
        wait_for("west serves pg", 30, lambda: (self.c.group("west") or {}).get("role") == "primary")
        self.same("the old snapshot", self.read("west", "pg/db@a"), a)
        self.c.start("east")
        for group in ("pg", "test", "late"):
            wait_for(f"{group} is in-sync", 60, lambda: (self.c.group("west", group) or {}).get("state") == "in-sync")
        self.ctl("west", "group", "delete", "late", "--force")

    def frees(self):
        used = self.c.status("west")["store"]["used"]
        self.ctl("west", "group", "delete", "test", "--force")
        # one whose deletion was not yet told as committed when west went away for a full copy is there still
        for name in self.names("west"):
            self.check("known", name in ("a", "b") or name.startswith("before-rollback-"), name)
            self.ctl("west", "snapshot", "delete", f"pg@{name}")
        self.check("none is left", self.names("west") == [], self.names("west"))
        for site in SITES:
            wait_for(f"space is free at {site}", 60,
                     lambda: self.c.status(site)["store"]["used"] < used - SIZE // 2)
        for site in SITES:
            self.c.stop(site)
        digests = [self.c.ctl_offline(site) for site in SITES]
        self.check("equal stores", digests[0] == digests[1] and digests[0], digests)


def main():
    build = sys.argv[1]
    try:
        with Cluster(build, size="768MiB") as c:
            t = Test(c, os.path.join(build, "tests/process/ack_writer"))
            c.create(size=f"{SIZE >> 20}MiB")
            a, b = t.image("a"), t.image("b")
            for name, scene in (("under a writer", t.under_a_writer), ("back in time", lambda: t.goes_back(a, b)),
                                ("exit codes", lambda: t.exit_codes(a)),
                                ("diff", lambda: t.differs(a, b)), ("rollback", lambda: t.rolls_back(a, b)),
                                ("full copy", lambda: t.is_copied(a, b)), ("clone", lambda: t.clones(a, b)),
                                ("clone without base", lambda: t.clones_without_base(a)), ("delete", t.frees)):
                began = time.monotonic()
                said = scene()
                print(f"ok {name}: {time.monotonic() - began:.1f} s{', ' + said if said else ''}", flush=True)
            print(f"{t.checks} passed, 0 failed, 0 skipped")
            return 0
    except (Failed, subprocess.TimeoutExpired, ValueError, StopIteration) as e:
        print(f"FAILED: {e}\n0 passed, 1 failed, 0 skipped")
        return 1


if __name__ == "__main__":
    sys.exit(main())
