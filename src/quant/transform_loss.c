/* quant/transform_loss.c: what rounding to nearest would cost at a site under given scales: the error of the
 * outputs of the layers that read it, tr(E H E^T), E = Q(W diag(s)) diag(1/s) - W.
 *
 * AWQ's loss as published is the squared error of the layers' outputs over sampled tokens; over all the
 * tokens of H it is this trace.
 */
#include "quant/transform_internal.h"

/* Owns: coder, the arrays. Borrows: the rest. */
struct trial {
    struct nb_view *v;
    const struct nb_site *site;
    const struct nb_site_rounding *how;
    const double *s; /* (n_mat, n_scales), NULL: ones */
    struct nb_coder *coder;
    struct nb_grid *grids; /* (n_blocks) */
    int16_t *codes;        /* (n) */
    float *x, *w, *q;      /* (n) a scaled row, its weights, its rounded values */
    float *e;              /* (cap, n) errors of rows */
    size_t n_rows, cap, every, mat_rows, mat;
    bool apart;
    double loss;
    enum nb_status st;
    struct nb_error *err;
};

static double scale_of(const struct trial *t, size_t j)
{
    return t->s == NULL ? 1.0 : t->s[t->mat * t->site->n_scales + nb_site_scale(t->site, j)];
}

/* The errors kept so far, under the H of their matrix. */
static void settle(struct trial *t)
{
    const struct nb_sym_product p = {.h = t->how->h[t->mat],
                                     .n = t->site->n,
                                     .e = t->e,
                                     .e_stride = t->site->n,
                                     .rows = t->n_rows};
    double total = 0.0;
    if (t->st == NB_OK && t->n_rows > 0)
        t->st = nb_quad_form(&total, NULL, &p, t->how->pool, t->v->a, t->err);
    t->loss += total;
    t->n_rows = 0;
}

static void set_weights(struct trial *t)
{
    const double *h = t->how->h[t->mat];
    for (size_t j = 0; j < t->site->n; j++) {
        const double s = scale_of(t, j);
        t->w[j] =
            t->how->plain ? 1.0F : (float)(h[j * (t->site->n + 1)] / t->how->tokens / (s * s));
    }
}

static void round_row(struct trial *t, size_t row)
{
    struct nb_coder *c = t->coder;
    const float *w = t->how->plain ? NULL : t->w;
    nb_coder_row(c, row, t->x, w);
    for (size_t b = 0; b < c->n_blocks; b++) {
        const size_t at = b * c->block;
        const uint32_t n = nb_coder_block_cols(c, b);
        w = t->how->plain ? NULL : t->w + at;
        nb_coder_fit(c, row, b, &t->grids[b], t->x + at, w);
        for (uint32_t i = 0; i < n; i += c->dim)
            nb_coder_round(c, &t->grids[b], i, t->x + at + i, w == NULL ? NULL : w + i,
                           t->codes + at + i, t->q + at + i);
    }
}

static void try_row(struct trial *t, size_t row, const float *w)
{
    float *e = t->e + t->n_rows++ * t->site->n;
    for (size_t j = 0; j < t->site->n; j++)
        t->x[j] = (float)((double)w[j] * scale_of(t, j));
    round_row(t, row);
    for (size_t j = 0; j < t->site->n; j++)
        e[j] = (float)((double)t->q[j] / scale_of(t, j) - (double)w[j]);
    if (t->n_rows == t->cap)
        settle(t);
}

static void try_rows(void *ctx, size_t row, size_t n, const float *w)
{
    struct trial *t = ctx;
    for (size_t k = 0; k < n && t->st == NB_OK; k++, w += t->site->n) {
        const size_t mat = t->apart ? (row + k) / t->mat_rows : 0;
        if (mat != t->mat) {
            settle(t);
            t->mat = mat;
            set_weights(t);
        }
        if ((row + k) % t->every == 0)
            try_row(t, row + k, w);
    }
}

static enum nb_status try_reader(struct trial *t, size_t weight, struct nb_error *err)
{
    const struct nb_shape *shape = &t->v->m->w.items[weight].t.shape;
    struct nb_coder_spec spec = *t->how->spec;
    spec.shape = shape;
    t->mat_rows = (size_t)nb_shape_rows(shape) / t->site->n_mat;
    t->every = t->how->max_rows == 0 ? 1 : NB_MAX(t->mat_rows / t->how->max_rows, 1);
    NB_TRY(nb_coder_create(&t->coder, &spec, err));
    t->grids = nb_coder_grids_create(t->coder, 1);
    if (t->grids == NULL) {
        nb_coder_destroy(t->coder);
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    }
    t->mat = 0;
    set_weights(t);
    enum nb_status st = nb_view_each(t->v, weight, try_rows, t, t->how->pool, err);
    if (st == NB_OK)
        settle(t);
    nb_coder_grids_destroy(t->coder, t->grids);
    nb_coder_destroy(t->coder);
    return st != NB_OK ? st : t->st;
}

enum nb_status nb_site_rtn_loss(struct nb_view *v, const struct nb_site *site,
                                const struct nb_site_rounding *how, const double *s, double *loss,
                                struct nb_error *err)
{
    enum { CAP = 96 };
    const size_t n = site->n;
    struct trial t = {.v = v, .site = site, .how = how, .s = s, .cap = CAP, .err = err};
    t.apart = site->n_mat > 1;
    t.x = nb_alloc(v->a, (3 + CAP) * n, sizeof *t.x);
    t.codes = nb_alloc(v->a, n, sizeof *t.codes);
    enum nb_status st = NB_OK;
    if (t.x == NULL || t.codes == NULL)
        st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory");
    t.w = t.x == NULL ? NULL : t.x + n;
    t.q = t.x == NULL ? NULL : t.w + n;
    t.e = t.x == NULL ? NULL : t.q + n;
    for (size_t r = 0; r < site->n_readers && st == NB_OK; r++)
        if (nb_view_is_rounded(v, site->readers[r]))
            st = try_reader(&t, site->readers[r], err);
    *loss = t.loss / how->tokens;
    nb_free(v->a, t.x);
    nb_free(v->a, t.codes);
    return st;
}
