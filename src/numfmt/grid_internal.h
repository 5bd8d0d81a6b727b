/* numfmt/grid_internal.h: what the files of general grids share. */
#ifndef NB_NUMFMT_GRID_INTERNAL_H
#define NB_NUMFMT_GRID_INTERNAL_H

#include "math/math.h"
#include "numfmt/grid.h"
#include "numfmt/numfmt_internal.h"

/* Codes unpacked at once: a whole number of bytes at every width. */
#define NB_GRID_RUN 64

/* n codes from number `first` (a multiple of 8) on, LSB first; reads no byte beyond the last code's. */
void nb_codes_unpack(uint16_t *codes, const uint8_t *src, uint32_t bits, uint64_t first, size_t n);
/* first is a multiple of 8. Bits after the last code of its byte are 0. */
void nb_codes_pack(uint8_t *dst, const uint16_t *codes, uint32_t bits, uint64_t first, size_t n);

static inline uint64_t nb_codes_bytes(uint64_t n, uint32_t bits)
{
    return (n * bits + 7) / 8;
}

/* Elements of a row that share parameters. */
static inline size_t nb_grid_group(const struct nb_gridfmt *g, size_t cols)
{
    if (g->share == NB_SHARE_BLOCK)
        return NB_MIN(cols, (size_t)NB_GRID_TILE);
    return g->group == 0 ? cols : g->group;
}

/* Are levels those of the whole tensor? */
static inline bool nb_grid_levels_shared(const struct nb_gridfmt *g)
{
    return g->elem->dim > 1 || g->share == NB_SHARE_TENSOR;
}

/* The levels of an element that does not learn them; of learned ones given as floats, ascending. */
void nb_element_levels(struct nb_levels *lv, const struct nb_element *e);
void nb_learned_levels(struct nb_levels *lv, const float *level, uint32_t n);

static inline float nb_load_f32(const uint8_t *p)
{
    return nb_f32_from_bits(nb_load_u32(p));
}

/* Row r's own bytes of a part. */
static inline const uint8_t *nb_part_row(const struct nb_tensor *t, enum nb_part part, uint64_t row)
{
    const struct nb_parts *p = t->parts;
    return p->at[part] + (row - p->first) * p->stride[part];
}

/* The scale and the zero of group `k` of a row. */
struct nb_scale nb_grid_params(const struct nb_tensor *t, uint64_t row, size_t k);

/* grid_encode.c: the scale and the zero of group k, into the record's part. */
void nb_grid_put_scale(const struct nb_gridfmt *g, uint8_t *part, size_t k, float scale,
                       float scale2);
void nb_grid_put_zero(const struct nb_gridfmt *g, uint8_t *part, size_t k, float zero);
/* The best levels of n values, as f16 gives them back, to stored (k). job: n and k are given, and levels
 * with room for k + 2 n. */
NB_CHECKED enum nb_status nb_grid_own_levels(struct nb_kmeans *job, const float *x, const float *w,
                                             float *stored, const struct nb_allocator *a,
                                             struct nb_error *err);
void nb_grid_put_levels(uint8_t *part, size_t k, const float *level, uint32_t n);

/* grid_vector.c: the codes of one row, and its scale if there is one. part: of the record. */
void nb_grid_encode_vectors(const struct nb_tensor *t, const float *importance, const float *x,
                            uint64_t row, uint8_t *const part[NB_MAX_PARTS]);
float nb_grid_row_rms(const float *x, size_t n);

#endif
