/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/process/ack_writer.c: writes through NBD, keeps its own record of what was acknowledged, follows
 * the primary across sites, and verifies the record against a volume.
 *
 *   ack_writer write  --record FILE --seconds S [--count N] [--depth 16] [--seed N] [--window-mib N]
 *                     [--rate N] [--mark LOG] URI...
 *   ack_writer verify --record FILE [--until-mark N] URI
 *
 * Every 512-byte sector written carries the number of its write.  A sector read back may hold write
 * s only if no acknowledged write t of that sector was issued after s had ended (acknowledged, or
 * its connection given up): so a lost write and a write that takes effect late are both found.
 * The record is a list of struct entry, in order.  One JSON line on stdout says what happened.
 * --mark LOG: each entry also says how long that file is at this moment; when it is the log of a
 * disk, what is acknowledged by then must survive any cut of the log at or after that length.
 * --until-mark N: an acknowledgement with a later mark has not happened yet.
 * --rate N: at most so many writes per second.
 *
 * A connection that is silent is kept while the other sites are asked: what it answers meanwhile counts.
 * Only when another site serves is it closed, and its writes are given up, before anything is written there.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libnbd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512u
#define DEPTH_MAX 64
#define WRITE_MAX (1u << 20)
#define CONNECT_MS 400
#define SILENT_MS 250 /* no answer for so long: ask the other sites, too */

enum entry_kind { ENTRY_ISSUED = 1, ENTRY_ACKED = 2, ENTRY_GIVEN_UP = 3 };

struct entry {
	uint64_t kind, number, off, bytes, time_ns, mark;
};

struct slot {
	bool busy;
	int64_t cookie;
	uint64_t number, off;
	uint32_t bytes;
	uint8_t *data;
};

