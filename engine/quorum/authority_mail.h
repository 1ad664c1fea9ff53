/* SPDX-License-Identifier: Apache-2.0 */
/* engine/quorum/authority_mail.h: what member.c and authority.c send each other. A mail is made by
 * malloc and freed by whoever takes it. */
#ifndef TS_QUORUM_AUTHORITY_MAIL_H
#define TS_QUORUM_AUTHORITY_MAIL_H

#include "engine/port/mailbox.h"
#include "engine/quorum/authority.h"

enum authority_mail_kind {
	AUTHORITY_STATUS,  /* member to engine: status */
	AUTHORITY_CHANGED, /* the same and: these groups changed (or are deleted) */
	AUTHORITY_RESET,   /* the same and: these are all groups, these all boots */
};

struct authority_mail {
	struct mail mail;
	enum authority_mail_kind kind;
	struct authority_status status;
	struct {
		uint32_t site;
		uint64_t boot;
	} boot[VG_NODE_MAX];
	uint32_t boot_count;
	uint32_t view_count;
	struct vg_view views[];
};

/* Engine to member: an encoded batch. */
struct authority_proposal {
	struct mail mail;
	uint32_t bytes;
	uint8_t data[];
};

#endif
