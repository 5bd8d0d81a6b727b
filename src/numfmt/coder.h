/* numfmt/coder.h: one view of every number format that weights can be quantized to, for algorithms that
 * choose codes column by column and feed errors back (docs/design/009).
 *
 * A coder stands for one tensor's format: ggml's blocks and general grids alike. A row is cut into blocks
 * of `block` columns that are fitted together; a block into sub-blocks of `sub` columns that share a scale
 * and an offset; and these into code words of `dim` columns. An algorithm walks along a row:
 *
 *     nb_coder_row(c, row, x, w);                        once per row, with the values as they are at first
 *     nb_coder_fit(c, row, b, &g[b], x + at, w + at);    at the first column of block b
 *     nb_coder_refit(c, &g[b], s, x + at, w + at);       at the first column of its sub-block s, or never
 *     nb_coder_round(c, &g[b], i, x + at, w + at, codes + at, values + at);     at every code word
 *     nb_coder_rescale, nb_coder_outer                   when codes stand: better parameters for them
 *     nb_coder_pack(c, row, g, codes, record);           the bytes of the row, as nb_grid_encode_rows or
 *                                                        nb_numfmt_encode would lay them out
 *
 * Values are those that decoding the record gives, bit for bit. A level is what a code stands for before
 * scale and offset: value = scale[s] * level + offset[s] (but for rounding where a grid has a zero point:
 * its decoder forms scale * (level - zero); nb_coder_values knows). Codes:
 *     blocks            the signed codes of struct nb_numfmt; level = code
 *     uniform grids     the integer lo .. hi; level = code
 *     tabled grids      the stored code; level = nb_coder_levels
 *     vector codebooks  the index of the code word, the same in all its dim columns
 *
 * Who shares what: a coder has scratch of its own and serves one thread at a time; grids and codes are the
 * caller's. What it computes depends on its arguments alone. Values have to be finite.
 */
#ifndef NB_NUMFMT_CODER_H
#define NB_NUMFMT_CODER_H

#include "numfmt/grid.h"
#include "numfmt/numfmt.h"

/* What the weights w of fit and refit mean. */
enum nb_coder_weighting {
    NB_CODER_PLAIN = 0, /* weights of squared errors                                             */
    NB_CODER_SPREAD     /* times sqrt(2 m + x^2), m the mean of x^2 over the block: large values
                           count more, as in llama.cpp's quantizers                              */
};

struct nb_coder_spec {
    const struct nb_numfmt *type;
    const struct nb_shape *shape;       /* of the tensor: its last dimension are columns          */
    const struct nb_scale_options *how; /* general grids; NULL: defaults                          */
    const uint8_t *side;                /* from training (nb_grid_needs_training), else NULL      */
    enum nb_coder_weighting weighting;
    const struct nb_allocator *a;
};

struct nb_coder_ops;
struct nb_coder_work;

/* Owns: work. Borrows: what the spec points to but for the shape. Fields are to be read only. */
struct nb_coder {
    const struct nb_numfmt *type;
    uint32_t
        block;    /* columns fitted together; the last block of a row may be shorter             */
    uint32_t sub; /* columns that share scale and offset: block, or a divisor of it              */
    uint32_t dim; /* columns of a code word, 1: scalar. Divides sub, or the block is the row     */
    size_t cols, n_blocks;
    bool has_offset; /* offset[] is used                                                       */
    bool fixed;      /* rows share scale and offset: fit only looks them up                    */
    uint32_t
        own_levels; /* levels that fit learns for each block: struct nb_grid.level holds them */
    enum nb_coder_weighting weighting;
    const struct nb_coder_ops *ops;
    struct nb_coder_work *work;
    const struct nb_allocator *a;
};

/* NB_ERR_UNSUPPORTED: a type without parameters to choose (f16, i32 ...); NB_ERR_FORMAT: columns that it
 * cannot cut; NB_ERR_NOMEM. */
NB_CHECKED enum nb_status nb_coder_create(struct nb_coder **out, const struct nb_coder_spec *spec,
                                          struct nb_error *err);
void nb_coder_destroy(struct nb_coder *c);
/* Grids for n_rows rows, (n_rows, n_blocks), cleared, with room for own levels, which a copy of a grid shares
 * with it. NULL: out of memory. Free them through nb_coder_grids_destroy. */
struct nb_grid *nb_coder_grids_create(const struct nb_coder *c, size_t n_rows);
void nb_coder_grids_destroy(const struct nb_coder *c, struct nb_grid *grids);

/* Columns of block b. */
static inline uint32_t nb_coder_block_cols(const struct nb_coder *c, size_t b)
{
    const size_t left = c->cols - b * c->block;
    return left < c->block ? (uint32_t)left : c->block;
}

/* x, w: (cols). Whatever a row's blocks have in common is chosen here (the unit of 8-bit scales). w may
 * be NULL: all ones, here and below; entries that are no positive number count as 0. */
void nb_coder_row(struct nb_coder *c, uint64_t row, const float *x, const float *w);
/* The parameters of a block. x, w: (its columns). */
void nb_coder_fit(struct nb_coder *c, uint64_t row, size_t block, struct nb_grid *g, const float *x,
                  const float *w);
/* Sub-block s once more, d and dmin frozen: the storable scale and offset of least weighted squared error
 * once x is rounded, or near it (docs/numfmt.md says how near). x, w: (sub). */
void nb_coder_refit(struct nb_coder *c, struct nb_grid *g, uint32_t s, const float *x,
                    const float *w);
/* dim columns from column i of the block on, a multiple of dim. x, w, codes, values: (dim). */
void nb_coder_round(struct nb_coder *c, const struct nb_grid *g, uint32_t i, const float *x,
                    const float *w, int16_t *codes, float *values);
/* n columns from column i of the block on, whole code words. codes, values, levels: (n). */
void nb_coder_values(const struct nb_coder *c, const struct nb_grid *g, uint32_t i, uint32_t n,
                     const int16_t *codes, float *values);
void nb_coder_levels(const struct nb_coder *c, const struct nb_grid *g, uint32_t i, uint32_t n,
                     const int16_t *codes, float *levels);

/* How a loss changes with a scale and an offset: a11 ds^2 + 2 a12 ds do + a22 do^2 - 2 b1 ds - 2 b2 do for
 * changes ds of scale[s] and do of offset[s], the codes as they are. Not negative without b. */
struct nb_scale_quad {
    double a11, a12, a22, b1, b2;
};
/* Moves sub-block s to the storable scale and offset of least loss; returns the change, 0 or below. Codes
 * keep their meaning (levels); formats without room to move return 0. */
double nb_coder_rescale(struct nb_coder *c, struct nb_grid *g, uint32_t s,
                        const struct nb_scale_quad *q);
/* d and dmin times these factors, as they will be stored, and all scales and offsets derived again. False,
 * and nothing done, where nothing stands above the sub-blocks' scales. */
bool nb_coder_outer(const struct nb_coder *c, struct nb_grid *g, double factor_d,
                    double factor_dmin);

/* A row's record: nb_coder_record_bytes(c) bytes; g: (n_blocks); codes: (cols), of nb_coder_round or
 * nb_coder_unpack, no others. unpack(pack(x)) is exact. */
size_t nb_coder_record_bytes(const struct nb_coder *c);
void nb_coder_pack(struct nb_coder *c, uint64_t row, const struct nb_grid *g, const int16_t *codes,
                   uint8_t *record);
void nb_coder_unpack(struct nb_coder *c, uint64_t row, struct nb_grid *g, int16_t *codes,
                     const uint8_t *record);

#endif
