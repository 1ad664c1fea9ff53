#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The matrix of real NBD clients against two real sites and a witness, at the primary.

usage: clients_test.py BUILD
A volume of 512-byte blocks and one of 4096; also that a secondary refuses and names the primary.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, Failed, wait_for  # noqa: E402

MATRIX = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../clients/nbd_matrix")


def count(text):
    """passed, failed, skipped of the matrix's last line: passed N failed N skipped N"""
    words = text.strip().splitlines()[-1].split()
    return int(words[1]), int(words[3]), int(words[5])


def main():
    build = sys.argv[1]
    passed = failed = skipped = 0
    try:
        with Cluster(build, size="2GiB") as c:
            c.create()
            for name, block in (("small", "512"), ("large", "4096")):
                c.ctl("east", "volume", "create", f"pg/{name}", "--size", "300MiB", "--block-size", block)
                env = dict(os.environ, NBD_PID=str(c.procs["east"].pid))
                r = subprocess.run(["bash", MATRIX, f"unix:{c.path('east', 'nbd')}", f"pg/{name}"], env=env,
                                   capture_output=True, text=True, timeout=300, check=False)
                print(r.stdout, r.stderr)
                p, f, s = count(r.stdout)
                passed, failed, skipped = passed + p, failed + f, skipped + s
            r = subprocess.run(["nbdinfo", c.uri("west")], capture_output=True, text=True, check=False,
                               env=dict(os.environ, LIBNBD_DEBUG="1"))  # shows what the server said
            if r.returncode != 0 and "is primary at site east" in r.stderr:
                passed += 1
                print("ok refused at the secondary, naming the primary")
            else:
                failed += 1
                print(f"FAIL the secondary answered: {r.stdout} {r.stderr}")
            wait_for("nothing was dropped", 30, lambda: (c.group("east") or {}).get("state") == "in-sync")
    except (Failed, subprocess.TimeoutExpired, ValueError, IndexError) as e:
        failed += 1
        print(f"FAILED: {e}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
