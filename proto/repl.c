/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto/repl.c
 * Purpose.     Bytes of frames to structs and back; the layouts are in proto/repl.md.
 * Invariants.  F1  Encoders write exactly the bytes they return; decoders read no byte beyond
 *                  `bytes` and refuse left-over bytes (HELLO and REFUSE excepted: later versions
 *                  may append to them, and they are what versions are negotiated with).
 *              F2  What an encoder wrote, its decoder accepts.
 * Failure.     Bytes from outside: -ERR_PROTOCOL or -ERR_CORRUPT, never an assertion.
 */
#include "proto/repl.h"

#include "engine/base/assert.h"
#include "engine/base/crc.h"
#include "engine/base/err.h"
#include "proto/cursor.h"
#include "proto/record.h"

_Static_assert(FRAME_ATTACH_BYTES_MAX <= FRAME_HEAD_BYTES_MAX, "an ATTACH fits a head");

#define HELLO_NAME_BYTES 40u
#define CRC_OFF (FRAME_HEADER_BYTES - 4u)

#define ON_LINK (1u << FRAME_CONN_LINK)
#define ON_DATA (1u << FRAME_CONN_DATA)
#define ON_BULK (1u << FRAME_CONN_BULK)
#define ON_ALL (ON_LINK | ON_DATA | ON_BULK)

struct kind_rule {
	enum frame_kind kind;
	uint32_t conns;
	uint32_t head_min, head_max, payload_max;
	const char *name;
};

static const struct kind_rule kind_rules[] = {
	{FRAME_HELLO, ON_ALL, FRAME_HELLO_BYTES, 1024, 0, "HELLO"},
	{FRAME_HELLO_OK, ON_ALL, FRAME_HELLO_BYTES, 1024, 0, "HELLO_OK"},
	{FRAME_REFUSE, ON_ALL, 24, 1024, 0, "REFUSE"},
	{FRAME_KEEPALIVE, ON_ALL, 0, 0, 0, "KEEPALIVE"},
	{FRAME_LINK, ON_LINK, 4, 8192, 0, "LINK"},
	{FRAME_ATTACH, ON_DATA, 60, FRAME_ATTACH_BYTES_MAX, 0, "ATTACH"},
	{FRAME_ATTACH_REFUSE, ON_DATA, 24, FRAME_REFUSE_BYTES_MAX, 0, "ATTACH_REFUSE"},
	{FRAME_START, ON_DATA, FRAME_START_BYTES, FRAME_START_BYTES, 0, "START"},
	{FRAME_FULL, ON_DATA, 92, FRAME_FULL_BYTES_MAX, 0, "FULL"},
	{FRAME_WANT_FULL, ON_DATA, FRAME_NUMBER_BYTES, FRAME_NUMBER_BYTES, 0, "WANT_FULL"},
	{FRAME_RECORD, ON_DATA, RECORD_FIXED_BYTES, RECORD_LOGICAL_BYTES_MAX,
	 FRAME_PAYLOAD_BYTES_MAX, "RECORD"},
	{FRAME_ACK, ON_DATA, FRAME_ACK_BYTES, FRAME_ACK_BYTES, 0, "ACK"},
	{FRAME_COMMIT, ON_LINK, FRAME_NUMBER_BYTES, FRAME_NUMBER_BYTES, 0, "COMMIT"},
	{FRAME_FETCH_END, ON_DATA, FRAME_NUMBER_BYTES, FRAME_NUMBER_BYTES, 0, "FETCH_END"},
	{FRAME_STOP, ON_DATA, 24, FRAME_REFUSE_BYTES_MAX, 0, "STOP"},
	{FRAME_DETACH, ON_DATA, 24, FRAME_REFUSE_BYTES_MAX, 0, "DETACH"},
	{FRAME_COMPARE, ON_DATA, FRAME_NUMBER_BYTES, FRAME_NUMBER_BYTES, 0, "COMPARE"},
	{FRAME_BASE, ON_BULK, 20, FRAME_BASE_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX, "BASE"},
	{FRAME_BASE_ACK, ON_BULK, FRAME_NUMBER_BYTES, FRAME_NUMBER_BYTES, 0, "BASE_ACK"},
	{FRAME_BASE_END, ON_BULK, FRAME_NUMBER_BYTES, FRAME_NUMBER_BYTES, 0, "BASE_END"},
	{FRAME_REPAIR_ASK, ON_BULK, FRAME_REPAIR_BYTES, FRAME_REPAIR_BYTES, 0, "REPAIR_ASK"},
	{FRAME_REPAIR_TOLD, ON_BULK, FRAME_REPAIRED_BYTES, FRAME_REPAIRED_BYTES, BLOCK_BYTES,
	 "REPAIR_TOLD"},
	{FRAME_COMPARE_ASK, ON_BULK, FRAME_COMPARE_ASK_BYTES, FRAME_COMPARE_ASK_BYTES, 0,
	 "COMPARE_ASK"},
	{FRAME_COMPARE_TOLD, ON_BULK, 16, FRAME_COMPARE_TOLD_BYTES_MAX, 0, "COMPARE_TOLD"},
};

