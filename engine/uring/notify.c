/* SPDX-License-Identifier: Apache-2.0 */
/* engine/uring/notify.c
 * Purpose.     One datagram; saves a library. */
#include "engine/uring/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void uring_notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t bytes;
	int fd;

	if (path == NULL || (path[0] != '/' && path[0] != '@'))
		return;
	bytes = strlen(path);
	if (bytes >= sizeof(un.sun_path))
		return;
	memcpy(un.sun_path, path, bytes);
	if (un.sun_path[0] == '@')
		un.sun_path[0] = '\0'; /* the abstract namespace */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&un,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes));
	close(fd);
}
