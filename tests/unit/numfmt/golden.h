/* golden.h: the hash and the generator that the golden vectors are stated with. */
#ifndef NB_TESTS_GOLDEN_H
#define NB_TESTS_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

/* FNV-1a, 64 bits. */
static inline uint64_t golden_fnv(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

static inline uint32_t golden_next(uint32_t *s)
{
    *s = *s * 1664525U + 1013904223U;
    return *s;
}

/* Values near a Gaussian in -2..2: the sum of four uniform ones. */
static inline void golden_values(float *x, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t sum = 0;
        for (int k = 0; k < 4; k++)
            sum += golden_next(&seed) >> 16;
        x[i] = ((float)sum - 131072.0F) / 65536.0F;
    }
}

#endif