static const struct kind_rule *kind_rule(uint32_t kind);
static void put_text(struct cursor *c, const char *text, uint32_t bytes);
static void get_text(struct cursor *c, char *ret, uint32_t ret_bytes, uint32_t bytes);
static void put_epoch(struct cursor *c, const struct epoch *e);
static struct epoch get_epoch(struct cursor *c);
static void put_epochs(struct cursor *c, const struct frame_epoch *epochs, uint32_t count);
static int get_epochs(struct cursor *c, struct frame_epoch *ret, uint32_t count);
static uint32_t used(const struct cursor *c, const uint8_t *out);
static int whole(const struct cursor *c);

void frame_header_encode(uint8_t out[FRAME_HEADER_BYTES], const struct frame_header *h,
			 const void *head)
{
	struct cursor c;

	cursor_init(&c, out, FRAME_HEADER_BYTES);
	put_u32(&c, FRAME_MAGIC);
	put_u16(&c, (uint16_t)h->kind);
	put_u16(&c, h->flags);
	put_u32(&c, h->head_bytes);
	put_u32(&c, h->payload_bytes);
	put_u64(&c, h->session);
	put_bytes(&c, h->group.b, sizeof(h->group.b));
	put_u64(&c, h->group_session);
	put_u64(&c, h->epoch);
	put_u64(&c, h->lsn.v);
	put_u32(&c, h->head_bytes > 0 ? crc32c(head, h->head_bytes) : 0);
	put_u32(&c, crc32c(out, CRC_OFF));
	assert(cursor_ok(&c) && cursor_left(&c) == 0); /* F1 */
}

int frame_header_decode(const uint8_t in[FRAME_HEADER_BYTES], struct frame_header *ret)
{
	const struct kind_rule *rule;
	struct frame_header h = {0};
	struct cursor c;
	uint32_t kind;

	cursor_init_read(&c, in, FRAME_HEADER_BYTES);
	if (get_u32(&c) != FRAME_MAGIC)
		return -ERR_PROTOCOL;
	kind = get_u16(&c);
	h.flags = get_u16(&c);
	h.head_bytes = get_u32(&c);
	h.payload_bytes = get_u32(&c);
	h.session = get_u64(&c);
	get_bytes(&c, h.group.b, sizeof(h.group.b));
	h.group_session = get_u64(&c);
	h.epoch = get_u64(&c);
	h.lsn.v = get_u64(&c);
	h.head_crc = get_u32(&c);
	if (get_u32(&c) != crc32c(in, CRC_OFF))
		return -ERR_CORRUPT;
	rule = kind_rule(kind);
	if (rule == NULL || h.flags != 0)
		return -ERR_PROTOCOL;
	h.kind = rule->kind;
	if (h.head_bytes < rule->head_min || h.head_bytes > rule->head_max ||
	    h.payload_bytes > rule->payload_max || h.payload_bytes % BLOCK_BYTES != 0)
		return -ERR_PROTOCOL;
	*ret = h;
	return 0;
}

