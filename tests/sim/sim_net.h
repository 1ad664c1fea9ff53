/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/sim_net.h: what only tests may do to streams. */
#ifndef TS_SIM_NET_H
#define TS_SIM_NET_H

#include "tests/sim/world.h"

/*
 * An abortive close (SO_LINGER 0): what was sent and has not arrived is gone, a reset is on its way;
 * it overtakes every later connection between the two nodes.  Requests in flight end with
 * -ERR_CLOSED soon; then net_close.
 */
void sim_net_abort(struct net_conn *conn);

#endif
