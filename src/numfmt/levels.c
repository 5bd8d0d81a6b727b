/* numfmt/levels.c: sets of levels, and the nearest one to each of many values.
 *
 * Ties: to even for integers, to the lower level in tables.
 */
#include "numfmt/scale_search.h"

#include <math.h>

#define SMALL_TABLE 16

void nb_levels_uniform(struct nb_levels *lv, int32_t lo, int32_t hi)
{
    lv->n = (uint32_t)(hi - lo) + 1;
    lv->uniform = true;
    lv->lo = (float)lo;
    lv->hi = (float)hi;
    lv->snap = nb_snap_uniform;
}

void nb_levels_table(struct nb_levels *lv, const float *value, const uint8_t *code, uint32_t n)
{
    lv->n = n;
    lv->uniform = false;
    lv->lo = value[0];
    lv->hi = value[n - 1];
    lv->snap = nb_snap_table;
    for (uint32_t k = 0; k < n; k++) {
        lv->value[k] = value[k];
        lv->code[k] = code[k];
        lv->mid[k] = k == 0 ? -INFINITY : 0.5F * value[k - 1] + 0.5F * value[k];
    }
}

void nb_snap_uniform(const struct nb_levels *lv, const float *t, float *v, size_t n)
{
    const float lo = lv->lo;
    const float hi = lv->hi;
    for (size_t i = 0; i < n; i++) {
        float c = t[i] < lo ? lo : t[i];
        c = c > hi ? hi : c;
        c += 12582912.0F; /* leaves the integer, ties to even */
        v[i] = c - 12582912.0F;
    }
}

static uint32_t find(const struct nb_levels *lv, float t)
{
    uint32_t at = 0; /* the last k with mid[k] < t */
    for (uint32_t step = NB_MAX_LEVELS / 2; step > 0; step /= 2)
        if (at + step < lv->n && lv->mid[at + step] < t)
            at += step;
    return at;
}

void nb_snap_table(const struct nb_levels *lv, const float *t, float *v, size_t n)
{
    if (lv->n > SMALL_TABLE) {
        for (size_t i = 0; i < n; i++)
            v[i] = lv->value[find(lv, t[i])];
        return;
    }
    for (size_t i = 0; i < n; i++)
        v[i] = lv->value[0];
    for (uint32_t k = 1; k < lv->n; k++) {
        const float mid = lv->mid[k];
        const float value = lv->value[k];
        for (size_t i = 0; i < n; i++)
            v[i] = t[i] > mid ? value : v[i];
    }
}

uint8_t nb_level_code(const struct nb_levels *lv, float level)
{
    if (lv->uniform)
        return (uint8_t)(level - lv->lo);
    uint32_t at = 0; /* the last k with value[k] <= level */
    for (uint32_t step = NB_MAX_LEVELS / 2; step > 0; step /= 2)
        if (at + step < lv->n && lv->value[at + step] <= level)
            at += step;
    return lv->code[at];
}