int frame_head_check(const struct frame_header *h, const void *head)
{
	uint32_t crc = h->head_bytes > 0 ? crc32c(head, h->head_bytes) : 0;

	return crc == h->head_crc ? 0 : -ERR_CORRUPT;
}

bool frame_kind_allowed(enum frame_kind kind, enum frame_conn conn)
{
	const struct kind_rule *rule = kind_rule((uint32_t)kind);

	return rule != NULL && (rule->conns & (1u << conn)) != 0;
}

const char *frame_kind_name(enum frame_kind kind)
{
	const struct kind_rule *rule = kind_rule((uint32_t)kind);

	return rule != NULL ? rule->name : "unknown";
}

uint32_t frame_hello_encode(uint8_t out[FRAME_HELLO_BYTES], const struct frame_hello *m)
{
	struct cursor c;

	cursor_init(&c, out, FRAME_HELLO_BYTES);
	put_u32(&c, m->version_min);
	put_u32(&c, m->version_max);
	put_u64(&c, m->features);
	put_u32(&c, m->site);
	put_u32(&c, (uint32_t)m->conn);
	put_bytes(&c, m->store.b, sizeof(m->store.b));
	put_u64(&c, m->incarnation);
	put_u64(&c, m->session);
	put_text(&c, m->name, HELLO_NAME_BYTES);
	return used(&c, out);
}

int frame_hello_decode(const uint8_t *in, uint32_t bytes, struct frame_hello *ret)
{
	struct frame_hello m = {0};
	struct cursor c;
	uint32_t conn;

	cursor_init_read(&c, in, bytes);
	m.version_min = get_u32(&c);
	m.version_max = get_u32(&c);
	m.features = get_u64(&c);
	m.site = get_u32(&c);
	conn = get_u32(&c);
	get_bytes(&c, m.store.b, sizeof(m.store.b));
	m.incarnation = get_u64(&c);
	m.session = get_u64(&c);
	get_text(&c, m.name, sizeof(m.name), HELLO_NAME_BYTES);
	if (!cursor_ok(&c) || conn >= FRAME_CONN_COUNT || m.version_min > m.version_max)
		return -ERR_PROTOCOL;
	m.conn = (enum frame_conn)conn;
	*ret = m;
	return 0;
}

uint32_t frame_refuse_encode(uint8_t out[FRAME_REFUSE_BYTES_MAX], const struct frame_refuse *m)
{
	uint32_t text_bytes = (uint32_t)strnlen(m->text, FRAME_TEXT_BYTES_MAX);
	struct cursor c;

	cursor_init(&c, out, FRAME_REFUSE_BYTES_MAX);
	put_u32(&c, m->version_min);
	put_u32(&c, m->version_max);
	put_u64(&c, m->session_seen);
	put_u32(&c, (uint32_t)m->rc);
	put_u32(&c, text_bytes);
	put_bytes(&c, m->text, text_bytes);
	return used(&c, out);
}

int frame_refuse_decode(const uint8_t *in, uint32_t bytes, struct frame_refuse *ret)
{
	struct frame_refuse m = {0};
	struct cursor c;
	uint32_t text_bytes;

	cursor_init_read(&c, in, bytes);
	m.version_min = get_u32(&c);
	m.version_max = get_u32(&c);
	m.session_seen = get_u64(&c);
	m.rc = (int32_t)get_u32(&c);
	text_bytes = get_u32(&c);
	if (text_bytes > FRAME_TEXT_BYTES_MAX || m.rc > 0 || m.rc < -4096)
		return -ERR_PROTOCOL;
	get_text(&c, m.text, sizeof(m.text), text_bytes);
	if (!cursor_ok(&c))
		return -ERR_PROTOCOL;
	*ret = m;
	return 0;
}

