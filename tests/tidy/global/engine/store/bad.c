/* SPDX-License-Identifier: Apache-2.0 */
static int bad_count;
