/* quant/transform_measure.c: what a site's search goes by when its loss is measured: the error at the outputs of
 * the layers that read it, if their columns are scaled and each is rounded plainly in the format planned for it
 * (transform_loss.c), under the second moments H of what the float model lets flow there.
 *
 * The text runs through the model block by block, no further than sites are asked for, which is done in the order
 * of the blocks. In memory are hidden states of 64 MiB, the others in a file without a name, and H of the sites
 * of one block: nb_site_loss_bytes. At most 16,384 tokens, in windows evenly apart: H is not inverted here.
 */
#include <stdio.h>
#include <string.h>

#include "calib/acts.h"
#include "calib/stats.h"
#include "quant/quant_internal.h"
#include "quant/transformed.h"

#define TOKENS       16384U
#define HIDDEN_BYTES (UINT64_C(64) << 20)

/* Owns: all but v, job. */
struct nb_site_loss {
    const struct nb_view *v;
    const struct nb_transformed_job *job;
    struct nb_scale_options how;
    uint32_t *tokens; /* (n_windows, ctx) */
    size_t n_windows;
    struct nb_acts *acts;               /* what block `next` reads, of each window */
    int32_t next;                       /* -1: nothing has been run                */
    struct nb_stats *stats;             /* of block next - 1 */
    const char *names[NB_N_SITE_KINDS]; /* readers of the sites that stats know */
    struct nb_hessian *sum;             /* of all experts that read site sum_of; NULL: not needed */
    const struct nb_site *sum_of;
};

/* ---- windows ---- */

