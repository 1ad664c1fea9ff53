/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/oracle.c: see oracle.h. */
#include "tests/sim/oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/assert.h"

#define MAGIC 0x54536f7261636c65ull
#define READS_MAX 256u
#define NEVER UINT64_MAX

enum write_state { WRITE_OPEN, WRITE_ACKED, WRITE_DEAD };

struct write {
	uint64_t off, bytes;
	uint64_t begun, ended;
	enum oracle_kind kind;
	enum write_state state;
};

/* One possible value of one sector. */
struct cand {
	struct cand *next;
	uint64_t removed; /* when it became impossible; NEVER: it is possible */
	uint32_t id;
};

struct oracle {
	uint64_t sectors;
	struct cand **cands;
	struct cand *spare;
	struct write *writes; /* [0] is the empty volume */
	uint32_t write_count, write_room;
	uint64_t reads[READS_MAX]; /* begin; NEVER: free */
	uint64_t read_oldest;
	struct oracle_stats stats;
	char error[512];
};

static struct cand *cand_take(struct oracle *o)
{
	struct cand *c = o->spare;

	if (c == NULL) {
		c = malloc(sizeof(*c));
		assert(c != NULL);
	} else {
		o->spare = c->next;
	}
	return c;
}

struct oracle *oracle_new(uint64_t bytes)
{
	struct oracle *o = calloc(1, sizeof(*o));

	assert(o != NULL && bytes % ORACLE_SECTOR == 0);
	o->sectors = bytes / ORACLE_SECTOR;
	o->cands = calloc(o->sectors, sizeof(*o->cands));
	o->write_room = 1024;
	o->writes = calloc(o->write_room, sizeof(*o->writes));
	assert(o->cands != NULL && o->writes != NULL);
	o->writes[0] = (struct write){.kind = ORACLE_ZERO, .state = WRITE_ACKED, .bytes = bytes};
	o->write_count = 1;
	for (uint32_t i = 0; i < READS_MAX; i++)
		o->reads[i] = NEVER;
	o->read_oldest = NEVER;
	return o;
}

void oracle_free(struct oracle **oracle)
{
	struct oracle *o = *oracle;

	*oracle = NULL;
	if (o == NULL)
		return;
	for (uint64_t s = 0; s <= o->sectors; s++) {
		struct cand *c = s < o->sectors ? o->cands[s] : o->spare;

		while (c != NULL) {
			struct cand *next = c->next;

			free(c);
			c = next;
		}
	}
	free(o->cands);
	free(o->writes);
	free(o);
}

/* A NULL list stands for the empty volume's value alone. */
static void sector_add(struct oracle *o, uint64_t s, uint32_t id)
{
	struct cand *c;

	if (o->cands[s] == NULL) {
		c = cand_take(o);
		*c = (struct cand){.removed = NEVER, .id = 0};
		o->cands[s] = c;
	}
	c = cand_take(o);
	*c = (struct cand){.next = o->cands[s], .removed = NEVER, .id = id};
	o->cands[s] = c;
}

/* O2: `id` has taken effect; what had ended before it began is gone. */
static void sector_effect(struct oracle *o, uint64_t s, uint32_t id, uint64_t now)
{
	uint64_t begun = o->writes[id].begun;

	for (struct cand **p = &o->cands[s]; *p != NULL;) {
		struct cand *c = *p;
		const struct write *w = &o->writes[c->id];

		if (c->removed == NEVER && c->id != id && w->state != WRITE_OPEN &&
		    w->ended <= begun)
			c->removed = now;
		if (c->removed < o->read_oldest &&
		    c->removed < now) { /* no read can see it any more */
			*p = c->next;
			c->next = o->spare;
			o->spare = c;
			continue;
		}
		p = &c->next;
	}
}

