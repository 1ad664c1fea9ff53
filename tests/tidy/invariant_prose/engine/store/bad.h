/* SPDX-License-Identifier: Apache-2.0 */
/* The successor of the last (W8). */
int bad(void);