static enum nb_status choose_windows(struct nb_site_loss *k, struct nb_error *err)
{
    const struct nb_windows *text = k->job->windows;
    const size_t most = NB_MAX(TOKENS / text->ctx, 1);
    size_t n = 0, seen = 0;
    for (size_t w = 0; w < text->n; w++)
        n += !text->held[w];
    const size_t step = (n + most - 1) / most;
    k->tokens = nb_alloc(k->job->a, NB_MIN(n, most), text->ctx * sizeof *k->tokens);
    if (k->tokens == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu windows", n);
    for (size_t w = 0; w < text->n; w++)
        if (!text->held[w] && seen++ % step == 0)
            memcpy(k->tokens + k->n_windows++ * text->ctx, text->tokens + w * text->ctx,
                   text->ctx * sizeof *k->tokens);
    return NB_OK;
}

/* ---- running the model ---- */

/* A part's windows: tokens, or hidden states in acts, which become what the part gives. */
static enum nb_status run_windows(struct nb_site_loss *k, struct nb_session *s, int32_t block,
                                  struct nb_error *err)
{
    const struct nb_progress *g = k->job->progress;
    const size_t ctx = k->job->windows->ctx, n_parts = nb_view_model(k->v)->w.hp.n_layers + 1;
    const uint64_t total = (uint64_t)k->n_windows * ctx * n_parts;
    char what[48];
    (void)snprintf(what, sizeof what, "inputs of block %d of %zu", (int)block + 1, n_parts - 1);
    for (size_t w = 0; w < k->n_windows; w++) {
        const uint64_t done = ((uint64_t)(block + 1) * k->n_windows + w + 1) * ctx;
        const uint32_t *tokens = block < 0 ? k->tokens + w * ctx : NULL;
        float *x;
        NB_TRY(nb_acts_get(k->acts, w, &x, err));
        (void)nb_session_rewind(s, 0);
        NB_TRY(nb_session_eval_part(s, block < 0 ? NULL : x, tokens, ctx, x, err));
        NB_TRY(nb_acts_put(k->acts, w, x, err));
        if (g != NULL && g->fn != NULL &&
            g->fn(g->ctx, block < 0 ? "embedding" : what, done, total, "tokens") != 0)
            NB_FAIL(err, NB_ERR_CANCELLED, "cancelled while looking at inputs");
    }
    return NB_OK;
}

/* The embedding (block -1), or a block: its hidden states become what acts holds. */
static enum nb_status run_part(struct nb_site_loss *k, int32_t block, struct nb_error *err)
{
    const uint32_t ctx = k->job->windows->ctx;
    struct nb_session_options o = {.n_ctx = ctx,
                                   .n_batch = ctx,
                                   .kv_type = &nb_numfmt_f32,
                                   .float_activations = true,
                                   .pool = k->job->pool,
                                   .part = {.to_hidden = true}};
    struct nb_session *s;
    if (block >= 0) {
        o.part.from_hidden = true;
        o.part.first_block = (uint32_t)block;
        o.part.n_blocks = 1;
    }
    NB_TRY(nb_session_create(&s, &nb_view_model(k->v)->w, &o, k->job->a, err));
    if (k->stats != NULL)
        nb_stats_attach(k->stats, s);
    const enum nb_status st = run_windows(k, s, block, err);
    nb_session_destroy(s);
    return st;
}

static void forget(struct nb_site_loss *k)
{
    nb_stats_destroy(k->stats);
    nb_hessian_destroy(k->sum);
    k->stats = NULL;
    k->sum = NULL;
    k->sum_of = NULL;
}

static bool feeds_rounded(const struct nb_quant_plan *p, const struct nb_site *s)
{
    bool any = false;
    for (size_t r = 0; r < s->n_readers; r++)
        any = any || nb_calibrated_takes(&p->tensors[s->readers[r]]);
    return any && s->refusal[0] == '\0' && s->block >= 0;
}

static enum nb_status watch(struct nb_site_loss *k, int32_t block, struct nb_error *err)
{
    size_t n_sites, n = 0;
    const struct nb_site *sites = nb_view_sites(k->v, &n_sites);
    for (size_t i = 0; i < n_sites; i++)
        if (sites[i].block == block && feeds_rounded(k->job->plan, &sites[i]))
            k->names[n++] = nb_view_model(k->v)->w.items[sites[i].readers[0]].spec.name;
    const struct nb_stats_options o = {
        .kinds = NB_STAT_BIT(hessian), .weights = k->names, .n_weights = n, .pool = k->job->pool};
    return nb_stats_create(&k->stats, &o, k->job->a, err);
}

/* Statistics of this block. */
static enum nb_status reach(struct nb_site_loss *k, int32_t block, struct nb_error *err)
{
    if (block < k->next - 1)
        NB_FAIL(err, NB_ERR_INTERNAL, "sites of block %d after those of block %d", (int)block,
                (int)k->next - 1);
    while (k->next <= block) {
        forget(k);
        if (k->next == block)
            NB_TRY(watch(k, block, err));
        NB_TRY(run_part(k, k->next, err));
        k->next++;
        if (k->stats != NULL)
            NB_TRY(nb_stats_settle(k->stats, err));
    }
    return NB_OK;
}

/* ---- the loss of a site ---- */

/* h (n_mat): of a site that experts read together the sum over all of them. */
static enum nb_status find_moments(struct nb_site_loss *k, const struct nb_site *site,
                                   const double **h, double *tokens, struct nb_error *err)
{
    const char *name = nb_view_model(k->v)->w.items[site->readers[0]].spec.name;
    const size_t n = nb_stats_matrices(k->stats, name);
    const bool together = site->n_mat == 1 && n > 1;
    if (n == 0 || (!together && n != site->n_mat))
        NB_FAIL(err, NB_ERR_INTERNAL, "'%s': statistics of %zu matrices, expected %zu", name, n,
                site->n_mat);
    if (together && k->sum_of != site) {
        nb_hessian_destroy(k->sum);
        k->sum = NULL;
        NB_TRY(nb_hessian_create(&k->sum, site->n, k->job->a, err));
        for (size_t m = 0; m < n; m++)
            NB_TRY(
                nb_hessian_merge(k->sum, nb_stats_hessian(k->stats, name, m, NB_STATS_TRAIN), err));
        k->sum_of = site;
    }
    *tokens = 0.0;
    for (size_t m = 0; m < site->n_mat; m++) {
        const struct nb_hessian *one =
            together ? k->sum : nb_stats_hessian(k->stats, name, m, NB_STATS_TRAIN);
        h[m] = one->h;
        *tokens += one->tokens;
    }
    return NB_OK;
}

static enum nb_status try_site(struct nb_site_loss *k, struct nb_view *v,
                               const struct nb_site *site, const double **h, const double *s,
                               double *loss, struct nb_error *err)
{
    const struct nb_quant_plan *p = k->job->plan;
    struct nb_coder_spec spec[NB_SITE_READERS];
    struct nb_site_rounding how = {.spec = spec, .h = h, .plain = true, .pool = k->job->pool};
    for (size_t r = 0; r < site->n_readers; r++) {
        const struct nb_plan_tensor *t = &p->tensors[site->readers[r]];
        spec[r] = (struct nb_coder_spec){
            .type = nb_calibrated_takes(t) ? t->type : NULL, .how = &k->how, .a = k->job->a};
    }
    NB_TRY(find_moments(k, site, h, &how.tokens, err));
    if (how.tokens > 0.0)
        return nb_site_rtn_loss(v, site, &how, s, loss, err);
    *loss = 0.0;
    return NB_OK;
}

enum nb_status nb_site_loss_measure(void *ctx, struct nb_view *v, const struct nb_site *site,
                                    const double *s, double *loss, struct nb_error *err)
{
    struct nb_site_loss *k = ctx;
    *loss = 0.0;
    if (!feeds_rounded(k->job->plan, site))
        return NB_OK;
    NB_TRY(reach(k, site->block, err));
    const double **h = nb_alloc(k->job->a, site->n_mat, sizeof *h);
    if (h == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu matrices", site->n_mat);
    const enum nb_status st = try_site(k, v, site, h, s, loss, err);
    nb_free(k->job->a, h);
    return st;
}

/* ---- making ---- */

static enum nb_status begin(struct nb_site_loss *k, struct nb_error *err)
{
    NB_TRY(choose_windows(k, err));
    const struct nb_acts_options o = {.n_windows = k->n_windows,
                                      .ctx = k->job->windows->ctx,
                                      .width = nb_view_model(k->v)->w.hp.n_embd,
                                      .max_bytes = HIDDEN_BYTES,
                                      .folder = k->job->folder};
    NB_TRY(nb_acts_create(&k->acts, &o, k->job->a, err));
    return run_part(k, -1, err);
}

enum nb_status nb_site_loss_create(struct nb_site_loss **out, const struct nb_view *v,
                                   const struct nb_transformed_job *job, struct nb_error *err)
{
    struct nb_site_loss *k = nb_alloc_zero(job->a, 1, sizeof *k);
    if (k == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    k->v = v;
    k->job = job;
    k->how = nb_quant_scale_search(job->plan, job->plan->algo);
    const enum nb_status st = begin(k, err);
    if (st == NB_OK)
        *out = k;
    else
        nb_site_loss_destroy(k);
    return st;
}

void nb_site_loss_destroy(struct nb_site_loss *k)
{
    if (k == NULL)
        return;
    forget(k);
    nb_acts_destroy(k->acts);
    nb_free(k->job->a, k->tokens);
    nb_free(k->job->a, k);
}

uint64_t nb_site_loss_bytes(const struct nb_quant_plan *p, const struct nb_site *sites, size_t n)
{
    const struct nb_windows *text = p->settings.windows;
    const uint64_t row = p->model->w.hp.n_embd * sizeof(float), window = text->ctx * row;
    const uint64_t tokens = NB_MIN((uint64_t)text->n * text->ctx, NB_MAX(TOKENS, text->ctx));
    uint64_t block = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && sites[i].block != sites[i - 1].block)
            block = 0;
        if (feeds_rounded(p, &sites[i]))
            block += nb_hessian_bytes(sites[i].n) * sites[i].n_mat;
        most = NB_MAX(most, block);
    }
    return most + window + NB_MIN(tokens * row, HIDDEN_BYTES);
}
