/* SPDX-License-Identifier: Apache-2.0 */
void bad(char *a)
{
	strcpy(a, "x");
}