uint32_t oracle_write_begin(struct oracle *o, uint64_t now, enum oracle_kind kind, uint64_t off,
			    uint64_t bytes)
{
	uint32_t id = o->write_count++;

	assert(off % ORACLE_SECTOR == 0 && bytes % ORACLE_SECTOR == 0 && bytes > 0);
	assert(off / ORACLE_SECTOR + bytes / ORACLE_SECTOR <= o->sectors);
	if (id == o->write_room) {
		o->write_room *= 2;
		o->writes = realloc(o->writes, o->write_room * sizeof(*o->writes));
		assert(o->writes != NULL);
	}
	o->writes[id] = (struct write){.off = off,
				       .bytes = bytes,
				       .begun = now,
				       .ended = NEVER,
				       .kind = kind,
				       .state = WRITE_OPEN};
	for (uint64_t s = off / ORACLE_SECTOR; s < (off + bytes) / ORACLE_SECTOR; s++)
		sector_add(o, s, id);
	o->stats.writes++;
	return id;
}

static void sector_content(uint32_t id, uint64_t sector, uint64_t out[ORACLE_SECTOR / 8])
{
	uint64_t x = ((uint64_t)id << 32) ^ sector ^ MAGIC;

	out[0] = MAGIC;
	out[1] = id;
	out[2] = sector;
	for (uint32_t i = 3; i < ORACLE_SECTOR / 8; i++) {
		x = x * 0xd1342543de82ef95ull + 0x9e3779b97f4a7c15ull;
		out[i] = x;
	}
}

void oracle_fill(const struct oracle *o, uint32_t id, void *data)
{
	const struct write *w = &o->writes[id];
	uint8_t *p = data;

	for (uint64_t s = w->off / ORACLE_SECTOR; s < (w->off + w->bytes) / ORACLE_SECTOR; s++) {
		uint64_t words[ORACLE_SECTOR / 8];

		sector_content(id, s, words);
		memcpy(p, words, ORACLE_SECTOR);
		p += ORACLE_SECTOR;
	}
}

void oracle_write_acked(struct oracle *o, uint32_t id, uint64_t now)
{
	struct write *w = &o->writes[id];
	uint64_t begin = w->off, end = w->off + w->bytes;

	assert(w->state == WRITE_OPEN);
	w->state = WRITE_ACKED;
	w->ended = now;
	o->stats.acked++;
	if (w->kind == ORACLE_TRIM) { /* O5 */
		begin = (begin + 4095) & ~4095ull;
		end &= ~4095ull;
	}
	for (uint64_t s = begin / ORACLE_SECTOR; s < end / ORACLE_SECTOR && begin < end; s++)
		sector_effect(o, s, id, now);
}

void oracle_write_dead(struct oracle *o, uint32_t id, uint64_t now)
{
	struct write *w = &o->writes[id];

	assert(w->state == WRITE_OPEN);
	w->state = WRITE_DEAD;
	w->ended = now;
	o->stats.dead++;
}

static void reads_update_oldest(struct oracle *o)
{
	o->read_oldest = NEVER;
	for (uint32_t i = 0; i < READS_MAX; i++)
		o->read_oldest = o->reads[i] < o->read_oldest ? o->reads[i] : o->read_oldest;
}

uint32_t oracle_read_begin(struct oracle *o, uint64_t now)
{
	for (uint32_t i = 0; i < READS_MAX; i++) {
		if (o->reads[i] != NEVER)
			continue;
		o->reads[i] = now;
		if (now < o->read_oldest)
			o->read_oldest = now;
		o->stats.reads++;
		return i;
	}
	UNREACHABLE("too many reads at once");
}

void oracle_read_drop(struct oracle *o, uint32_t read)
{
	o->reads[read] = NEVER;
	reads_update_oldest(o);
}

static const char *state_name(enum write_state s)
{
	return s == WRITE_OPEN ? "open" : s == WRITE_ACKED ? "acked" : "unanswered";
}

static void error_set(struct oracle *o, uint64_t s, const char *what, uint32_t id)
{
	int n = snprintf(o->error, sizeof(o->error), "sector %llu: %s", (unsigned long long)s,
			 what);

	if (id != UINT32_MAX && id < o->write_count)
		n += snprintf(o->error + n, sizeof(o->error) - (size_t)n,
			      " (write %u %s, %llu..%lld ns)", id, state_name(o->writes[id].state),
			      (unsigned long long)o->writes[id].begun,
			      (long long)o->writes[id].ended);
	n += snprintf(o->error + n, sizeof(o->error) - (size_t)n, "; possible:");
	for (const struct cand *c = o->cands[s]; c != NULL && n < (int)sizeof(o->error) - 80;
	     c = c->next) {
		const struct write *w = &o->writes[c->id];

		n += snprintf(o->error + n, sizeof(o->error) - (size_t)n, " %u(%s%s %llu..%lld)",
			      c->id, c->removed == NEVER ? "" : "gone ", state_name(w->state),
			      (unsigned long long)w->begun, (long long)w->ended);
	}
}

