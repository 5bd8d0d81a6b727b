/* quant/transform_rotate.c: rotations that cost nothing at run time (QuaRot, Ashkboos et al. 2024,
 * arXiv:2404.00456; SpinQuant, Liu et al. 2024, arXiv:2405.16406: R1 and R2).
 *
 * R1, the residual stream in another basis: h' = R^T h. What writes the stream gives R^T of what it gave,
 * what reads it meets R first. An RMS norm commutes with R once its weights stand in its readers; a
 * layer norm too if R keeps the vector of ones (transform_turn.c).
 * R2, each head of v in another basis: v' = R^T v, and the output layer undoes it.
 *
 * Left out: rotations that a runtime would have to carry out (R3 and R4), learned ones.
 */
#include "quant/transform_internal.h"

#include <stdio.h>
#include <string.h>

/* ---- can it be carried? ---- */

static enum nb_status carry_not(struct nb_error *err, const char *why)
{
    NB_FAIL(err, NB_ERR_UNSUPPORTED, "'rotate' cannot be carried: %s", why);
}

static enum nb_status check_norms(const struct nb_hparams *hp, struct nb_error *err)
{
    if (hp->n_kv_heads == 0)
        return carry_not(err, "nibble does not know this architecture");
    if ((hp->norms & NB_NORM_SUM) || hp->embd_norm)
        return carry_not(err, "norms with weights stand in the residual stream itself");
    if (hp->norms & (NB_NORM_ATTN_POST | NB_NORM_FFN_POST))
        return carry_not(err, "norms with weights stand between the layers that write the residual "
                              "stream and the stream");
    if (!(hp->norms & NB_NORM_ATTN) || !(hp->parallel || (hp->norms & NB_NORM_FFN)))
        return carry_not(err, "layers read the residual stream without a norm");
    return NB_OK;
}

static bool is_constant(const float *x, size_t n)
{
    for (size_t k = 1; k < n; k++)
        if (x[k] != x[0])
            return false;
    return true;
}

static bool has_zero(const float *x, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if (x[k] == 0.0F)
            return true;
    return false;
}

/* The head of a tied model reads the embedding's columns: norm weights cannot be folded into them. */
static enum nb_status check_norm(const struct nb_view *v, const struct nb_site *s, const float *g,
                                 struct nb_error *err)
{
    const struct nb_weight *w = &v->m->w.items[s->readers[0]];
    if (s->kind == NB_SITE_HEAD && v->m->w.hp.tied && !is_constant(g, s->n))
        NB_FAIL(
            err, NB_ERR_UNSUPPORTED,
            "'rotate' cannot be carried: the head is the embedding, and the weights of the last "
            "norm belong into the head alone; a head of its own would add %llu weights",
            (unsigned long long)nb_shape_rows(&w->t.shape) * s->n);
    if (s->producer_bias != NB_NO_WEIGHT && has_zero(g, s->n))
        return carry_not(err, "a norm has a bias and a weight of 0");
    return NB_OK;
}

static bool reads_stream(const struct nb_site *s)
{
    return s->kind == NB_SITE_ATTN_IN || s->kind == NB_SITE_FFN_IN || s->kind == NB_SITE_HEAD;
}

