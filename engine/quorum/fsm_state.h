/* SPDX-License-Identifier: Apache-2.0 */
/* engine/quorum/fsm_state.h: the inside of struct fsm, shared by fsm.c and fsm_codec.c only. */
#ifndef TS_QUORUM_FSM_STATE_H
#define TS_QUORUM_FSM_STATE_H

#include "engine/quorum/view.h"

#define DELETED_MAX 64u

struct fsm {
	struct vg_view *vg; /* sorted by uuid (F4) */
	uint32_t count, capacity;
	uint32_t node_count;
	struct {
		uint32_t site;
		uint64_t boot;
	} node[VG_NODE_MAX]; /* in order of first announcement */
	struct uuid deleted[DELETED_MAX];
	uint32_t deleted_next;
};

#endif