/* Which write the content is of: zeroes give UINT32_MAX - 1, rubbish UINT32_MAX. */
static uint32_t sector_identify(uint64_t s, const uint64_t words[ORACLE_SECTOR / 8], uint32_t count)
{
	uint64_t want[ORACLE_SECTOR / 8], any = 0;

	if (words[0] == MAGIC && words[1] > 0 && words[1] < count) {
		sector_content((uint32_t)words[1], s, want);
		return memcmp(want, words, ORACLE_SECTOR) == 0 ? (uint32_t)words[1] : UINT32_MAX;
	}
	for (uint32_t i = 0; i < ORACLE_SECTOR / 8; i++)
		any |= words[i];
	return any == 0 ? UINT32_MAX - 1 : UINT32_MAX;
}

static bool cand_fits(const struct oracle *o, const struct cand *c, uint32_t found, uint64_t since)
{
	if (c->removed != NEVER && c->removed < since)
		return false; /* O4 */
	if (found == UINT32_MAX - 1)
		return o->writes[c->id].kind != ORACLE_DATA;
	return c->id == found;
}

static bool sector_check(struct oracle *o, uint64_t s, uint64_t since, uint64_t now,
			 const uint8_t *data)
{
	uint64_t words[ORACLE_SECTOR / 8];
	uint32_t found, fits = 0, id = 0;

	memcpy(words, data, ORACLE_SECTOR);
	found = sector_identify(s, words, o->write_count);
	o->stats.sectors_checked++;
	if (o->cands[s] == NULL) {
		if (found == UINT32_MAX - 1)
			return true;
		error_set(o, s, "never written, but it is not zero", found);
		return false;
	}
	for (const struct cand *c = o->cands[s]; c != NULL; c = c->next) {
		if (!cand_fits(o, c, found, since))
			continue;
		fits++;
		id = c->id;
	}
	if (fits == 0) {
		error_set(o, s,
			  found == UINT32_MAX	    ? "neither any write's content nor zero"
			  : found == UINT32_MAX - 1 ? "zero where no zero is possible"
						    : "a value that is not possible",
			  found);
		return false;
	}
	o->stats.ambiguous += fits > 1;
	if (fits == 1) { /* it has taken effect, so it goes on being there */
		const struct write *w = &o->writes[id];

		if (!(w->kind == ORACLE_TRIM &&
		      (s * ORACLE_SECTOR < ((w->off + 4095) & ~4095ull) ||
		       s * ORACLE_SECTOR >= ((w->off + w->bytes) & ~4095ull))))
			sector_effect(o, s, id, now);
	}
	return true;
}

static bool content_check(struct oracle *o, uint64_t since, uint64_t now, uint64_t off,
			  uint64_t bytes, const void *data)
{
	const uint8_t *p = data;

	assert(off % ORACLE_SECTOR == 0 && bytes % ORACLE_SECTOR == 0);
	for (uint64_t s = off / ORACLE_SECTOR; s < (off + bytes) / ORACLE_SECTOR;
	     s++, p += ORACLE_SECTOR) {
		if (!sector_check(o, s, since, now, p))
			return false;
	}
	return true;
}

bool oracle_read_check(struct oracle *o, uint32_t read, uint64_t now, uint64_t off, uint64_t bytes,
		       const void *data)
{
	uint64_t since = o->reads[read];
	bool ok = content_check(o, since, now, off, bytes, data);

	oracle_read_drop(o, read);
	return ok;
}

bool oracle_content_check(struct oracle *o, uint64_t now, uint64_t off, uint64_t bytes,
			  const void *data)
{
	return content_check(o, now, now, off, bytes, data);
}

