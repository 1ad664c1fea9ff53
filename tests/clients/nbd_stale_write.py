#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A frozen server must not execute what its client gave up: nbd_stale_write.py ADDRESS EXPORT PID

(1) Block 0 holds 'A'.  (2) The server freezes.  (3) A client sends a write of '1', gets no answer,
gives up and closes.  (4) The server thaws: the write has no living client and may have been sent
again elsewhere, and overwritten since.  Block 0 must still hold 'A'.
"""
import os
import signal
import struct
import sys
import time

ADDRESS, EXPORT, PID = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.argv = ["nbd_semantics.py", ADDRESS, EXPORT, "none"]
HERE = os.path.dirname(os.path.abspath(__file__))
scope = {"__name__": "library"}
exec(compile(open(os.path.join(HERE, "nbd_semantics.py")).read(), "nbd_semantics.py", "exec"), scope)
Client, WRITE = scope["Client"], scope["WRITE"]

for payload in (512, 4096, 65536, 1 << 20):
    c = Client()
    c.write(0, b"A" * payload)
    victim = Client()
    c.read(0, 1)  # both connections are idle in the server now
    os.kill(PID, signal.SIGSTOP)
    try:
        time.sleep(0.05)
        victim.s.setblocking(False)
        data = struct.pack(">IHHQQI", 0x25609513, 0, WRITE, 7, 0, payload) + b"1" * payload
        while data:
            try:
                data = data[victim.s.send(data):]
            except BlockingIOError:
                break  # the socket is full: the client waits in vain
        victim.close()
        time.sleep(0.05)
    finally:
        os.kill(PID, signal.SIGCONT)
    time.sleep(0.3)
    assert c.read(0, payload) == b"A" * payload, f"a stale write of {payload} bytes was executed"
    c.close()
print("ok")
