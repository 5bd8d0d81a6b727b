/* math/sum.c: sums of doubles in the canonical order. */
#include "math/math.h"

#define LANES 16

double nb_sum_f64(const double *x, size_t n)
{
    double lane[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i % LANES] += x[i];
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}