uint32_t frame_attach_encode(uint8_t out[FRAME_ATTACH_BYTES_MAX], const struct frame_attach *m)
{
	struct cursor c;

	assert(m->epoch_count <= FRAME_EPOCHS_MAX);
	cursor_init(&c, out, FRAME_ATTACH_BYTES_MAX);
	put_u32(&c, m->purpose);
	put_u32(&c, m->known ? 1 : 0);
	put_u64(&c, m->incarnation);
	put_u64(&c, m->tail.v);
	put_u64(&c, m->commit.v);
	put_u64(&c, m->fold.v);
	put_u64(&c, m->tail_chain);
	put_u64(&c, m->window_bytes);
	put_u32(&c, m->epoch_count);
	put_epochs(&c, m->epochs, m->epoch_count);
	return used(&c, out);
}

int frame_attach_decode(const uint8_t *in, uint32_t bytes, struct frame_attach *ret)
{
	struct cursor c;
	uint32_t known;

	cursor_init_read(&c, in, bytes);
	memset(ret, 0, sizeof(*ret));
	ret->purpose = get_u32(&c);
	known = get_u32(&c);
	ret->known = known == 1;
	ret->incarnation = get_u64(&c);
	ret->tail.v = get_u64(&c);
	ret->commit.v = get_u64(&c);
	ret->fold.v = get_u64(&c);
	ret->tail_chain = get_u64(&c);
	ret->window_bytes = get_u64(&c);
	ret->epoch_count = get_u32(&c);
	if (known > 1 || ret->purpose < 1 || ret->purpose > 2 ||
	    get_epochs(&c, ret->epochs, ret->epoch_count) < 0)
		return -ERR_PROTOCOL;
	if (ret->commit.v > ret->tail.v || ret->fold.v > ret->commit.v)
		return -ERR_PROTOCOL;
	return whole(&c);
}

uint32_t frame_start_encode(uint8_t out[FRAME_START_BYTES], const struct frame_start *m)
{
	struct cursor c;

	cursor_init(&c, out, FRAME_START_BYTES);
	put_epoch(&c, &m->epoch);
	put_u64(&c, m->chain);
	put_u64(&c, m->common_epoch);
	put_u64(&c, m->common_first.v);
	put_u64(&c, m->last_forced_epoch);
	put_u64(&c, m->head.v);
	return used(&c, out);
}

int frame_start_decode(const uint8_t *in, uint32_t bytes, struct frame_start *ret)
{
	struct cursor c;

	cursor_init_read(&c, in, bytes);
	ret->epoch = get_epoch(&c);
	ret->chain = get_u64(&c);
	ret->common_epoch = get_u64(&c);
	ret->common_first.v = get_u64(&c);
	ret->last_forced_epoch = get_u64(&c);
	ret->head.v = get_u64(&c);
	return whole(&c);
}

uint32_t frame_full_encode(uint8_t out[FRAME_FULL_BYTES_MAX], const struct frame_full *m)
{
	struct cursor c;

	assert(m->epoch_count <= FRAME_EPOCHS_MAX);
	assert(m->volume_count <= VOLUMES_MAX);
	cursor_init(&c, out, FRAME_FULL_BYTES_MAX);
	put_epoch(&c, &m->epoch);
	put_u64(&c, m->chain);
	put_u32(&c, m->common_known ? 1 : 0);
	put_u64(&c, m->common.v);
	put_u64(&c, m->common_epoch);
	put_u64(&c, m->last_forced_epoch);
	put_u64(&c, m->content_generation);
	put_u64(&c, m->base_bytes);
	put_u64(&c, m->head.v);
	put_u32(&c, m->epoch_count);
	put_u32(&c, m->volume_count);
	put_epochs(&c, m->epochs, m->epoch_count);
	for (uint32_t i = 0; i < m->volume_count; i++) {
		const struct frame_volume *v = &m->volumes[i];

		put_u32(&c, v->slot);
		put_u32(&c, v->deleted ? 1 : 0);
		put_bytes(&c, v->uuid.b, sizeof(v->uuid.b));
		put_u64(&c, v->bytes);
		put_u64(&c, v->used_bytes);
		put_u32(&c, v->block_bytes);
		put_text(&c, v->name, NAME_BYTES_MAX + 1);
	}
	return used(&c, out);
}

