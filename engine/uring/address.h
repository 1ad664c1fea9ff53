/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/address.h: addresses as text: "unix:/path", "tcp:HOST:PORT", "HOST:PORT". */
#ifndef TS_URING_ADDRESS_H
#define TS_URING_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/attr.h"

#define ADDRESS_BYTES_MAX 127u /* of the text */
#define ADDRESS_UNIX_BYTES_MAX 107u
#define ADDRESS_RESOLVED_MAX 4u

struct address {
	bool is_unix;
	bool numeric;	/* host needs no name service */
	char host[128]; /* or the path of the unix socket */
	uint16_t port;
};

/* One socket address; `storage` holds a struct sockaddr of `bytes`. */
struct address_socket {
	uint32_t bytes;
	uint64_t storage[16];
};

/* -ERR_INVALID.  Port 0 is for tests: any free one. */
MUST_CHECK int address_parse(const char *text, struct address *ret_address);

/* It stays within this machine: unix, 127.0.0.0/8, ::1 or "localhost". */
bool address_is_loopback(const struct address *address);

/*
 * Socket addresses of it, at most ADDRESS_RESOLVED_MAX: a count, or -ERR_UNREACHABLE (no such
 * name).  Blocks for the name service unless it is unix or numeric.
 */
MUST_CHECK int address_resolve(const struct address *address, bool to_listen,
			       struct address_socket ret_sockets[ADDRESS_RESOLVED_MAX]);

/* "10.0.0.1:80", "[::1]:80" or "unix:/path". */
void address_format(const struct address_socket *socket, char *text, uint32_t bytes);

#endif
