/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/store/snapshot.c
 * Purpose.     The contract of snapshot.h: no replica has a snapshot in this version.
 */
#include "engine/store/snapshot.h"

#include "engine/base/assert.h"
#include "engine/base/err.h"

uint32_t replica_snapshots(const struct replica *r, struct snapshot_info *ret, uint32_t max)
{
	(void)r;
	(void)ret;
	(void)max;
	return 0;
}

int replica_snapshot_by_name(const struct replica *r, const char *name, struct snapshot_info *ret)
{
	(void)r;
	(void)name;
	(void)ret;
	return -ERR_NOT_FOUND;
}

int replica_snapshot_by_uuid(const struct replica *r, const struct uuid *uuid,
			     struct snapshot_info *ret)
{
	(void)r;
	(void)uuid;
	(void)ret;
	return -ERR_NOT_FOUND;
}

bool replica_snapshot_at(const struct replica *r, uint32_t index, struct snapshot_info *ret)
{
	(void)r;
	(void)index;
	(void)ret;
	return false;
}

uint32_t replica_snapshot_volumes(const struct replica *r, const struct uuid *uuid,
				  struct replica_volume *ret, uint32_t max)
{
	(void)r;
	(void)uuid;
	(void)ret;
	(void)max;
	return 0;
}

bool replica_clone_base(const struct replica *r, struct record_clone *ret)
{
	(void)r;
	(void)ret;
	return false;
}

uint32_t replica_snapshots_unpinned(const struct replica *r)
{
	(void)r;
	return 0;
}

bool replica_is_restoring(const struct replica *r)
{
	(void)r;
	return false;
}

void replica_snapshot_open(struct replica *r, const struct uuid *uuid, struct snapshot **ret,
			   struct completion *done)
{
	(void)r;
	(void)uuid;
	*ret = NULL;
	completion_fire(done, -ERR_NOT_FOUND);
}

void replica_snapshot_close(struct snapshot **snap)
{
	assert(*snap == NULL);
}

void replica_snapshot_owned(struct replica *r, struct snapshot_owned *q)
{
	(void)r;
	completion_fire(&q->done, -ERR_NOT_FOUND);
}

int replica_clone_check(struct store *s, const struct uuid *group, const struct uuid *snapshot)
{
	(void)s;
	(void)group;
	(void)snapshot;
	return -ERR_NOT_FOUND;
}

void snapshot_info_get(const struct snapshot *snap, struct snapshot_info *ret)
{
	(void)snap;
	(void)ret;
	UNREACHABLE("no snapshot was opened");
}

uint32_t snapshot_volumes(const struct snapshot *snap, struct replica_volume *ret, uint32_t max)
{
	(void)snap;
	(void)ret;
	(void)max;
	UNREACHABLE("no snapshot was opened");
}

uint64_t snapshot_volume_digest(const struct snapshot *snap, uint32_t volume)
{
	(void)snap;
	(void)volume;
	UNREACHABLE("no snapshot was opened");
}

uint64_t snapshot_digest(const struct snapshot *snap)
{
	(void)snap;
	UNREACHABLE("no snapshot was opened");
}

void snapshot_read(struct snapshot *snap, struct replica_read *rd)
{
	(void)snap;
	completion_fire(&rd->done, -ERR_UNSUPPORTED);
}

void snapshot_allocated(struct snapshot *snap, struct replica_allocated *q)
{
	(void)snap;
	completion_fire(&q->done, -ERR_UNSUPPORTED);
}

void snapshot_delta(struct snapshot_delta *d)
{
	completion_fire(&d->done, -ERR_UNSUPPORTED);
}
