/* SPDX-License-Identifier: Apache-2.0 */
/* engine/quorum/raft_conf.h: configurations in the library's encoding, for consensus.c. */
#ifndef TS_QUORUM_RAFT_CONF_H
#define TS_QUORUM_RAFT_CONF_H

#include <raft.h>
#include <stdbool.h>
#include <stdint.h>

/* 0 and a configuration to be closed, or -ERR_CORRUPT. */
int raft_conf_decode(const void *data, uint32_t bytes, struct raft_configuration *ret);
bool raft_conf_is_sane(const void *data, uint32_t bytes);

#endif