static enum nb_status check_site(const struct nb_view *v, const struct nb_site *s,
                                 struct nb_error *err)
{
    if (!reads_stream(s))
        return NB_OK;
    if (s->producer == NB_NO_WEIGHT)
        return carry_not(err, "a norm's weights are not in the file");
    float *g = nb_alloc(v->a, s->n, sizeof *g);
    if (g == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    nb_view_read_rows(v, s->producer, 0, 1, g, NULL);
    const enum nb_status st = check_norm(v, s, g, err);
    nb_free(v->a, g);
    return st;
}

/* ---- R1 ---- */

static enum nb_status vector_of(struct nb_view *v, size_t i, double **x, struct nb_error *err)
{
    *x = nb_view_vector(v, i);
    if (*x == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    return NB_OK;
}

/* y = W (g * z + b) = W diag(g) R (R^T z + R^T (b / g)): the norm keeps a weight of 1 and its bias. */
static enum nb_status fold_norm(struct nb_view *v, const struct nb_site *s, struct nb_error *err)
{
    const bool tied = s->kind == NB_SITE_HEAD && v->m->w.hp.tied; /* one weight for all columns */
    double *g = NULL, *b;
    if (!tied)
        NB_TRY(vector_of(v, s->producer, &g, err));
    if (s->producer_bias != NB_NO_WEIGHT) {
        NB_TRY(vector_of(v, s->producer_bias, &b, err));
        for (size_t k = 0; k < s->n && !tied; k++)
            b[k] /= g[k];
        nb_rotation_apply(&v->stream, b, s->n);
    }
    if (tied)
        return NB_OK;
    for (size_t r = 0; r < s->n_readers; r++)
        NB_TRY(nb_view_scale_columns(v, s->readers[r], g, s->n, err));
    for (size_t k = 0; k < s->n; k++)
        g[k] = 1.0;
    return NB_OK;
}

static enum nb_status turn_columns(struct nb_view *v, size_t i, struct nb_error *err)
{
    double *x;
    if (v->m->w.items[i].t.shape.n > 1) {
        nb_view_turn_columns(v, i, &v->stream);
        return NB_OK;
    }
    NB_TRY(vector_of(v, i, &x, err)); /* a router of one row */
    nb_rotation_apply(&v->stream, x, v->stream.q.n);
    return NB_OK;
}

/* What writes the stream: rows of the last layers and their biases, columns of tables. */
static enum nb_status turn_writer(struct nb_view *v, size_t i, struct nb_error *err)
{
    const struct nb_weight *w = &v->m->w.items[i];
    const size_t bias = nb_view_bias_of(v, i);
    double *b;
    if (w->spec.role == NB_ROLE_EMBED || w->spec.role == NB_ROLE_POSITION)
        return turn_columns(v, i, err);
    if (w->spec.role != NB_ROLE_ATTN_OUT && w->spec.role != NB_ROLE_FFN_DOWN)
        return NB_OK;
    nb_view_turn_rows(v, i, 0, (size_t)nb_shape_rows(&w->t.shape), &v->stream);
    if (bias == NB_NO_WEIGHT)
        return NB_OK;
    NB_TRY(vector_of(v, bias, &b, err));
    nb_rotation_apply(&v->stream, b, v->stream.q.n);
    return NB_OK;
}

static enum nb_status rotate_stream(struct nb_view *v, struct nb_error *err)
{
    for (size_t k = 0; k < v->n_sites; k++) {
        const struct nb_site *s = &v->sites[k];
        const bool tied = s->kind == NB_SITE_HEAD && v->m->w.hp.tied;
        if (!reads_stream(s))
            continue;
        NB_TRY(fold_norm(v, s, err));
        for (size_t r = 0; r < s->n_readers && !tied; r++)
            NB_TRY(turn_columns(v, s->readers[r], err));
    }
    for (size_t i = 0; i < v->m->w.n; i++)
        NB_TRY(turn_writer(v, i, err));
    return NB_OK;
}

enum nb_status nb_view_rotate_stream(struct nb_view *v, uint64_t seed, struct nb_error *err)
{
    const struct nb_hparams *hp = &v->m->w.hp;
    NB_TRY(check_norms(hp, err));
    for (size_t k = 0; k < v->n_sites; k++)
        NB_TRY(check_site(v, &v->sites[k], err));
    if (v->stream.q.n > 0)
        NB_FAIL(err, NB_ERR_ARG, "'rotate': the residual stream is rotated already");
    NB_TRY(nb_rotation_init(&v->stream, hp->n_embd, seed, hp->norm == NB_NORM_LAYER, v->a, err));
    return rotate_stream(v, err);
}

/* ---- R2 ---- */

static enum nb_status rotate_heads(struct nb_view *v, const struct nb_site *s, struct nb_error *err)
{
    double *b;
    nb_view_turn_columns(v, s->readers[0], &v->heads);
    nb_view_turn_rows(v, s->producer, s->first_row, s->n_scales, &v->heads);
    if (s->producer_bias == NB_NO_WEIGHT)
        return NB_OK;
    NB_TRY(vector_of(v, s->producer_bias, &b, err));
    nb_rotation_apply(&v->heads, b + s->first_row, s->n_scales);
    return NB_OK;
}

enum nb_status nb_view_rotate_heads(struct nb_view *v, uint64_t seed, struct nb_error *err)
{
    const struct nb_hparams *hp = &v->m->w.hp;
    if (hp->n_kv_heads == 0)
        return carry_not(err, "nibble does not know this architecture");
    if (hp->norms & NB_NORM_SUB)
        return carry_not(err, "a norm with weights stands between the heads and the output layer");
    if (hp->head_dim % 2 != 0)
        return carry_not(err, "heads of an odd size have no Hadamard transform");
    if (v->heads.q.n > 0)
        NB_FAIL(err, NB_ERR_ARG, "'rotate': the heads are rotated already");
    NB_TRY(nb_rotation_init(&v->heads, hp->head_dim, seed + 1, false, v->a, err));
    for (size_t k = 0; k < v->n_sites; k++)
        if (v->sites[k].kind == NB_SITE_ATTN_OUT && v->sites[k].producer != NB_NO_WEIGHT)
            NB_TRY(rotate_heads(v, &v->sites[k], err));
    return NB_OK;
}

/* ---- the transforms ---- */

static enum nb_status apply_heads(struct nb_view *v, const struct nb_transform_job *job,
                                  struct nb_transform_report *report, struct nb_error *err)
{
    NB_TRY(nb_view_rotate_heads(v, job->seed, err));
    *report = (struct nb_transform_report){.n_sites = v->m->w.hp.n_layers};
    return NB_OK;
}

/* The heads too, unless a norm stands in their way: the stream is what counts. */
static enum nb_status apply(struct nb_view *v, const struct nb_transform_job *job,
                            struct nb_transform_report *report, struct nb_error *err)
{
    struct nb_error why;
    NB_TRY(nb_view_rotate_stream(v, job->seed, err));
    *report = (struct nb_transform_report){.n_sites = v->n_sites};
    const enum nb_status st = nb_view_rotate_heads(v, job->seed, &why);
    if (st == NB_OK)
        return NB_OK;
    if (st != NB_ERR_UNSUPPORTED) {
        if (err != NULL)
            *err = why;
        return st;
    }
    report->n_refused = v->m->w.hp.n_layers;
    report->n_sites -= report->n_refused;
    (void)snprintf(report->refusal, sizeof report->refusal, "%.*s", (int)sizeof report->refusal - 1,
                   why.message);
    nb_log_msg(job->log, NB_LOG_INFO, "heads: %s", why.message);
    return NB_OK;
}

const struct nb_transform nb_transform_rotate = {
    .name = "rotate",
    .summary = "residual stream and heads of v by random Hadamard matrices (QuaRot's R1, R2)",
    .apply = apply,
};

const struct nb_transform nb_transform_rotate_heads = {
    .name = "rotate_heads",
    .summary = "heads of v alone (QuaRot's R2): also where the stream cannot be rotated",
    .apply = apply_heads,
};
