/* numfmt/coder_internal.h: what the files of coders share. */
#ifndef NB_NUMFMT_CODER_INTERNAL_H
#define NB_NUMFMT_CODER_INTERNAL_H

#include "numfmt/coder.h"
#include "numfmt/grid_internal.h"

/* What a kind of format does. row, outer may be NULL: nothing. w: (n) not negative, or NULL: all ones. */
struct nb_coder_ops {
    void (*row)(struct nb_coder *c, uint64_t row, const float *x, const float *w);
    void (*fit)(struct nb_coder *c, uint64_t row, size_t block, struct nb_grid *g, const float *x,
                const float *w);
    void (*refit)(struct nb_coder *c, struct nb_grid *g, uint32_t s, const float *x,
                  const float *w);
    void (*round)(struct nb_coder *c, const struct nb_grid *g, uint32_t i, const float *x,
                  const float *w, int16_t *codes, float *values);
    void (*values)(const struct nb_coder *c, const struct nb_grid *g, uint32_t i, uint32_t n,
                   const int16_t *codes, float *values);
    void (*levels)(const struct nb_coder *c, const struct nb_grid *g, uint32_t i, uint32_t n,
                   const int16_t *codes, float *levels);
    double (*rescale)(struct nb_coder *c, struct nb_grid *g, uint32_t s,
                      const struct nb_scale_quad *q);
    bool (*outer)(const struct nb_coder *c, struct nb_grid *g, double factor_d, double factor_dmin);
    void (*pack)(struct nb_coder *c, uint64_t row, const struct nb_grid *g, const int16_t *codes,
                 uint8_t *record);
    void (*unpack)(struct nb_coder *c, uint64_t row, struct nb_grid *g, int16_t *codes,
                   const uint8_t *record);
};

/* Owns: its buffers. */
struct nb_coder_work {
    float *w; /* (block) weights as they are used */
    /* general grids */
    struct nb_shape shape;
    struct nb_scale_options how;
    const uint8_t *side;
    float tensor_scale2;      /* what E4M3 scales are multiplied by                        */
    float unit;               /* of the row's 8-bit scales                                 */
    struct nb_levels *levels; /* of the element or the tensor                              */
    uint8_t *record;          /* of an empty row: to look up what a tensor's rows share     */
    float *level;             /* (levels, dim) by code: tabled elements and codebooks      */
    float *search;            /* scratch of the scale search                               */
    double *sorted;           /* (levels), then values and weights by value: (2, block)    */
    uint8_t *arena;           /* for k-means */
    size_t arena_bytes, arena_used;
};

/* coder_block.c, coder_grid.c */
extern const struct nb_coder_ops nb_coder_block_ops, nb_coder_grid_ops;
enum nb_status nb_coder_grid_init(struct nb_coder *c, const struct nb_coder_spec *spec,
                                  struct nb_error *err);

/* coder.c: m of NB_CODER_SPREAD, else 0; weights that are used (n), in a buffer of the coder, or NULL: all
 * alike. */
float nb_coder_spread(const struct nb_coder *c, const float *x, size_t n);
const float *nb_coder_weigh(const struct nb_coder *c, const float *x, const float *w, size_t n,
                            float spread);

/* coder_scale.c, coder_scale_grid.c */
double nb_coder_rescale_grid(struct nb_coder *c, struct nb_grid *g, uint32_t s,
                             const struct nb_scale_quad *q);
double nb_coder_rescale_block(struct nb_coder *c, struct nb_grid *g, uint32_t s,
                              const struct nb_scale_quad *q);
bool nb_coder_outer_block(const struct nb_coder *c, struct nb_grid *g, double factor_d,
                          double factor_dmin);

static inline double nb_scale_quad_at(const struct nb_scale_quad *q, double ds, double off)
{
    return (q->a11 * ds + 2.0 * q->a12 * off - 2.0 * q->b1) * ds +
           (q->a22 * off - 2.0 * q->b2) * off;
}

#endif
