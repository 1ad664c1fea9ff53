/* SPDX-License-Identifier: Apache-2.0 */
/* bench/store/zipf.c: ranks by Hoermann and Derflinger's rejection-inversion, then scattered. */
#include <math.h>

#include "bench/store/cases.h"

#define SCATTER 2654435761ull /* prime, larger than any volume's blocks here: no two ranks meet */

static double h(const struct zipf *z, double x)
{
	return exp(-z->s * log(x));
}

static double h_integral(const struct zipf *z, double x)
{
	return (exp((1 - z->s) * log(x)) - 1) / (1 - z->s);
}

static double h_inverse(const struct zipf *z, double y)
{
	return exp(log(1 + y * (1 - z->s)) / (1 - z->s));
}

void zipf_init(struct zipf *z, struct rig *g, uint64_t blocks, double s)
{
	*z = (struct zipf){.g = g, .blocks = blocks, .s = s};
	z->first = h_integral(z, 1.5) - 1;
	z->last = h_integral(z, (double)blocks + 0.5);
	z->cut = 2 - h_inverse(z, h_integral(z, 2.5) - h(z, 2));
}

uint64_t next_zipf(void *ctx)
{
	struct zipf *z = ctx;

	for (;;) {
		double u = z->last + (double)(rig_random(z->g) >> 11) / 9007199254740992.0 *
					     (z->first - z->last);
		double x = h_inverse(z, u), k = floor(x + 0.5);

		k = k < 1 ? 1 : k > (double)z->blocks ? (double)z->blocks : k;
		if (k - x <= z->cut || u >= h_integral(z, k + 0.5) - h(z, k))
			return (uint64_t)k * SCATTER % z->blocks;
	}
}
