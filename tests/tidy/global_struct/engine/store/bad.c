/* SPDX-License-Identifier: Apache-2.0 */
static struct bad {
	int x;
} bad_one = {.x = 1};
