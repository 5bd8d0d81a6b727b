/* base/rng.h: counter-based random numbers: value i of stream `seed` is a pure function of both
 * (SplitMix64 finaliser over seed and counter; Steele, Lea, Flood 2014). */
#ifndef NB_BASE_RNG_H
#define NB_BASE_RNG_H

#include <stdint.h>

struct nb_rng {
    uint64_t seed, counter;
};

uint64_t nb_rng_u64(struct nb_rng *rng);
double nb_rng_unit(struct nb_rng *rng);   /* [0, 1), 53 bits                                */
double nb_rng_normal(struct nb_rng *rng); /* mean 0, variance 1; rng.c says how         */

#endif
