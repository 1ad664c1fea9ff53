/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/cmd_store_look.c
 * Purpose.     `store inspect` and `store check`.
 */
#include "tools/ctl/ctl.h"

int cmd_store_inspect(struct ctl *ctl, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return ctl_later(ctl, "store inspect");
}

int cmd_store_check(struct ctl *ctl, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return ctl_later(ctl, "store check");
}
