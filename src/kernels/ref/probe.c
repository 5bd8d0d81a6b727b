/* kernels/ref/probe.c: what measure/ times: reading memory, multiply-adds in registers. */
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

uint64_t nb_xor_u64_ref(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint64_t x = 0;
    for (size_t i = 0; i + 8 <= n; i += 8) {
        uint64_t v;
        memcpy(&v, p + i, sizeof v);
        x ^= v;
    }
    return x;
}

double nb_peak_f32_ref(uint32_t steps, float *sink)
{
    float acc[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (uint32_t i = 0; i < steps; i++)
        for (int l = 0; l < 8; l++)
            acc[l] = fmaf(acc[l], 0.999F, 0.001F);
    for (int l = 0; l < 8; l++)
        *sink += acc[l];
    return 2.0 * 8 * steps;
}

double nb_peak_s8_ref(uint32_t steps, float *sink)
{
    int32_t acc[8] = {0};
    for (uint32_t i = 0; i < steps; i++)
        for (int l = 0; l < 8; l++)
            acc[l] ^= (int8_t)(i + (uint32_t)l) * (int8_t)(i >> 3);
    for (int l = 0; l < 8; l++)
        *sink += (float)acc[l];
    return 2.0 * 8 * steps;
}
