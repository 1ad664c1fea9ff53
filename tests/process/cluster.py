# SPDX-License-Identifier: Apache-2.0
"""Two sites and a witness as real processes, for tests: start, break, mend, ask.  A third site, south,
by wish: "distant" is listed async-only and no member of the quorum, "member" is one in the witness's
place, "pair" has east and south only, without a quorum.

Everything lives in one folder made by tempfile; the processes are ended by their ids. With
netns=True each process gets a network namespace of its own, joined by a bridge in a fourth, so that
a site can be cut off; NBD and admin are unix sockets, which namespaces do not touch.
"""
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

SITES = ("east", "west")
MEMBERS = ("east", "west", "witness")


PR_SET_PDEATHSIG = 1


class Failed(Exception):
    pass


def die_with_parent():
    """In the child, before exec: however this program ends, nothing of it is left running."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_in_order(signum, _frame):
    """SIGTERM (a test's time is over) ends the program by its finally clauses."""
    sys.exit(128 + signum)


def wait_for(what, seconds, check):
    """Poll check() until it is true; its last value. The deadline is far beyond what is usual."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {seconds} s for: {what}")
        time.sleep(0.02)


class Cluster:
    def __init__(self, build, size="512MiB", netns=False, timers="default", memory="128MiB", base=None,
                 log_level="info", south=None):
        self.build = build
        self.south = south
        self.sites = {None: SITES, "pair": ("east", "south")}.get(south, SITES + ("south",))
        self.members = {"member": ("east", "west", "south"), "pair": ()}.get(south, MEMBERS)
        self.all = self.members + (() if south in (None, "member") else self.sites if south == "pair" else ("south",))
        self.dir = tempfile.mkdtemp(prefix="ts-", dir=base)
        self.netns = netns
        self.size, self.timers, self.memory, self.log_level = size, timers, memory, log_level
        self.procs = {}
        self.tag = os.path.basename(self.dir)[3:]
        self.port = 20000 + os.getpid() % 20000
        self.links = []
        self.keep = False  # True: the processes outlive this one
        signal.signal(signal.SIGTERM, end_in_order)

    # --- set-up ---
    def __enter__(self):
        try:
            if self.netns:
                self._make_netns()
            for site in self.sites:
                self.sh([self.bin("twinshore"), "store", "format", self.path(site, "store"), "--size", self.size])
            for m in self.all:
                self._write_config(m)
                self.start(m)
            for site in self.sites:
                self.wait_admin(site)
            return self
        except BaseException as e:
            self.__exit__(type(e), e, None)
            raise

    def __exit__(self, kind, value, trace):
        for m in list(self.procs):
            self.kill(m)
        for ns in self.links:
            subprocess.run(["ip", "netns", "del", ns], stderr=subprocess.DEVNULL, check=False)
        if kind is None:
            shutil.rmtree(self.dir, ignore_errors=True)
        else:
            print(f"logs are kept in {self.dir}")
            for site in self.sites:
                try:
                    os.unlink(self.path(site, "store"))
                except OSError:
                    pass

    def bin(self, name):
        for folder in ("engine/node", "tools/ctl", "tools"):
            path = os.path.join(self.build, folder, name)
            if os.path.exists(path):
                return path
        raise Failed(f"{name} is not in {self.build}")

    def path(self, member, name):
        folder = os.path.join(self.dir, member)
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, name)

    def address(self, member, kind):
        i = self.all.index(member)
        if self.netns:
            return f"10.99.0.{i + 1}:{7780 + kind}"
        return f"127.0.0.1:{self.port + 2 * i + kind}"

    def metrics_port(self, member):
        return self.port + 10 + self.all.index(member)

    def _write_config(self, m):
        members = "\n".join(f"    - {{name: {n}, address: {self.address(n, 1)}}}" for n in self.members)
        quorum = f"quorum:\n  state: {self.path(m, 'quorum')}\n  listen: {self.address(m, 1)}\n  members:\n{members}\n"
        if m == "witness":
            text = f"name: witness\nstate: {self.path(m, 'quorum')}\n" + quorum.replace(
                f"  state: {self.path(m, 'quorum')}\n", "")
        else:
            distant = self.south in ("distant", "pair")
            sites = "\n".join(f"  - {{name: {n}, address: {self.address(n, 0)}"
                              f"{', async: true' if distant and n == 'south' else ''}}}" for n in self.sites)
            if self.south == "pair" or (distant and m == "south"):
                quorum = ""
            text = (f"site: {m}\nstore: {self.path(m, 'store')}\nadmin: {self.path(m, 'admin')}\n"
                    f"nbd:\n  listen: [\"unix:{self.path(m, 'nbd')}\"]\n"
                    f"replication:\n  listen: {self.address(m, 0)}\nsites:\n{sites}\n{quorum}"
                    f"memory: {self.memory}\n")
            if not self.netns:
                text += f"metrics: {{listen: \"127.0.0.1:{self.metrics_port(m)}\"}}\n"
        text += f"timers: {{preset: {self.timers}}}\nlog: {{level: {self.log_level}}}\n"
        if self.netns:
            text += "insecure: true\n"
        with open(self.path(m, "config"), "w", encoding="utf-8") as f:
            f.write(text)

    def _make_netns(self):
        hub = f"tsh{self.tag}"
        self.sh(["ip", "netns", "add", hub])
        self.links.append(hub)
        self.sh(["ip", "-n", hub, "link", "add", "br0", "type", "bridge"])
        self.sh(["ip", "-n", hub, "link", "set", "br0", "up"])
        for i, m in enumerate(self.all):
            ns = self.ns(m)
            self.sh(["ip", "netns", "add", ns])
            self.links.append(ns)
            self.sh(["ip", "-n", hub, "link", "add", f"p{i}", "type", "veth", "peer", "name", "eth0", "netns", ns])
            self.sh(["ip", "-n", hub, "link", "set", f"p{i}", "master", "br0", "up"])
            self.sh(["ip", "-n", ns, "addr", "add", f"10.99.0.{i + 1}/24", "dev", "eth0"])
            self.sh(["ip", "-n", ns, "link", "set", "eth0", "up"])
            self.sh(["ip", "-n", ns, "link", "set", "lo", "up"])

    def ns(self, m):
        return f"ts{self.all.index(m)}{self.tag}"

    # --- processes ---
    def start(self, m):
        program = "twinshore-witness" if m == "witness" else "twinshored"
        args = [self.bin(program), "--config", self.path(m, "config")]
        if self.netns:
            args = ["ip", "netns", "exec", self.ns(m)] + args
        log = open(self.path(m, "log"), "ab")
        self.procs[m] = subprocess.Popen(args, stderr=log, stdout=log, stdin=subprocess.DEVNULL,
                                         preexec_fn=None if self.keep else die_with_parent)
        log.close()

    def kill(self, m, sig=signal.SIGKILL):
        p = self.procs.pop(m, None)
        if p is None:
            return None
        p.send_signal(signal.SIGCONT)
        p.send_signal(sig)
        return p.wait(30)

    def stop(self, m):
        """A clean stop; its exit code must be 0."""
        rc = self.kill(m, signal.SIGTERM)
        if rc != 0:
            raise Failed(f"{m} ended with {rc} after SIGTERM: see {self.path(m, 'log')}")

    def freeze(self, m):
        self.procs[m].send_signal(signal.SIGSTOP)

    def thaw(self, m):
        self.procs[m].send_signal(signal.SIGCONT)

    def cut(self, m):
        self.sh(["ip", "-n", f"tsh{self.tag}", "link", "set", f"p{self.all.index(m)}", "down"])

    def mend(self, m):
        self.sh(["ip", "-n", f"tsh{self.tag}", "link", "set", f"p{self.all.index(m)}", "up"])

    # --- questions ---
    @staticmethod
    def sh(args, **kw):
        r = subprocess.run(args, capture_output=True, text=True, check=False, **kw)
        if r.returncode != 0:
            raise Failed(f"{' '.join(args)}: exit {r.returncode}: {r.stderr.strip()} {r.stdout.strip()}")
        return r.stdout

    def ctl(self, site, *args, timeout=40):
        return json.loads(self.sh([self.bin("twinshore"), "--admin", self.path(site, "admin"), "--json", *args],
                                  timeout=timeout) or "null")

    def ctl_offline(self, site):
        """The digest roots of a stopped site's store."""
        out = self.sh([self.bin("twinshore"), "--json", "store", "check", self.path(site, "store"), "--digest"], timeout=300)
        return json.loads(out).get("digests")

    def status(self, site):
        try:
            return self.ctl(site, "--timeout", "2s", "status", timeout=10)
        except (Failed, ValueError, subprocess.TimeoutExpired):
            return None

    def group(self, site, name="pg"):
        s = self.status(site)
        for g in (s or {}).get("groups", []):
            if g["name"] == name:
                return g
        return None

    def wait_admin(self, site, seconds=60):
        return wait_for(f"{site} answers", seconds, lambda: self.status(site))

    def wait_state(self, site, state, seconds=60, role=None):
        def check():
            g = self.group(site)
            return g if g and g["state"] == state and (role is None or g["role"] == role) else None
        return wait_for(f"{site} is {role or ''} {state}", seconds, check)

    def sent(self, site):
        """Bytes that replication has sent since this process began: {"record": n, "base": n, "compare": n}."""
        found = re.findall(r'^twinshore_repl_bytes_total\{kind="(\w+)"\} (\d+)$', self.metrics(site), re.M)
        if len(found) != 3:
            raise Failed(f"{site} tells no bytes of replication")
        return {kind: int(n) for kind, n in found}

    def metric(self, site, name):
        """A metric without labels."""
        found = re.search(rf"^{name} (\S+)$", self.metrics(site), re.M)
        if not found:
            raise Failed(f"{site} has no metric {name}")
        return float(found.group(1))

    def metrics(self, site):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port(site)}/metrics", timeout=10) as r:
            return r.read().decode()

    def primary(self):
        for site in SITES:
            if site in self.procs:
                g = self.group(site)
                if g and g["role"] == "primary":
                    return site
        return None

    def uri(self, site, volume="pg/db"):
        return f"nbd+unix:///{volume}?socket={self.path(site, 'nbd')}"

    def create(self, size="256MiB", primary="east"):
        other = "west" if primary == "east" else "east"
        wait_for("a group can be created", 60, lambda: self._try_create(primary, other))
        self.ctl(primary, "volume", "create", "pg/db", "--size", size)
        return self.wait_state(primary, "in-sync", role="primary")

    def _try_create(self, primary, other):
        try:
            self.ctl(primary, "group", "create", "pg", "--sync", other)
            return True
        except Failed:
            return False
