/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

int main(void)
{
	return (int)time(0);
}