static int get_volumes(struct cursor *c, struct frame_full *ret)
{
	for (uint32_t i = 0; i < ret->volume_count; i++) {
		struct frame_volume *v = &ret->volumes[i];
		uint32_t deleted;

		v->slot = get_u32(c);
		deleted = get_u32(c);
		v->deleted = deleted == 1;
		get_bytes(c, v->uuid.b, sizeof(v->uuid.b));
		v->bytes = get_u64(c);
		v->used_bytes = get_u64(c);
		v->block_bytes = get_u32(c);
		get_text(c, v->name, sizeof(v->name), NAME_BYTES_MAX + 1);
		if (deleted > 1 || v->slot >= VOLUMES_MAX || v->bytes % 512 != 0 ||
		    v->bytes > (1ull << 60) || (v->block_bytes != 512 && v->block_bytes != 4096))
			return -ERR_PROTOCOL;
		if (i > 0 && v->slot <= ret->volumes[i - 1].slot)
			return -ERR_PROTOCOL;
	}
	return 0;
}

int frame_full_decode(const uint8_t *in, uint32_t bytes, struct frame_full *ret)
{
	struct cursor c;
	uint32_t known;

	cursor_init_read(&c, in, bytes);
	memset(ret, 0, sizeof(*ret));
	ret->epoch = get_epoch(&c);
	ret->chain = get_u64(&c);
	known = get_u32(&c);
	ret->common_known = known == 1;
	ret->common.v = get_u64(&c);
	ret->common_epoch = get_u64(&c);
	ret->last_forced_epoch = get_u64(&c);
	ret->content_generation = get_u64(&c);
	ret->base_bytes = get_u64(&c);
	ret->head.v = get_u64(&c);
	ret->epoch_count = get_u32(&c);
	ret->volume_count = get_u32(&c);
	if (known > 1 || ret->volume_count > VOLUMES_MAX ||
	    get_epochs(&c, ret->epochs, ret->epoch_count) < 0 || get_volumes(&c, ret) < 0)
		return -ERR_PROTOCOL;
	return whole(&c);
}

uint32_t frame_ack_encode(uint8_t out[FRAME_ACK_BYTES], const struct frame_ack *m)
{
	struct cursor c;

	cursor_init(&c, out, FRAME_ACK_BYTES);
	put_u64(&c, m->durable.v);
	put_u64(&c, m->received.v);
	put_u32(&c, m->staging ? 1 : 0);
	return used(&c, out);
}

int frame_ack_decode(const uint8_t *in, uint32_t bytes, struct frame_ack *ret)
{
	struct cursor c;
	uint32_t staging;

	cursor_init_read(&c, in, bytes);
	ret->durable.v = get_u64(&c);
	ret->received.v = get_u64(&c);
	staging = get_u32(&c);
	ret->staging = staging == 1;
	if (staging > 1 || ret->durable.v > ret->received.v)
		return -ERR_PROTOCOL;
	return whole(&c);
}

uint32_t frame_base_encode(uint8_t out[FRAME_BASE_BYTES_MAX], const struct frame_base *m)
{
	struct cursor c;

	assert(m->count > 0);
	assert(m->count <= FRAME_BASE_BLOCKS_MAX);
	cursor_init(&c, out, FRAME_BASE_BYTES_MAX);
	put_u32(&c, m->volume);
	put_u32(&c, m->count);
	put_u64(&c, m->block);
	for (uint32_t i = 0; i < m->count; i++)
		put_u32(&c, m->crcs[i]);
	return used(&c, out);
}

