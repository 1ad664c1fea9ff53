/* SPDX-License-Identifier: Apache-2.0 */
long bad(void)
{
	return time(0);
}
