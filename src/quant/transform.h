/* quant/transform.h: exact rewrites of a float model before it is rounded, folded into neighbours.
 *
 * A site is an edge of the graph that linear layers read. Dividing what flows there by s and multiplying
 * the columns that read it by s changes nothing; the division is folded into what makes the values: a
 * norm, or rows of the layer before. A rotation is folded alike. So the output stays a standard file.
 *
 *     model -> view: sites -> transforms (registry: transforms.inc) -> rows read through the view
 *
 * The view computes in double precision and rounds once, to f32. Weights that no transform touches are
 * read as nb_model_read_rows reads them, bit for bit. docs/transforms.md tells what folds where.
 */
#ifndef NB_QUANT_TRANSFORM_H
#define NB_QUANT_TRANSFORM_H

#include "base/base.h"
#include "dialect/dialect.h"
#include "numfmt/coder.h"

#define NB_NO_WEIGHT SIZE_MAX

/* ---- sites ---- */
enum nb_site_kind {
    NB_SITE_ATTN_IN,     /* q, k, v; of some parallel blocks gate and up too  */
    NB_SITE_ATTN_OUT,    /* attention's output layer                          */
    NB_SITE_FFN_IN,      /* gate and up, of all experts, and their router     */
    NB_SITE_FFN_DOWN,    /* down                                              */
    NB_SITE_EXPERT_DOWN, /* each expert's down                                */
    NB_SITE_SHARED_DOWN, /* down of the expert that all tokens meet           */
    NB_SITE_HEAD,        /* the head                                          */
    NB_N_SITE_KINDS
};

#define NB_SITE_READERS  10
#define NB_REFUSAL_BYTES 192
/* Plain values. Weights are indices into the model's. Scales of a site are (n_mat, n_scales): with experts
 * that read each their own values each has scales of its own (n_mat > 1); query heads that share a head
 * of v share its scales (n_scales < n). */
struct nb_site {
    enum nb_site_kind kind;
    int32_t block;                   /* -1 outside                                         */
    size_t readers[NB_SITE_READERS]; /* whose columns read it                              */
    size_t n_readers;
    size_t n, n_mat, n_scales;
    size_t head_dim, share; /* share heads in a row have the same scales; 1: each its own  */
    size_t producer;        /* norm, or layer, that takes up 1 / s; NB_NO_WEIGHT: none can */
    size_t producer_bias;   /* NB_NO_WEIGHT: none                                          */
    size_t first_row;       /* of the producer's rows                                      */
    bool norm;              /* the producer is a norm: its elements count, not rows        */
    bool squared;           /* what the rows make is squared on the way (ReLU^2)           */
    char refusal[NB_REFUSAL_BYTES]; /* why scales cannot be folded; empty: they can        */
};

/* Which scale input `col` has. */
static inline size_t nb_site_scale(const struct nb_site *s, size_t col)
{
    return s->share == 1 ? col : col / (s->head_dim * s->share) * s->head_dim + col % s->head_dim;
}
/* "blk.3.attn_q", the first reader without its suffix; for messages and reports. Returns dst. */
const char *nb_site_name(const struct nb_weights *w, const struct nb_site *s,
                         char dst[NB_NAME_BYTES]);

/* Every site of a model, by its numbers, switches and tensors alone; *sites is (*n), from the arena. */
NB_CHECKED enum nb_status nb_sites_list(const struct nb_weights *w, struct nb_site **sites,
                                        size_t *n, struct nb_arena *arena, struct nb_error *err);

/* ---- view ---- */
struct nb_view; /* Owns: scales, rotations, changed vectors, held matrices. Borrows: the model. */

NB_CHECKED enum nb_status nb_view_create(struct nb_view **out, const struct nb_model *m,
                                         const struct nb_allocator *a, struct nb_error *err);
void nb_view_destroy(struct nb_view *v);
const struct nb_model *nb_view_model(const struct nb_view *v);
const struct nb_site *nb_view_sites(const struct nb_view *v, size_t *n);

/* The inputs of a site are divided by s (n_mat, n_scales), its columns multiplied. NB_ERR_UNSUPPORTED with
 * the site's refusal; NB_ERR_NUMERIC if an s is no positive finite number: then nothing has changed. */
NB_CHECKED enum nb_status nb_view_scale(struct nb_view *v, const struct nb_site *site,
                                        const double *s, struct nb_error *err);
/* The residual stream in another basis (QuaRot's R1), the weights of norms folded into their readers
 * first; heads of v and the output layer (R2). Hadamard with signs from seed. At most one of each.
 * NB_ERR_UNSUPPORTED says why a model cannot carry it. */
NB_CHECKED enum nb_status nb_view_rotate_stream(struct nb_view *v, uint64_t seed,
                                                struct nb_error *err);
NB_CHECKED enum nb_status nb_view_rotate_heads(struct nb_view *v, uint64_t seed,
                                               struct nb_error *err);
size_t nb_view_bias_of(const struct nb_view *v, size_t weight); /* NB_NO_WEIGHT: it has none */

bool nb_view_changes(const struct nb_view *v, size_t weight);
/* The type to store weight i in where its source's was to be kept: f32 for changed vectors and routers. */
const struct nb_numfmt *nb_view_type(const struct nb_view *v, size_t weight);
/* Names what the view does: for a journal. The same transforms of the same model have the same. */
NB_CHECKED enum nb_status nb_view_hash(const struct nb_view *v, struct nb_hash *hash,
                                       struct nb_error *err);

