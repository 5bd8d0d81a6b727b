/* numfmt/grid.h: general grids: an element, who shares its parameters, and how those are stored.
 *
 *     int4_g128_asym   element int4, a scale per 128 elements of a row, an integer zero point
 *     fp8_e4m3_c       element FP8 E4M3, a scale per row (channel)
 *     nf4_g64_dq       element NF4, a scale per 64, itself stored in 8 bits
 *     cb4_t            16 levels learned from the tensor
 *
 * A tensor on a grid is stored in parts, plain arrays that any tool can read (docs/formats/grids.md):
 *
 *     codes   u8   (rows, ceil(cols * bits / 8))   LSB first, each row begins at a byte
 *     scales  f16  (rows, cols / group), or f32 (1) and (rows / 128, cols / 128), or u8: E8M0, E4M3, 8 bits
 *     zeros   u8   packed like codes, or f16       value = scale * (level - zero)
 *     levels  f32  (levels) or (entries, dim); f16 (rows, groups * levels)
 *     scale2  f32  (1) what E4M3 scales are multiplied by; (rows) the unit of 8-bit scales
 *
 * Formats are constants made of an element (elements.inc: one file, one line) and the granularities that
 * grid_types.inc pairs it with; nb_numfmt_find knows their names. Elements with learned levels are
 * trained on a tensor before its rows are encoded, as are scales that a whole tensor shares.
 */
#ifndef NB_NUMFMT_GRID_H
#define NB_NUMFMT_GRID_H

#include "numfmt/numfmt.h"
#include "numfmt/scale_search.h"

enum nb_part { NB_PART_CODES, NB_PART_SCALES, NB_PART_ZEROS, NB_PART_LEVELS, NB_PART_SCALE2 };

enum nb_share {
    NB_SHARE_TENSOR,
    NB_SHARE_CHANNEL, /* a row: one output channel              */
    NB_SHARE_GROUP,   /* `group` neighbours in a row            */
    NB_SHARE_BLOCK    /* 128 rows by 128 columns                */
};
#define NB_GRID_TILE 128

/* What a code stands for, before scale and zero. */
struct nb_element {
    const char *name;              /* "int4" */
    const char *summary;           /* one line */
    uint32_t bits;                 /* of a code */
    uint32_t dim;                  /* elements of a code word; 1 but for vector codebooks      */
    bool uniform;                  /* code c is the integer lo + c                             */
    bool learned;                  /* levels come from the tensor                              */
    int32_t lo, hi;                /* uniform: of the levels                                   */
    float (*value)(uint32_t code); /* else: its level; NaN: a code that is not used  */
    /* The nearest levels of t (n), for elements that know better than searching; may be NULL. */
    nb_snap_fn *snap;
    float unit; /* > 0: levels / unit are integers of at most 7 bits and a sign      */
};

struct nb_gridfmt {
    const struct nb_element *elem;
    enum nb_share share;
    uint32_t group; /* elements of a row that share parameters; 0: all of it */
    enum nb_scale_store scale;
    enum nb_zero_store zero;
};

/* All of them, for lists and tests. */
const struct nb_numfmt *const *nb_grid_all(size_t *n);
const struct nb_element *const *nb_element_all(size_t *n);

/* A part of a tensor (rows, cols) on this grid. */
struct nb_grid_part {
    const char *name;             /* "codes"                          */
    const struct nb_numfmt *type; /* u8, f16, f32; NULL: no such part */
    struct nb_shape shape;
    bool per_row;       /* stored row by row; else once for the tensor */
    uint64_t row_bytes; /* per_row                                     */
    uint64_t bytes;
};
/* The shape's last dimension are columns, the others count as rows. cols is a multiple of f->block. */
struct nb_grid_part nb_grid_part(const struct nb_numfmt *f, const struct nb_shape *shape,
                                 enum nb_part part);
/* Bytes of all per-row parts of one row, which a record holds back to back; of all tensor-wide parts. */
uint64_t nb_grid_row_bytes(const struct nb_numfmt *f, uint64_t cols);
uint64_t nb_grid_side_bytes(const struct nb_numfmt *f, const struct nb_shape *shape);
/* Average bits per element of a tensor with very long rows. */
double nb_grid_bpw(const struct nb_numfmt *f);

/* Parts of n rows of records at `records`, the first of which is row `first`; side: the tensor-wide parts
 * back to back, or NULL if there are none. */
struct nb_parts nb_grid_records(const struct nb_numfmt *f, const struct nb_shape *shape,
                                const uint8_t *records, uint64_t first, const uint8_t *side);
/* The record of one row, gathered from parts wherever they lie. */
void nb_grid_record(const struct nb_tensor *t, uint64_t row, uint8_t *record);

/* The tensor-wide parts, back to back (nb_grid_side_bytes). */
void nb_grid_side(const struct nb_tensor *t, uint8_t *side);

/* ---- reading: through nb_tensor_decode and nb_tensor_expand ---- */
void nb_grid_decode(const struct nb_tensor *t, uint64_t row, uint64_t n_rows, float *dst);
bool nb_grid_expands(const struct nb_gridfmt *g);
void nb_grid_expand(const struct nb_tensor *t, uint64_t row, int8_t *codes, float *scale,
                    float *min);
/* Are the stored parts of a file possible: scales and levels finite? NB_ERR_NUMERIC names the part. */
NB_CHECKED enum nb_status nb_grid_check(const struct nb_tensor *t, struct nb_error *err);

/* ---- writing ---- */
/* What a tensor's rows share, found in one pass over it. Owns: its buffers. */
struct nb_grid_training;
bool nb_grid_needs_training(const struct nb_numfmt *f);
NB_CHECKED enum nb_status
nb_grid_training_create(struct nb_grid_training **out, const struct nb_numfmt *f,
                        const struct nb_shape *shape, const struct nb_scale_options *how,
                        const struct nb_allocator *a, struct nb_error *err);
/* The next n_rows rows, (n_rows, cols), finite; importance (cols) may be NULL. In order of rows: the
 * result depends on nothing else. */
NB_CHECKED enum nb_status nb_grid_train(struct nb_grid_training *t, const float *x,
                                        const float *importance, uint64_t n_rows,
                                        struct nb_error *err);
/* Fills side (nb_grid_side_bytes). pool may be NULL. */
NB_CHECKED enum nb_status nb_grid_training_finish(struct nb_grid_training *t, uint8_t *side,
                                                  struct nb_pool *pool, struct nb_error *err);
void nb_grid_training_destroy(struct nb_grid_training *t);

struct nb_grid_encode {
    const struct nb_numfmt *type;
    const struct nb_shape *shape;       /* of the tensor */
    const struct nb_scale_options *how; /* NULL: defaults */
    const uint8_t *side;                /* from training; NULL if the format needs none */
    const float *importance;            /* (cols), or NULL */
    const struct nb_allocator *a;       /* for what the work takes meanwhile */
};
/* Rows [row, row + n_rows): x (n_rows, cols) -> records. Depends on nothing but its arguments.
 * NB_ERR_NUMERIC for NaN and infinity (nothing is written), NB_ERR_NOMEM. */
NB_CHECKED enum nb_status nb_grid_encode_rows(const struct nb_grid_encode *e, uint8_t *records,
                                              const float *x, uint64_t row, uint64_t n_rows,
                                              struct nb_error *err);

#endif