int frame_base_decode(const uint8_t *in, uint32_t bytes, uint32_t payload_bytes,
		      struct frame_base *ret)
{
	struct cursor c;

	cursor_init_read(&c, in, bytes);
	ret->volume = get_u32(&c);
	ret->count = get_u32(&c);
	ret->block = get_u64(&c);
	if (!cursor_ok(&c) || ret->count == 0 || ret->count > FRAME_BASE_BLOCKS_MAX ||
	    ret->count * BLOCK_BYTES != payload_bytes || ret->volume >= VOLUMES_MAX ||
	    ret->block > (1ull << 48) ||
	    ret->block / LEAF_BLOCKS != (ret->block + ret->count - 1) / LEAF_BLOCKS)
		return -ERR_PROTOCOL;
	for (uint32_t i = 0; i < ret->count; i++)
		ret->crcs[i] = get_u32(&c);
	return whole(&c);
}

uint32_t frame_repair_encode(uint8_t out[FRAME_REPAIR_BYTES], const struct frame_repair *m)
{
	struct cursor c;

	cursor_init(&c, out, FRAME_REPAIR_BYTES);
	put_u64(&c, m->question);
	put_u64(&c, m->block);
	put_u32(&c, m->volume);
	put_u32(&c, m->crc);
	put_bytes(&c, m->snapshot.b, sizeof(m->snapshot.b));
	return used(&c, out);
}

int frame_repair_decode(const uint8_t *in, uint32_t bytes, struct frame_repair *ret)
{
	struct cursor c;

	cursor_init_read(&c, in, bytes);
	ret->question = get_u64(&c);
	ret->block = get_u64(&c);
	ret->volume = get_u32(&c);
	ret->crc = get_u32(&c);
	get_bytes(&c, ret->snapshot.b, sizeof(ret->snapshot.b));
	if (ret->volume >= VOLUMES_MAX || ret->block > (1ull << 48))
		return -ERR_PROTOCOL;
	return whole(&c);
}

uint32_t frame_repaired_encode(uint8_t out[FRAME_REPAIRED_BYTES], const struct frame_repaired *m)
{
	struct cursor c;

	assert(m->rc <= 0);
	cursor_init(&c, out, FRAME_REPAIRED_BYTES);
	put_u64(&c, m->question);
	put_u32(&c, (uint32_t)m->rc);
	return used(&c, out);
}

int frame_repaired_decode(const uint8_t *in, uint32_t bytes, uint32_t payload_bytes,
			  struct frame_repaired *ret)
{
	struct cursor c;

	cursor_init_read(&c, in, bytes);
	ret->question = get_u64(&c);
	ret->rc = (int32_t)get_u32(&c);
	if (ret->rc > 0 || ret->rc < -4096 || payload_bytes != (ret->rc == 0 ? BLOCK_BYTES : 0))
		return -ERR_PROTOCOL;
	return whole(&c);
}

static void put_words(struct cursor *c, const uint64_t *words, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		put_u64(c, words[i]);
}

static void get_words(struct cursor *c, uint64_t *words, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		words[i] = get_u64(c);
}

#define MASK_WORDS (LEAF_BLOCKS / 64u)

uint32_t frame_compare_ask_encode(uint8_t out[FRAME_COMPARE_ASK_BYTES],
				  const struct frame_compare_ask *m)
{
	struct cursor c;

	cursor_init(&c, out, FRAME_COMPARE_ASK_BYTES);
	put_u64(&c, m->question);
	put_u32(&c, (uint32_t)m->kind);
	put_u16(&c, (uint16_t)m->volume);
	put_u16(&c, (uint16_t)m->level);
	put_u64(&c, m->index);
	put_u64(&c, m->since.v);
	put_words(&c, m->blocks, MASK_WORDS);
	return used(&c, out);
}