void oracle_adopt(struct oracle *o, uint64_t bytes, const void *data)
{
	const uint8_t *p = data;

	for (uint64_t s = 0; s < bytes / ORACLE_SECTOR; s++, p += ORACLE_SECTOR) {
		uint64_t words[ORACLE_SECTOR / 8];
		struct cand *c = o->cands[s];
		uint32_t found;

		memcpy(words, p, ORACLE_SECTOR);
		found = sector_identify(s, words, o->write_count);
		while (c != NULL) {
			struct cand *next = c->next;

			c->next = o->spare;
			o->spare = c;
			c = next;
		}
		o->cands[s] = NULL; /* zero */
		if (found >= o->write_count)
			continue;
		c = cand_take(o);
		*c = (struct cand){.removed = NEVER, .id = found};
		o->cands[s] = c;
	}
}

/* Whole sectors that a write surely changes (O5). */
static void write_span(const struct write *w, bool surely, uint64_t *ret_begin, uint64_t *ret_end)
{
	*ret_begin = w->off / ORACLE_SECTOR;
	*ret_end = (w->off + w->bytes) / ORACLE_SECTOR;
	if (!surely || w->kind != ORACLE_TRIM)
		return;
	*ret_begin = ((w->off + 4095) & ~4095ull) / ORACLE_SECTOR;
	*ret_end = ((w->off + w->bytes) & ~4095ull) / ORACLE_SECTOR;
}

/* Per sector: the begin of the newest write that is surely in the prefix, and the latest end of a write that
 * would make it zero. */
struct prefix {
	uint64_t *begun, *zero_ended;
	uint32_t *found;
};

static void prefix_fill(const struct oracle *o, const struct prefix *p, uint64_t newest)
{
	for (uint32_t id = 1; id < o->write_count; id++) {
		const struct write *w = &o->writes[id];
		uint64_t begin, end;

		write_span(w, true, &begin, &end);
		for (uint64_t s = begin; s < end && w->state == WRITE_ACKED && w->ended <= newest;
		     s++)
			if (w->begun > p->begun[s])
				p->begun[s] = w->begun;
		write_span(w, false, &begin, &end);
		for (uint64_t s = begin; s < end && w->kind != ORACLE_DATA; s++)
			if (w->ended > p->zero_ended[s])
				p->zero_ended[s] = w->ended;
	}
}

static bool prefix_sector(struct oracle *o, const struct prefix *p, uint64_t s)
{
	uint32_t id = p->found[s];
	uint64_t ended = id == UINT32_MAX - 1 ? p->zero_ended[s] : 0;

	if (id == UINT32_MAX) {
		error_set(o, s, "neither any write's content nor zero", id);
		return false;
	}
	if (id != UINT32_MAX - 1)
		ended = o->writes[id].ended;
	if (p->begun[s] == 0 || ended > p->begun[s])
		return true;
	error_set(o, s, "a write is missing that was acknowledged before a newer one here began",
		  id);
	return false;
}

bool oracle_prefix_check(struct oracle *o, uint64_t bytes, const void *data)
{
	uint64_t sectors = bytes / ORACLE_SECTOR, newest = 0;
	struct prefix p = {.begun = calloc(sectors, sizeof(uint64_t)),
			   .zero_ended = calloc(sectors, sizeof(uint64_t)),
			   .found = calloc(sectors, sizeof(uint32_t))};
	bool ok = true;

	assert(sectors == o->sectors && p.begun != NULL && p.zero_ended != NULL && p.found != NULL);
	for (uint64_t s = 0; s < sectors; s++) {
		uint64_t words[ORACLE_SECTOR / 8];

		memcpy(words, (const uint8_t *)data + s * ORACLE_SECTOR, ORACLE_SECTOR);
		p.found[s] = sector_identify(s, words, o->write_count);
		if (p.found[s] < UINT32_MAX - 1 && o->writes[p.found[s]].begun > newest)
			newest = o->writes[p.found[s]].begun;
	}
	prefix_fill(o, &p, newest);
	for (uint64_t s = 0; s < sectors && ok; s++)
		ok = prefix_sector(o, &p, s);
	free(p.begun);
	free(p.zero_ended);
	free(p.found);
	return ok;
}

const char *oracle_error(const struct oracle *o)
{
	return o->error;
}

const struct oracle_stats *oracle_stats(const struct oracle *o)
{
	return &o->stats;
}
