#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""count.py TESTLOG.json: what meson ran, counted in checks.

Prints a line "FAIL name" per failed test and, last, "passed failed skipped".  A program that says
"100%: Checks: 6, Failures: 0, Errors: 0" (libcheck) or "6 passed, 0 failed, 0 skipped" counts as
that many; any other as one.  A program that failed without saying where counts as one failure.
"""
import json
import re
import sys

passed = failed = skipped = 0
with open(sys.argv[1], encoding="utf-8") as f:
    for line in f:
        test = json.loads(line)
        out = test.get("stdout") or ""
        p = bad = s = 0
        for m in re.finditer(r"Checks: (\d+), Failures: (\d+), Errors: (\d+)", out):
            checks, failures, errors = (int(x) for x in m.groups())
            p += checks - failures - errors
            bad += failures + errors
        for m in re.finditer(r"(?m)^(\d+) passed, (\d+) failed, (\d+) skipped$", out):
            p, bad, s = p + int(m.group(1)), bad + int(m.group(2)), s + int(m.group(3))
        result = test["result"]
        if result in ("OK", "EXPECTEDFAIL"):
            if p + bad + s == 0:
                p = 1
        elif result == "SKIP":
            s = max(s, 1)
        else:
            bad = max(bad, 1)
            print(f"FAIL {test['name']} ({result.lower()})")
            for shown in re.findall(r"(?m)^.*:[FE]:.*$", out)[:20]:
                print(f"    {shown}")
        passed, failed, skipped = passed + p, failed + bad, skipped + s
print(passed, failed, skipped)
