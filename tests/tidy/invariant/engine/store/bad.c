/* SPDX-License-Identifier: Apache-2.0 */
void bad(int x)
{
	assert(x > 0); /* W9 */
}
