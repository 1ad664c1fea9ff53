/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/cmd_store.c
 * Purpose.     `store format`: a file or block device becomes an empty store, offline.
 * Invariants.  O1  Nothing is written over what is not blank without --force.
 *              O2  A new file is fully written before it is a store, and removed when that fails.
 * Failure.     Told; the lock of a running daemon is respected (uring/disk.h).
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/err.h"
#include "engine/base/size.h"
#include "engine/port/random.h"
#include "tools/ctl/ctl.h"
#include "tools/ctl/json.h"
#include "tools/ctl/offline.h"

#define ZERO_BYTES (1u << 20)
#define ZERO_IOVS 16u

struct format {
	struct ctl *ctl;
	const char *path;
	uint64_t bytes;
	struct store_format_opts opts;
	bool force, is_new;
};

/* Fill the disk with zeroes, so that no block has to be allocated later. */
static int zero_disk(struct offline *o)
{
	struct iovec iov[ZERO_IOVS];
	struct disk_req req;
	uint64_t told = 0;
	void *zeroes = NULL;
	int rc = 0;

	if (posix_memalign(&zeroes, 4096, ZERO_BYTES) != 0)
		return -ERR_NOMEM;
	memset(zeroes, 0, ZERO_BYTES);
	for (uint64_t at = 0; at < o->disk->bytes && rc == 0; at += req.bytes) {
		uint64_t left = o->disk->bytes - at;

		req.bytes = 0;
		for (req.iov_count = 0; req.iov_count < ZERO_IOVS && left > req.bytes;
		     req.iov_count++) {
			uint64_t n = left - req.bytes < ZERO_BYTES ? left - req.bytes : ZERO_BYTES;

			iov[req.iov_count] = (struct iovec){zeroes, (size_t)n};
			req.bytes += n;
		}
		req.kind = DISK_WRITE;
		req.flags = 0;
		req.off = at;
		req.iov = iov;
		offline_arm(o, &req.done);
		disk_submit(o->disk, &req);
		rc = offline_wait(o, &req.done);
		if (isatty(STDERR_FILENO) && (at * 100 / o->disk->bytes != told || at == 0)) {
			told = at * 100 / o->disk->bytes;
			fprintf(stderr, "\rwriting zeroes: %3u%%", (unsigned)told);
		}
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\rwriting zeroes: done\n");
	free(zeroes);
	return rc;
}

static int format_fail(const struct format *f, const char *what, int rc)
{
	return ctl_fail(f->ctl, CTL_FAILED, err_admin_code(rc),
			rc == -ERR_LOCKED    ? "stop the daemon that uses it"
			: rc == -ERR_INVALID ? "a store needs 64 MiB, and segments that fit into it"
					     : "",
			"%s %s: %s", what, f->path, err_text(rc));
}

/* O1 */
static int format_probe(const struct format *f, struct offline *o)
{
	struct completion done;
	char size[SIZE_TEXT_BYTES];
	int rc;

	offline_arm(o, &done);
	store_probe(o->env, o->disk, &done);
	rc = offline_wait(o, &done);
	if (rc < 0)
		return format_fail(f, "reading", rc);
	if ((rc == STORE_PROBE_EMPTY || f->force) && f->bytes != 0 && f->bytes != o->disk->bytes)
		return ctl_fail(f->ctl, CTL_FAILED, "exists",
				"leave --size out, or remove it first",
				"%s exists with another size", f->path);
	if (rc == STORE_PROBE_EMPTY || f->force)
		return 0;
	size_format_short(o->disk->bytes, size);
	return ctl_fail(f->ctl, CTL_REFUSED, "refused",
			"--force overwrites it: everything on it is lost",
			"%s is not blank: it holds %s (%s)", f->path,
			rc == STORE_PROBE_STORE ? "a Twinshore store" : "something else", size);
}

static int format_disk(struct format *f, struct offline *o)
{
	struct completion done;
	uint8_t random[16];
	int rc = f->is_new ? 0 : format_probe(f, o);

	if (rc != 0)
		return rc;
	rc = f->is_new ? zero_disk(o) : 0; /* O2 */
	if (rc < 0)
		return format_fail(f, "writing", rc);
	o->env->random->fill(o->env->random, random, sizeof(random));
	uuid_from_random(&f->opts.uuid, random);
	offline_arm(o, &done);
	store_format(o->env, o->disk, &f->opts, &done);
	rc = offline_wait(o, &done);
	return rc < 0 ? format_fail(f, "formatting", rc) : 0;
}

static int format_done(const struct format *f, uint64_t bytes)
{
	char uuid[UUID_TEXT_BYTES], size[SIZE_TEXT_BYTES];
	struct json j;

	uuid_format(&f->opts.uuid, uuid);
	size_format_short(bytes, size);
	if (!f->ctl->json) {
		printf("%s is a store of %s now, %s\n", f->path, size, uuid);
		return CTL_DONE;
	}
	json_begin(&j, stdout);
	json_object(&j, NULL);
	json_object(&j, "store");
	json_text(&j, "path", f->path);
	json_number(&j, "size", bytes);
	json_text(&j, "uuid", uuid);
	json_close_object(&j);
	json_close_object(&j);
	json_end(&j);
	return CTL_DONE;
}

/* What is at the path decides whether --size is needed; 0 or an exit code. */
static int format_look(struct format *f, const char *size)
{
	struct stat st;
	int rc = size != NULL ? ctl_size(f->ctl, size, &f->bytes) : 0;

	if (rc != 0)
		return rc;
	f->is_new = stat(f->path, &st) != 0 || (S_ISREG(st.st_mode) && st.st_size == 0);
	if (f->is_new && size == NULL)
		return ctl_usage(f->ctl, "%s does not exist: say how large it shall be with --size",
				 f->path);
	if (size != NULL && (f->bytes % 4096 != 0 || f->bytes < 64u << 20))
		return ctl_usage(
			f->ctl,
			"the size of a store is a multiple of 4 KiB and at least 64 MiB, not %s",
			size);
	return 0;
}

int cmd_store_format(struct ctl *ctl, int argc, char **argv)
{
	struct format f = {.ctl = ctl, .opts = {.journal_percent = 25}};
	const char *size = NULL, *segment = NULL;
	const struct opt opts[] = {{"--size", &size, NULL, false},
				   {"--segment", &segment, NULL, false},
				   {"--force", NULL, &f.force, false},
				   {NULL, NULL, NULL, false}};
	struct uring_disk_options disk = {0};
	struct offline o;
	uint64_t bytes;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &f.path);

	if (rc != 0)
		return rc;
	if (segment != NULL && (rc = ctl_size(ctl, segment, &f.opts.segment_bytes)) != 0)
		return rc;
	if (segment != NULL &&
	    (f.opts.segment_bytes < 2u << 20 || f.opts.segment_bytes > 256u << 20 ||
	     (f.opts.segment_bytes & (f.opts.segment_bytes - 1)) != 0))
		return ctl_usage(ctl, "a segment is a power of two from 2 MiB to 256 MiB, not %s",
				 segment);
	rc = format_look(&f, size);
	if (rc != 0)
		return rc;
	disk.create = f.is_new;
	disk.allocate = f.is_new;
	disk.bytes = f.bytes;
	rc = offline_open(&o, f.path, &disk);
	if (rc < 0)
		return format_fail(&f, "opening", rc);
	bytes = o.disk->bytes;
	rc = format_disk(&f, &o);
	offline_close(&o);
	if (rc != 0 && f.is_new)
		(void)unlink(f.path);
	return rc != 0 ? rc : format_done(&f, bytes);
}