int frame_compare_ask_decode(const uint8_t *in, uint32_t bytes, struct frame_compare_ask *ret)
{
	struct cursor c;
	uint32_t kind;
	uint64_t any = 0;

	cursor_init_read(&c, in, bytes);
	ret->question = get_u64(&c);
	kind = get_u32(&c);
	ret->volume = get_u16(&c);
	ret->level = get_u16(&c);
	ret->index = get_u64(&c);
	ret->since.v = get_u64(&c);
	get_words(&c, ret->blocks, MASK_WORDS);
	for (uint32_t i = 0; i < MASK_WORDS; i++)
		any |= ret->blocks[i];
	if (kind < COMPARE_PAGE || kind > COMPARE_END || ret->volume >= VOLUMES_MAX ||
	    ret->index >= 1ull << 36 || ret->level > FRAME_COMPARE_LEVELS_MAX)
		return -ERR_PROTOCOL;
	ret->kind = (enum frame_compare_kind)kind;
	if ((ret->kind == COMPARE_PAGE) != (ret->level > 0) ||
	    (ret->kind == COMPARE_BLOCKS || ret->kind == COMPARE_HASH) != (any != 0))
		return -ERR_PROTOCOL;
	return whole(&c);
}

static void put_page(struct cursor *c, const struct frame_compare_told *m)
{
	put_u64(c, m->present);
	put_u64(c, m->known);
	put_u64(c, m->changed);
	for (uint32_t i = 0; i < FRAME_COMPARE_CHILDREN; i++)
		if ((m->known >> i & 1) != 0)
			put_u64(c, m->digests[i]);
}

static void get_page(struct cursor *c, struct frame_compare_told *m)
{
	m->present = get_u64(c);
	m->known = get_u64(c);
	m->changed = get_u64(c);
	for (uint32_t i = 0; i < FRAME_COMPARE_CHILDREN; i++)
		m->digests[i] = (m->known >> i & 1) != 0 ? get_u64(c) : 0;
}

static void put_sums(struct cursor *c, const struct frame_compare_told *m)
{
	put_words(c, m->data, MASK_WORDS);
	put_u32(c, m->changed_chunks);
	for (uint32_t i = 0; i < LEAF_BLOCKS; i++)
		if ((m->data[i / 64] >> i % 64 & 1) != 0)
			put_u32(c, m->crcs[i]);
}

static void get_sums(struct cursor *c, struct frame_compare_told *m)
{
	get_words(c, m->data, MASK_WORDS);
	m->changed_chunks = get_u32(c);
	for (uint32_t i = 0; i < LEAF_BLOCKS; i++)
		m->crcs[i] = (m->data[i / 64] >> i % 64 & 1) != 0 ? get_u32(c) : 0;
}

uint32_t frame_compare_told_encode(uint8_t out[FRAME_COMPARE_TOLD_BYTES_MAX],
				   const struct frame_compare_told *m)
{
	struct cursor c;

	assert(m->rc <= 0 && m->kind != COMPARE_END);
	cursor_init(&c, out, FRAME_COMPARE_TOLD_BYTES_MAX);
	put_u64(&c, m->question);
	put_u32(&c, (uint32_t)m->kind);
	put_u32(&c, (uint32_t)m->rc);
	if (m->rc == 0 && m->kind == COMPARE_PAGE)
		put_page(&c, m);
	else if (m->rc == 0 && m->kind == COMPARE_SUMS)
		put_sums(&c, m);
	else if (m->rc == 0)
		put_u64(&c, m->number);
	return used(&c, out);
}

