# SPDX-License-Identifier: Apache-2.0
"""A site alone as a real process, for the power cut and for benches: its store, one volume."""
import json
import os
import signal
import subprocess

from cluster import Cluster, Failed, wait_for


def find_bin(build, name):
    for folder in ("engine/node", "tools/ctl", "tests/process"):
        path = os.path.join(build, folder, name)
        if os.path.exists(path):
            return path
    raise Failed(f"{name} is not in {build}")


class Alone:
    """folder: for its sockets and logs; store: a file or a block device."""

    def __init__(self, build, folder, store, memory="128MiB", extra=""):
        self.build, self.dir, self.store, self.proc = build, folder, store, None
        os.makedirs(folder, exist_ok=True)
        with open(self.path("config"), "w", encoding="utf-8") as f:
            f.write(f"site: east\nstore: {store}\nadmin: {self.path('admin')}\n"
                    f"nbd:\n  listen: [\"unix:{self.path('nbd')}\"]\nmemory: {memory}\n{extra}")

    def path(self, name):
        return os.path.join(self.dir, name)

    def uri(self, volume="pg/db"):
        return f"nbd+unix:///{volume}?socket={self.path('nbd')}"

    def format(self, size=None):
        args = [find_bin(self.build, "twinshore"), "store", "format", self.store]
        Cluster.sh(args + (["--size", size] if size else []), timeout=300)

    def start(self, var_lib=None):
        """var_lib: a folder that stands for /var/lib, where the authority of a block device lives."""
        args = [find_bin(self.build, "twinshored"), "--config", self.path("config")]
        if var_lib is not None:
            os.makedirs(os.path.join(var_lib, "twinshore"), exist_ok=True)
            args = ["unshare", "--mount", "sh", "-c", "mount --bind \"$0\" /var/lib && exec \"$@\"", var_lib] + args
        with open(self.path("log"), "ab") as log:
            self.proc = subprocess.Popen(args, stderr=log, stdout=log, stdin=subprocess.DEVNULL)

    def end(self, sig=signal.SIGKILL):
        if self.proc is None:
            return None
        self.proc.send_signal(sig)
        rc = self.proc.wait(60)
        self.proc = None
        return rc

    def status(self):
        if self.proc.poll() is not None:
            raise Failed(f"twinshored ended with {self.proc.returncode}: {self.log_tail()}")
        r = self.ctl_run("--timeout", "2s", "status")
        return json.loads(r.stdout or "null") if r.returncode == 0 else None

    def ctl_run(self, *args, timeout=60):
        return subprocess.run([find_bin(self.build, "twinshore"), "--admin", self.path("admin"), "--json", *args],
                              capture_output=True, text=True, check=False, timeout=timeout)

    def ctl(self, *args):
        r = self.ctl_run(*args)
        if r.returncode != 0:
            raise Failed(f"twinshore {' '.join(args)}: exit {r.returncode}: {r.stderr.strip()} {r.stdout.strip()}")
        return json.loads(r.stdout or "null")

    def log_tail(self):
        try:
            with open(self.path("log"), encoding="utf-8", errors="replace") as f:
                return " | ".join(f.read().splitlines()[-4:])
        except OSError:
            return "no log"

    def is_primary(self):
        for g in (self.status() or {}).get("groups", []):
            if g["name"] == "pg" and g["role"] == "primary" and g["volumes"]:
                return g
        return None

    def wait_primary(self, seconds=30):
        return wait_for("the site alone serves", seconds, self.is_primary)

    def create(self, size):
        wait_for("the site answers", 30, self.status)
        self.ctl("group", "create", "pg")
        self.ctl("volume", "create", "pg/db", "--size", size)
        return self.wait_primary()
