/* quant/algo.c: the registry of algorithms, and the memory they take. */
#include "quant/algo_internal.h"

#include <string.h>

static const struct nb_algo *const registry[] = {
#define NB_ALGO(id) &nb_algo_##id,
#include "quant/registry.inc"
#undef NB_ALGO
};

const struct nb_algo *const *nb_algo_all(size_t *n)
{
    *n = NB_COUNTOF(registry);
    return registry;
}

const struct nb_algo *nb_algo_find(const char *name)
{
    for (size_t i = 0; i < NB_COUNTOF(registry); i++)
        if (strcmp(registry[i]->name, name) == 0)
            return registry[i];
    return NULL;
}

bool nb_algo_supports(const struct nb_algo *algo, const struct nb_coder *c)
{
    return algo->supports == NULL || algo->supports(c);
}

uint64_t nb_algo_prepared_bytes(const struct nb_algo *algo, size_t cols)
{
    const uint64_t n = cols;
    const bool square = nb_algo_needs_schur(algo->params) || algo->params->polish > 0;
    uint64_t bytes = sizeof(struct nb_prepared) + n * (NB_ALGO_MAX_WORD + 6) * sizeof(float);
    bytes += square ? n * n * sizeof(double) + 1024 * n : 0; /* and panels of the factorization */
    return bytes;
}

uint64_t nb_algo_rows_bytes(const struct nb_algo *algo, size_t cols, unsigned threads)
{
    const uint64_t n = cols,
                   grid = sizeof(struct nb_grid) / 16; /* blocks are of 16 columns or more */
    uint64_t column = sizeof(int16_t) + 3 * sizeof(float) + grid;
    column += algo->params->feedback ? 2 * sizeof(float) : 0;
    column += algo->params->polish > 0 ? sizeof(int16_t) + 6 * sizeof(float) + grid : 0;
    column += 4 * (sizeof(float) + sizeof(double));  /* losses asked for, in nb_quad_form too */
    const uint64_t form = 64 * 160 * sizeof(double); /* in nb_quad_form */
    return ((NB_ALGO_CHUNK * column + 8 * sizeof(float)) * n + form) * threads;
}
