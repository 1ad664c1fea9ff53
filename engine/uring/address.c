/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/uring/address.c
 * Purpose.     Text to socket addresses and back, in one place for the net port, the configuration
 *              and messages.
 * Failure.     Text from outside is checked character by character; a wrong one is -ERR_INVALID.
 */
#include "engine/uring/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "engine/base/assert.h"
#include "engine/base/err.h"

_Static_assert(sizeof(struct sockaddr_storage) <= sizeof(((struct address_socket *)NULL)->storage),
	       "every socket address fits");

static int parse_host_port(const char *text, struct address *a);
static bool host_is_numeric(const char *host);

int address_parse(const char *text, struct address *ret_address)
{
	struct address a;

	memset(&a, 0, sizeof(a));
	if (strlen(text) > ADDRESS_BYTES_MAX)
		return -ERR_INVALID;
	if (strncmp(text, "unix:", 5) == 0) {
		text += 5;
		if (text[0] != '/' || strlen(text) > ADDRESS_UNIX_BYTES_MAX)
			return -ERR_INVALID;
		a.is_unix = true;
		a.numeric = true;
		memcpy(a.host, text, strlen(text) + 1);
	} else {
		int rc = parse_host_port(strncmp(text, "tcp:", 4) == 0 ? text + 4 : text, &a);

		if (rc < 0)
			return rc;
	}
	*ret_address = a;
	return 0;
}

static int parse_host_port(const char *text, struct address *a)
{
	const char *colon = strrchr(text, ':'), *host = text;
	uint32_t port = 0;
	size_t bytes;

	if (colon == NULL || colon[1] == '\0' || strlen(colon + 1) > 5)
		return -ERR_INVALID;
	for (const char *p = colon + 1; *p != '\0'; p++) {
		if (*p < '0' || *p > '9')
			return -ERR_INVALID;
		port = port * 10 + (uint32_t)(*p - '0');
	}
	bytes = (size_t)(colon - text);
	if (bytes > 2 && host[0] == '[' && host[bytes - 1] == ']') {
		host++;
		bytes -= 2;
	} else if (memchr(host, ':', bytes) != NULL) {
		return -ERR_INVALID; /* IPv6 without brackets */
	}
	if (port > 65535 || bytes == 0 || bytes >= sizeof(a->host))
		return -ERR_INVALID;
	for (size_t i = 0; i < bytes; i++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-_%",
			   host[i]) == NULL ||
		    host[i] == '\0')
			return -ERR_INVALID;
	memcpy(a->host, host, bytes);
	a->host[bytes] = '\0';
	a->port = (uint16_t)port;
	a->numeric = host_is_numeric(a->host);
	if (!a->numeric && strchr(a->host, ':') != NULL)
		return -ERR_INVALID;
	return 0;
}

static bool host_is_numeric(const char *host)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *info;

	if (getaddrinfo(host, NULL, &hints, &info) != 0)
		return false;
	freeaddrinfo(info);
	return true;
}

bool address_is_loopback(const struct address *address)
{
	struct in6_addr six;
	struct in_addr four;

	if (address->is_unix || strcmp(address->host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, address->host, &four) == 1)
		return ntohl(four.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, address->host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

int address_resolve(const struct address *address, bool to_listen,
		    struct address_socket ret_sockets[ADDRESS_RESOLVED_MAX])
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *info;
	uint32_t count = 0;
	char port[8];

	memset(ret_sockets, 0, ADDRESS_RESOLVED_MAX * sizeof(ret_sockets[0]));
	if (address->is_unix) {
		struct sockaddr_un *un = (struct sockaddr_un *)(void *)ret_sockets[0].storage;

		assert(strlen(address->host) < sizeof(un->sun_path));
		un->sun_family = AF_UNIX;
		memcpy(un->sun_path, address->host, strlen(address->host) + 1);
		ret_sockets[0].bytes = sizeof(*un);
		return 1;
	}
	hints.ai_flags |= (to_listen ? AI_PASSIVE : 0) | (address->numeric ? AI_NUMERICHOST : 0);
	snprintf(port, sizeof(port), "%u", (unsigned)address->port);
	if (getaddrinfo(address->host, port, &hints, &info) != 0)
		return -ERR_UNREACHABLE;
	for (struct addrinfo *i = info; i != NULL && count < ADDRESS_RESOLVED_MAX; i = i->ai_next) {
		if (i->ai_addrlen > sizeof(ret_sockets[0].storage))
			continue;
		memcpy(ret_sockets[count].storage, i->ai_addr, i->ai_addrlen);
		ret_sockets[count].bytes = (uint32_t)i->ai_addrlen;
		count++;
	}
	freeaddrinfo(info);
	return count > 0 ? (int)count : -ERR_UNREACHABLE;
}

void address_format(const struct address_socket *socket, char *text, uint32_t bytes)
{
	const struct sockaddr *sa = (const struct sockaddr *)(const void *)socket->storage;
	char host[INET6_ADDRSTRLEN + 16], port[8];

	if (sa->sa_family == AF_UNIX) {
		const struct sockaddr_un *un =
			(const struct sockaddr_un *)(const void *)socket->storage;

		snprintf(text, bytes, "unix:%.107s",
			 socket->bytes > sizeof(sa_family_t) ? un->sun_path : "");
		return;
	}
	if (getnameinfo(sa, (socklen_t)socket->bytes, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(text, bytes, "unknown");
	else
		snprintf(text, bytes, sa->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}