/* Rows [row, row + n_rows) in canonical order, (n_rows, cols), as nb_model_read_rows. scratch:
 * nb_view_scratch bytes of the caller's, aligned for doubles; 0: may be NULL. Thread-safe. A weight whose
 * rows are rotated must be held. */
size_t nb_view_scratch(const struct nb_view *v, size_t weight);
void nb_view_read_rows(const struct nb_view *v, size_t weight, uint64_t row, uint64_t n_rows,
                       float *dst, void *scratch);
/* Computes a weight whose rows are rotated, once, into memory of its own (nb_view_hold_bytes); of others
 * nothing, at no cost. Not while other threads use the view. */
NB_CHECKED enum nb_status nb_view_hold(struct nb_view *v, size_t weight, struct nb_pool *pool,
                                       struct nb_error *err);
void nb_view_release(struct nb_view *v, size_t weight);
uint64_t nb_view_hold_bytes(const struct nb_view *v, size_t weight); /* 0: need not be held */

/* ---- the view as a model that a session takes ---- */
#define NB_VIEW_ALL (-2)
struct nb_view_copy; /* Owns: changed weights in f32. Borrows: the view, the model. */
/* Changed weights of one decoder block, -1: outside the blocks, NB_VIEW_ALL: all; the others are the
 * model's own. Matrices that a session cannot take as they lie (nb_model_settle) get a copy too. */
NB_CHECKED enum nb_status nb_view_copy_create(struct nb_view_copy **out, struct nb_view *v,
                                              int32_t block, struct nb_pool *pool,
                                              struct nb_error *err);
void nb_view_copy_destroy(struct nb_view_copy *c);
const struct nb_weights *nb_view_copy_weights(const struct nb_view_copy *c);

/* ---- transforms ---- */
/* What is known of the values at a site, in the float model under the view as it is. */
enum nb_site_stat {
    NB_STAT_AMAX,     /* largest |x_j|         */
    NB_STAT_MEAN_ABS, /* mean of |x_j|         */
    NB_STAT_RMS       /* sqrt of mean of x_j^2 */
};
/* (n_mat, n) numbers; NULL: not known. Valid until the next call. */
typedef const double *nb_site_stat_fn(void *ctx, const struct nb_site *site,
                                      enum nb_site_stat stat);
/* What rounding would cost at a site if it were scaled by s (n_mat, n_scales); NULL: as it is. */
typedef enum nb_status nb_site_loss_fn(void *ctx, struct nb_view *v, const struct nb_site *site,
                                       const double *s, double *loss, struct nb_error *err);

/* Borrows: all. Zeros are defaults. */
struct nb_transform_job {
    nb_site_stat_fn *stat;
    void *stat_ctx;
    nb_site_loss_fn *loss; /* NULL: the closed form (awq), no search (smooth) */
    void *loss_ctx;
    double alpha;      /* smooth; 0: searched where there is a loss, else 0.5               */
    uint32_t n_ratios; /* awq: ratios k / n, k < n; 0: 20 with a loss, as published, 200 without */
    uint32_t group;    /* awq, closed form: columns that share a scale in the format; 0: 128 */
    uint32_t bits;     /* awq, closed form: of a code in that format; 0: 4                   */
    unsigned kinds;    /* sites meant: bits 1 << enum nb_site_kind; 0: as published          */
    uint64_t seed;     /* rotate */
    struct nb_pool *pool;
    const struct nb_log *log; /* what was refused, and where */
};

struct nb_transform_report {
    size_t n_sites;                 /* changed                                        */
    size_t n_idle;                  /* best as they are                               */
    size_t n_refused, n_unknown;    /* cannot carry it; nothing known of their values */
    char refusal[NB_REFUSAL_BYTES]; /* of the first that cannot */
    double parameter_min, parameter_mean, parameter_max; /* alpha, or ratio, over those changed */
};

/* One file src/quant/transform_<id>.c, one line NB_TRANSFORM(<id>) in transforms.inc. */
struct nb_transform {
    const char *name, *summary;
    unsigned stats; /* bits 1 << enum nb_site_stat: any one of them is needed; 0: none */
    /* NB_ERR_UNSUPPORTED "'name' cannot be carried: ..." if no site of the model can: nothing changes. */
    enum nb_status (*apply)(struct nb_view *v, const struct nb_transform_job *job,
                            struct nb_transform_report *report, struct nb_error *err);
};
#define NB_TRANSFORM(id) extern const struct nb_transform nb_transform_##id;
#include "quant/transforms.inc"
#undef NB_TRANSFORM
const struct nb_transform *const *nb_transform_all(size_t *n);
const struct nb_transform *nb_transform_find(const char *name); /* NULL: none */

/* ---- for a caller's loss ---- */
/* How the readers of a site would be rounded. Borrows: all. */
struct nb_site_rounding {
    const struct nb_coder_spec
        *spec; /* (n_readers) type, how; shape and side are found here. type NULL: not rounded */
    const double *const *h; /* (n_mat) of (n, n): sums of x x^T; the upper triangle counts */
    double tokens;          /* in each h                                                  */
    bool plain;             /* scales are fitted without weights; else by the diagonal of H / s^2 */
    size_t max_rows;        /* of a matrix, evenly apart; 0: all */
    struct nb_pool *pool;
};
/* tr(E H E^T) a token, over all readers that are rounded: the square error of the outputs of the layers
 * that read the site if its inputs are scaled by s (NULL: as they are) and its columns are rounded to
 * nearest. */
NB_CHECKED enum nb_status nb_site_rtn_loss(struct nb_view *v, const struct nb_site *site,
                                           const struct nb_site_rounding *how, const double *s,
                                           double *loss, struct nb_error *err);

#endif
