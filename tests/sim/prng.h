/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/prng.h: seeded random numbers (splitmix64 seeding xoshiro256**). */
#ifndef TS_SIM_PRNG_H
#define TS_SIM_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct prng {
	uint64_t s[4];
};

static inline uint64_t splitmix64(uint64_t *x)
{
	uint64_t z = (*x += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* Streams of one seed are independent of each other. */
static inline void prng_init(struct prng *p, uint64_t seed, uint64_t stream)
{
	uint64_t x = seed ^ (stream * 0xd1342543de82ef95ull);

	for (int i = 0; i < 4; i++)
		p->s[i] = splitmix64(&x);
}

static inline uint64_t prng_u64(struct prng *p)
{
	uint64_t *s = p->s, r = s[1] * 5, t = s[1] << 17;

	r = ((r << 7) | (r >> 57)) * 9;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = (s[3] << 45) | (s[3] >> 19);
	return r;
}

/* 0..n-1; n > 0. The tiny bias is of no matter here. */
static inline uint64_t prng_below(struct prng *p, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)prng_u64(p) * n) >> 64);
}

/* lo..hi, both included. */
static inline uint64_t prng_range(struct prng *p, uint64_t lo, uint64_t hi)
{
	return lo + prng_below(p, hi - lo + 1);
}

/* True with probability ppm / 1000000. */
static inline bool prng_ppm(struct prng *p, uint32_t ppm)
{
	return prng_below(p, 1000000) < ppm;
}

#endif
