/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/notify.h: tell the service manager how we are (sd_notify(3), its documented datagram). */
#ifndef TS_URING_NOTIFY_H
#define TS_URING_NOTIFY_H

/* Send "READY=1", "STOPPING=1", "STATUS=..." to the socket that NOTIFY_SOCKET names; nothing happens
 * without it.  Failure is ignored: it changes nothing for us. */
void uring_notify(const char *text);

#endif
