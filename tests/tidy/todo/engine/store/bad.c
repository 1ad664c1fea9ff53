/* SPDX-License-Identifier: Apache-2.0 */
void bad(void)
{
	TODO_HANDLE("it");
}
