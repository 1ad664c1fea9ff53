#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stores written by earlier versions: this build checks them, opens them, and goes on with them.

usage: images_test.py BUILD

For every image: `store check --digest` before anything is changed gives the digests recorded when
it was made; the daemon opens it; its volumes have the recorded content and take writes; after a
clean stop (so after a checkpoint of this build) the check is clean and the digests of what was not
written are still the recorded ones.
"""
import glob
import hashlib
import json
import lzma
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../process"))
from alone import Alone, find_bin  # noqa: E402
from cluster import Cluster, Failed, wait_for  # noqa: E402

PIECE = 65536


def unpack(source, target):
    """Sparse: zeroes are not written."""
    with lzma.open(source) as f, open(target, "wb") as out:
        while data := f.read(PIECE):
            if data.strip(b"\0"):
                out.write(data)
            else:
                out.seek(len(data), os.SEEK_CUR)
        out.truncate()


def check(build, store, wanted, when):
    out = json.loads(Cluster.sh([find_bin(build, "twinshore"), "--json", "store", "check", store, "--digest"]))
    if out["bad"] != 0:
        raise Failed(f"{when}: the check finds {out['problems']}")
    found = {f"{d['kind']} {d['name']}": d["digest"] for d in out["digests"]}
    for name, digest in wanted.items():
        if found.get(name) != digest:
            raise Failed(f"{when}: {name} has digest {found.get(name)}, not {digest}")


def content(site, volume):
    r = subprocess.run(["nbdcopy", site.uri(volume), "-"], capture_output=True, check=False, timeout=60)
    if r.returncode != 0:
        raise Failed(f"reading {volume}: {r.stderr.decode()}")
    return hashlib.sha256(r.stdout).hexdigest()


def write(site, volume):
    r = subprocess.run(["qemu-io", "-f", "raw", "-c", "write -P 77 64k 192k", "-c", "read -P 77 64k 192k", "-c", "flush",
                        site.uri(volume)], capture_output=True, text=True, check=False, timeout=60)
    if r.returncode != 0 or "failed" in r.stdout:
        raise Failed(f"writing {volume}: {r.stdout} {r.stderr}")


def serving(site, groups):
    found = {g["name"]: g for g in (site.status() or {}).get("groups", [])}
    return all(found.get(name, {}).get("role") == "primary" for name in groups)


def use(site, wanted):
    """What an owner does after an upgrade: look, write to one volume."""
    volumes = sorted(wanted["sha256"])
    groups = {v.split("/")[0] for v in volumes}
    site.start()
    wait_for("the store is open", 30, site.status)
    wait_for("all groups serve", 30, lambda: serving(site, groups))
    for volume in volumes:
        if content(site, volume) != wanted["sha256"][volume]:
            raise Failed(f"{volume}: not the content it was left with")
    for volume in volumes[-1:]:
        write(site, volume)
    rc = site.end(15)
    if rc != 0:
        raise Failed(f"ended with {rc}: {site.log_tail()}")
    changed = {f"volume {v}" for v in volumes[-1:]} | {f"group {v.split('/')[0]}" for v in volumes[-1:]}
    return {k: v for k, v in wanted["digests"].items() if k not in changed}


def one(build, folder, source, wanted):
    store = os.path.join(folder, "store")
    unpack(source + ".xz", store)
    if wanted["authority"]:
        unpack(source + ".authority.xz", store + ".authority")
    check(build, store, wanted["digests"], "as it was left")
    site = Alone(build, os.path.join(folder, "site"), store)
    try:
        left = use(site, wanted)
        check(build, store, left, "after one life with this build")
        site.start()
        wait_for("it opens again", 30, site.status)
        if site.end(15) != 0:
            raise Failed(f"no clean second stop: {site.log_tail()}")
        check(build, store, left, "after two lives with this build")
    finally:
        site.end()


def main():
    build, passed, failed = sys.argv[1], 0, 0
    for listing in sorted(glob.glob(os.path.join(HERE, "*/expected.json"))):
        with open(listing, encoding="utf-8") as f:
            images = json.load(f)
        for name, wanted in images.items():
            label = f"{os.path.basename(os.path.dirname(listing))}/{name}"
            folder = tempfile.mkdtemp(prefix="ts-image-")
            try:
                one(build, folder, os.path.join(os.path.dirname(listing), name), wanted)
                passed += 1
                print(f"ok {label}")
            except (Failed, subprocess.TimeoutExpired) as e:
                failed += 1
                print(f"FAILED: {label}: {e}")
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