int frame_compare_told_decode(const uint8_t *in, uint32_t bytes, struct frame_compare_told *ret)
{
	struct cursor c;
	uint32_t kind;

	cursor_init_read(&c, in, bytes);
	memset(ret, 0, sizeof(*ret));
	ret->question = get_u64(&c);
	kind = get_u32(&c);
	ret->rc = (int32_t)get_u32(&c);
	if (kind < COMPARE_PAGE || kind >= COMPARE_END || ret->rc > 0 || ret->rc < -4096)
		return -ERR_PROTOCOL;
	ret->kind = (enum frame_compare_kind)kind;
	if (ret->rc == 0 && ret->kind == COMPARE_PAGE)
		get_page(&c, ret);
	else if (ret->rc == 0 && ret->kind == COMPARE_SUMS)
		get_sums(&c, ret);
	else if (ret->rc == 0)
		ret->number = get_u64(&c);
	if ((ret->known & ~ret->present) != 0)
		return -ERR_PROTOCOL;
	return whole(&c);
}

uint32_t frame_number_encode(uint8_t out[FRAME_NUMBER_BYTES], uint64_t v)
{
	struct cursor c;

	cursor_init(&c, out, FRAME_NUMBER_BYTES);
	put_u64(&c, v);
	return used(&c, out);
}

int frame_number_decode(const uint8_t *in, uint32_t bytes, uint64_t *ret)
{
	struct cursor c;
	uint64_t v;

	cursor_init_read(&c, in, bytes);
	v = get_u64(&c);
	if (whole(&c) < 0)
		return -ERR_PROTOCOL;
	*ret = v;
	return 0;
}

static const struct kind_rule *kind_rule(uint32_t kind)
{
	for (uint32_t i = 0; i < ARRAY_COUNT(kind_rules); i++)
		if ((uint32_t)kind_rules[i].kind == kind)
			return &kind_rules[i];
	return NULL;
}

static void put_text(struct cursor *c, const char *text, uint32_t bytes)
{
	uint32_t text_bytes = (uint32_t)strnlen(text, bytes - 1);

	put_bytes(c, text, text_bytes);
	put_zeroes(c, bytes - text_bytes);
}

/* `bytes` on the wire, terminated or not; what cannot be printed becomes '?'. */
static void get_text(struct cursor *c, char *ret, uint32_t ret_bytes, uint32_t bytes)
{
	const uint8_t *p = cursor_skip(c, bytes);
	uint32_t i = 0;

	for (; p != NULL && i < bytes && i + 1 < ret_bytes && p[i] != 0; i++)
		ret[i] = p[i] >= ' ' && p[i] < 127 ? (char)p[i] : '?';
	ret[i] = '\0';
}

static void put_epoch(struct cursor *c, const struct epoch *e)
{
	put_u64(c, e->number);
	put_u64(c, e->incarnation);
	put_u32(c, e->site);
}

static struct epoch get_epoch(struct cursor *c)
{
	struct epoch e = {0};

	e.number = get_u64(c);
	e.incarnation = get_u64(c);
	e.site = get_u32(c);
	return e;
}

static void put_epochs(struct cursor *c, const struct frame_epoch *epochs, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		put_epoch(c, &epochs[i].epoch);
		put_u64(c, epochs[i].first.v);
	}
}

static int get_epochs(struct cursor *c, struct frame_epoch *ret, uint32_t count)
{
	if (count > FRAME_EPOCHS_MAX || cursor_left(c) < count * FRAME_EPOCH_BYTES)
		return -ERR_PROTOCOL;
	for (uint32_t i = 0; i < count; i++) {
		ret[i].epoch = get_epoch(c);
		ret[i].first.v = get_u64(c);
		if (i > 0 && (ret[i].epoch.number <= ret[i - 1].epoch.number ||
			      ret[i].first.v <= ret[i - 1].first.v))
			return -ERR_PROTOCOL;
	}
	return 0;
}

static uint32_t used(const struct cursor *c, const uint8_t *out)
{
	assert(cursor_ok(c)); /* F1 */
	return (uint32_t)(c->at - out);
}

static int whole(const struct cursor *c)
{
	return cursor_ok(c) && cursor_left(c) == 0 ? 0 : -ERR_PROTOCOL;
}
