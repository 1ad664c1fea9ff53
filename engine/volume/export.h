/* SPDX-License-Identifier: Apache-2.0 */
/* engine/volume/export.h: a volume of a snapshot while somebody reads it.  Only the volume room includes it. */
#ifndef TS_VOLUME_EXPORT_H
#define TS_VOLUME_EXPORT_H

#include "engine/store/snapshot.h"
#include "engine/volume/group.h"

struct export
{
	struct volume v;
	struct op op;
	struct list_link link; /* of group */
	struct snapshot_info snapshot;
	struct snapshot *snap; /* NULL until opened */
	struct completion opened;
	bool asked, failed;
	struct list waiting; /* reads that came before it was open, struct volume_io.link */
};

void export_open(struct export *e); /* a client has attached */

#endif
