/* SPDX-License-Identifier: Apache-2.0 */
int bad(void)
{
	static int n;

	return n++;
}