struct writer {
	FILE *record;
	struct nbd_handle *h, *other; /* other: asked while h is silent */
	uint64_t other_until_ns;
	struct slot slots[DEPTH_MAX];
	int depth, busy, mark_fd; /* -1: no marks */
	uint64_t rate;		  /* 0: no limit */
	uint64_t volume_bytes, seed, number, acked, connects;
	uint64_t last_ack_ns, gap_ns, gap_at_ns;
	char **uris;
	int uri_count, uri_next, uri_now; /* asked next, and the one of h */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t random_next(uint64_t *s)
{
	uint64_t z = (*s += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void note(struct writer *w, enum entry_kind kind, const struct slot *s)
{
	struct entry e = {kind, s->number, s->off, s->bytes, now_ns(), 0};
	struct stat sb;

	if (w->mark_fd >= 0) {
		if (fstat(w->mark_fd, &sb) < 0) {
			perror("ack_writer: mark");
			exit(2);
		}
		e.mark = (uint64_t)sb.st_size;
	}
	if (fwrite(&e, sizeof(e), 1, w->record) != 1) {
		perror("ack_writer: record");
		exit(2);
	}
}

static void fill(uint8_t *data, uint64_t number, uint64_t off, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i += SECTOR) {
		uint64_t head[2] = {number, (off + i) / SECTOR};

		memcpy(data + i, head, sizeof(head));
		memset(data + i + sizeof(head), (int)(number * 31 + i / SECTOR) & 0xff,
		       SECTOR - sizeof(head));
	}
}

static bool is_alive(struct nbd_handle *h)
{
	return nbd_aio_is_dead(h) == 0 && nbd_aio_is_closed(h) == 0;
}

static struct nbd_handle *begin_connect(const char *uri)
{
	struct nbd_handle *h = nbd_create();

	if (h == NULL)
		return NULL;
	nbd_set_uri_allow_local_file(h, true);
	nbd_set_request_block_size(h, false); /* sectors, whatever the volume's blocks are */
	if (nbd_aio_connect_uri(h, uri) == 0)
		return h;
	nbd_close(h);
	return NULL;
}

static struct nbd_handle *try_connect(const char *uri)
{
	struct nbd_handle *h = begin_connect(uri);
	uint64_t until = now_ns() + CONNECT_MS * 1000000ull;

	if (h == NULL)
		return NULL;
	while (now_ns() < until && nbd_aio_is_connecting(h) == 1)
		if (nbd_poll(h, 50) < 0)
			break;
	if (nbd_aio_is_ready(h) == 1)
		return h;
	nbd_close(h);
	return NULL;
}

static void give_up(struct writer *w)
{
	for (int i = 0; i < w->depth; i++)
		if (w->slots[i].busy) {
			note(w, ENTRY_GIVEN_UP, &w->slots[i]);
			w->slots[i].busy = false;
		}
	w->busy = 0;
	if (w->h != NULL)
		nbd_close(
			w->h); /* before the next site is asked: nothing of it is answered later */
	w->h = NULL;
}

static void forget_other(struct writer *w)
{
	if (w->other != NULL)
		nbd_close(w->other);
	w->other = NULL;
}

/* While w->h is silent: ask the other sites in turn, a little at a time; true: one serves, w->h is that now. */
static bool ask_others(struct writer *w)
{
	if (w->uri_count == 1)
		return false;
	if (w->other == NULL) {
		w->uri_next = (w->uri_next + 1) % w->uri_count;
		if (w->uri_next == w->uri_now)
			w->uri_next = (w->uri_next + 1) % w->uri_count;
		w->other = begin_connect(w->uris[w->uri_next]);
		w->other_until_ns = now_ns() + CONNECT_MS * 1000000ull;
		if (w->other == NULL)
			return false;
	}
	if (nbd_aio_is_connecting(w->other) == 1)
		(void)nbd_poll(w->other, 10);
	if (nbd_aio_is_ready(w->other) == 1) {
		give_up(w);
		w->h = w->other;
		w->other = NULL;
		w->uri_now = w->uri_next;
		w->connects++;
		return true;
	}
	if (nbd_aio_is_connecting(w->other) != 1 || now_ns() > w->other_until_ns)
		forget_other(w);
	return false;
}

static bool connect_next(struct writer *w)
{
	w->h = try_connect(w->uris[w->uri_next]);
	if (w->h == NULL) {
		struct timespec pause = {0, 10000000};

		w->uri_next = (w->uri_next + 1) % w->uri_count;
		nanosleep(&pause, NULL); /* between attempts, not for an event */
		return false;
	}
	w->uri_now = w->uri_next;
	w->connects++;
	if (w->volume_bytes == 0)
		w->volume_bytes = (uint64_t)nbd_get_size(w->h);
	return true;
}

static int completed(void *user, int *error)
{
	(void)user;
	(void)error;
	return 0;
}

static void issue(struct writer *w, struct slot *s, uint64_t window)
{
	static const uint32_t sizes[] = {512,  1024,  4096,  4096,   4096,
					 8192, 12288, 65536, 131072, 1048576};
	uint32_t pick = (uint32_t)(random_next(&w->seed) % 64);
	uint64_t span = window != 0 && window < w->volume_bytes ? window : w->volume_bytes;
	nbd_completion_callback cb = {.callback = completed};

	s->bytes = sizes[pick < 40 ? 2 + pick % 3 : pick < 62 ? pick % 8 : 8 + pick % 2];
	if (s->bytes > span)
		s->bytes = SECTOR;
	s->off = random_next(&w->seed) % ((span - s->bytes) / SECTOR + 1) * SECTOR;
	s->number = ++w->number;
	fill(s->data, s->number, s->off, s->bytes);
	note(w, ENTRY_ISSUED, s);
	s->cookie = nbd_aio_pwrite(w->h, s->data, s->bytes, s->off, cb,
				   s->number % 16 == 0 ? LIBNBD_CMD_FLAG_FUA : 0);
	s->busy = true;
	w->busy++;
}

/* Take answers; false: the connection is no use any more. */
static bool reap(struct writer *w)
{
	for (int i = 0; i < w->depth; i++) {
		struct slot *s = &w->slots[i];
		int rc;

		if (!s->busy)
			continue;
		if (s->cookie < 0)
			return false;
		rc = nbd_aio_command_completed(w->h, (uint64_t)s->cookie);
		if (rc == 0)
			continue;
		if (rc < 0) {
			if (is_alive(w->h)) {
				fprintf(stderr,
					"ack_writer: a write was answered with an error: %s\n",
					nbd_get_error());
				exit(3); /* never, on a role change */
			}
			return false;
		}
		note(w, ENTRY_ACKED, s);
		s->busy = false;
		w->busy--;
		w->acked++;
		if (w->last_ack_ns != 0 && now_ns() - w->last_ack_ns > w->gap_ns) {
			w->gap_ns = now_ns() - w->last_ack_ns;
			w->gap_at_ns = w->last_ack_ns;
		}
		w->last_ack_ns = now_ns();
	}
	return true;
}

static bool may_issue(const struct writer *w, uint64_t first, uint64_t begin)
{
	return w->rate == 0 || (w->number - first) * 1000000000ull < (now_ns() - begin) * w->rate;
}

static int run_write(struct writer *w, double seconds, uint64_t count, uint64_t window)
{
	uint64_t begin = now_ns(), end = begin + (uint64_t)(seconds * 1e9), heard = begin,
		 first = w->number;

	while (now_ns() < end && (count == 0 || w->acked < count)) {
		uint64_t before = w->acked;

		if (w->h == NULL && !connect_next(w))
			continue;
		if (w->h != NULL && w->busy == 0)
			heard = now_ns();
		for (int i = 0; i < w->depth && may_issue(w, first, begin); i++)
			if (!w->slots[i].busy)
				issue(w, &w->slots[i], window);
		if (nbd_poll(w->h, w->other != NULL || w->rate != 0 ? 10 : 100) < 0 || !reap(w) ||
		    !is_alive(w->h)) {
			if (w->h != NULL)
				reap(w); /* what was answered before the end counts */
			give_up(w);
			continue;
		}
		if (w->acked != before)
			heard = now_ns();
		if (now_ns() - heard < SILENT_MS * 1000000ull)
			forget_other(w);
		else if (ask_others(w))
			heard = now_ns();
	}
	forget_other(w);
	while (w->h != NULL && w->busy > 0 && now_ns() < end + 3000000000ull)
		if (nbd_poll(w->h, 100) < 0 || !reap(w))
			break;
	give_up(w);
	printf("{\"issued\": %llu, \"acknowledged\": %llu, \"seconds\": %.3f, \"longest_gap_seconds\": %.3f, "
	       "\"gap_began_ns\": %llu, \"connects\": %llu}\n",
	       (unsigned long long)w->number, (unsigned long long)w->acked,
	       (double)(now_ns() - begin) / 1e9, (double)w->gap_ns / 1e9,
	       (unsigned long long)w->gap_at_ns, (unsigned long long)w->connects);
	return w->acked > 0 ? 0 : 1;
}

/* --- verify --- */

struct write {
	uint64_t off, bytes, issued_at, ended_at; /* positions in the record; ended 0: never */
	bool acked;
};

struct history {
	struct write *writes; /* index = number */
	uint64_t count, acked, extent;
};

static int load(const char *path, uint64_t until, struct history *hist)
{
	FILE *f = fopen(path, "rb");
	struct entry e;
	uint64_t at = 0, cap = 0;

	if (f == NULL) {
		perror(path);
		return -1;
	}
	while (fread(&e, sizeof(e), 1, f) == 1) {
		at++;
		if (e.number >= cap) {
			uint64_t grow = (e.number + 1) * 2;

			hist->writes = realloc(hist->writes, grow * sizeof(*hist->writes));
			if (hist->writes == NULL)
				return -1;
			memset(hist->writes + cap, 0, (grow - cap) * sizeof(*hist->writes));
			cap = grow;
		}
		if (e.number >= hist->count)
			hist->count = e.number + 1;
		if (e.kind == ENTRY_ISSUED) {
			hist->writes[e.number] = (struct write){e.off, e.bytes, at, 0, false};
			if (e.off + e.bytes > hist->extent)
				hist->extent = e.off + e.bytes;
		} else if (e.mark <= until) {
			hist->writes[e.number].ended_at = at;
			hist->writes[e.number].acked = e.kind == ENTRY_ACKED;
			hist->acked += e.kind == ENTRY_ACKED;
		}
	}
	fclose(f);
	return 0;
}

/* Per sector: the position in the record of the issue of the newest acknowledged write. */
static int check_sectors(const struct history *hist, struct nbd_handle *h)
{
	uint64_t sectors = hist->extent / SECTOR, bad = 0, checked = 0;
	uint64_t *newest = calloc(sectors + 1, sizeof(*newest));
	uint8_t *data = malloc(WRITE_MAX);

	if (newest == NULL || data == NULL)
		return 2;
	for (uint64_t n = 1; n < hist->count; n++) {
		const struct write *x = &hist->writes[n];

		for (uint64_t s = x->off / SECTOR; x->acked && s < (x->off + x->bytes) / SECTOR;
		     s++)
			if (newest[s] < x->issued_at)
				newest[s] = x->issued_at;
	}
	for (uint64_t off = 0; off < hist->extent; off += WRITE_MAX) {
		uint64_t bytes = hist->extent - off < WRITE_MAX ? hist->extent - off : WRITE_MAX;

		if (nbd_pread(h, data, bytes, off, 0) < 0) {
			fprintf(stderr, "ack_writer: reading %llu at %llu: %s\n",
				(unsigned long long)bytes, (unsigned long long)off,
				nbd_get_error());
			return 1;
		}
		for (uint64_t i = 0; i < bytes; i += SECTOR) {
			uint64_t sector = (off + i) / SECTOR, head[2];
			const struct write *x;
			uint8_t want[SECTOR];
			const char *why = NULL;

			memcpy(head, data + i, sizeof(head));
			checked++;
			if (head[0] == 0) {
				if (newest[sector] != 0)
					why = "an acknowledged write is lost";
			} else if (head[0] >= hist->count || hist->writes[head[0]].issued_at == 0) {
				why = "content that nobody wrote";
			} else {
				x = &hist->writes[head[0]];
				fill(want, head[0], x->off, SECTOR);
				fill(want, head[0], off + i, SECTOR);
				memset(want + 16,
				       (int)(head[0] * 31 + (off + i - x->off) / SECTOR) & 0xff,
				       SECTOR - 16);
				if (off + i < x->off || off + i >= x->off + x->bytes ||
				    memcmp(want, data + i, SECTOR) != 0)
					why = "content of another place, or torn";
				else if (x->ended_at != 0 && newest[sector] > x->ended_at)
					why = x->acked ? "an acknowledged write is lost"
						       : "a write given up took effect late";
			}
			if (why != NULL && ++bad <= 10)
				fprintf(stderr, "ack_writer: sector %llu holds write %llu: %s\n",
					(unsigned long long)sector, (unsigned long long)head[0],
					why);
		}
	}
	printf("{\"acknowledged\": %llu, \"sectors_checked\": %llu, \"sectors_wrong\": %llu}\n",
	       (unsigned long long)hist->acked, (unsigned long long)checked,
	       (unsigned long long)bad);
	free(newest);
	free(data);
	return bad == 0 ? 0 : 1;
}

static int run_verify(const char *record, uint64_t until, const char *uri)
{
	struct history hist = {0};
	struct nbd_handle *h = NULL;
	int rc;

	if (load(record, until, &hist) < 0)
		return 2;
	for (int i = 0; i < 50 && h == NULL; i++)
		h = try_connect(uri);
	if (h == NULL) {
		fprintf(stderr, "ack_writer: no connection to %s\n", uri);
		return 2;
	}
	rc = check_sectors(&hist, h);
	nbd_close(h);
	free(hist.writes);
	return rc;
}

struct args {
	const char *record, *mark, *mode;
	double seconds;
	uint64_t count, window, until;
};

/* 0; 2: not understood. */
static int parse(int argc, char **argv, struct args *a, struct writer *w)
{
	static const struct option options[] = {{"record", required_argument, NULL, 'r'},
						{"seconds", required_argument, NULL, 's'},
						{"count", required_argument, NULL, 'c'},
						{"depth", required_argument, NULL, 'd'},
						{"seed", required_argument, NULL, 'e'},
						{"window-mib", required_argument, NULL, 'w'},
						{"first", required_argument, NULL, 'f'},
						{"mark", required_argument, NULL, 'm'},
						{"until-mark", required_argument, NULL, 'u'},
						{"rate", required_argument, NULL, 'R'},
						{NULL, 0, NULL, 0}};
	int opt;

	optind = 2;
	while (argc > 1 && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'r':
			a->record = optarg;
			break;
		case 's':
			a->seconds = strtod(optarg, NULL);
			break;
		case 'c':
			a->count = strtoull(optarg, NULL, 10);
			break;
		case 'd':
			w->depth = atoi(optarg);
			break;
		case 'e':
			w->seed = strtoull(optarg, NULL, 10);
			break;
		case 'w':
			a->window = strtoull(optarg, NULL, 10) << 20;
			break;
		case 'f':
			w->number = strtoull(optarg, NULL, 10);
			break;
		case 'm':
			a->mark = optarg;
			break;
		case 'R':
			w->rate = strtoull(optarg, NULL, 10);
			break;
		case 'u':
			a->until = strtoull(optarg, NULL, 10);
			break;
		default:
			return 2;
		}
	}
	return a->record == NULL || optind >= argc || w->depth < 1 || w->depth > DEPTH_MAX ? 2 : 0;
}

int main(int argc, char **argv)
{
	struct writer w = {.depth = 16, .seed = 1, .mark_fd = -1};
	struct args a = {.mode = argc > 1 ? argv[1] : "",
			 .seconds = 10,
			 .window = 64ull << 20,
			 .until = UINT64_MAX};
	int rc;

	if (parse(argc, argv, &a, &w) != 0) {
		fprintf(stderr, "usage: ack_writer write|verify --record FILE [options] URI...\n");
		return 2;
	}
	if (strcmp(a.mode, "verify") == 0)
		return run_verify(a.record, a.until, argv[optind]);
	w.uris = argv + optind;
	w.uri_count = argc - optind;
	w.record = fopen(a.record, "ab");
	if (w.record != NULL && a.mark != NULL)
		w.mark_fd = open(a.mark, O_RDONLY | O_CLOEXEC);
	if (w.record == NULL || (a.mark != NULL && w.mark_fd < 0)) {
		perror(w.record == NULL ? a.record : a.mark);
		return 2;
	}
	setvbuf(w.record, NULL, _IOFBF, 1 << 16);
	for (int i = 0; i < w.depth; i++)
		w.slots[i].data = malloc(WRITE_MAX);
	rc = run_write(&w, a.seconds, a.count, a.window);
	if (fclose(w.record) != 0)
		rc = 2;
	for (int i = 0; i < w.depth; i++)
		free(w.slots[i].data);
	return rc;
}
