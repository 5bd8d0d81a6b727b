/* op/linear_grad.c: dX += dY W of a linear layer, for weights of every number format.
 *
 * A stretch of rows of W is decoded once for all workers, into panels of 16 columns that the first cache
 * holds; then each worker takes tokens and columns. An element of dX is one chain of fma over the rows in
 * their order, whatever the stretches and the tokens beside it.
 */
#include "op/linear.h"

#define PANEL       16U  /* columns that lie side by side */
#define STRETCH     256U /* rows of W at once             */
#define DECODED     8U   /* rows a worker decodes at once */
#define TOKENS      64U  /* of a task                     */
#define TASK_PANELS 16U  /* of a task                     */

struct work {
    const struct nb_linear *l;
    const struct nb_op_call *c; /* scratch */
    const float *dy;            /* (n_tokens, n_rows) */
    float *dx;                  /* (n_tokens, k)      */
    float *panels;              /* (n_panels, STRETCH, PANEL) */
    size_t n_panels, first, n;  /* the stretch: rows first .. first + n - 1 */
};

static size_t panels_of(size_t k)
{
    return (k + PANEL - 1) / PANEL;
}

bool nb_linear_grad_scratch(size_t k, size_t *bytes)
{
    uint64_t n;
    *bytes = 0;
    return nb_mul_u64(&n, DECODED, k) && op_add_bytes(bytes, n, sizeof(float));
}

bool nb_linear_grad_shared(size_t k, size_t *bytes)
{
    uint64_t n;
    *bytes = 0;
    return nb_mul_u64(&n, panels_of(k), STRETCH * PANEL) && op_add_bytes(bytes, n, sizeof(float));
}

static void decode(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const size_t k = w->l->k;
    float *rows = op_scratch(w->c, worker);
    nb_tensor_decode(w->l->w, w->l->first_row + w->first + begin, end - begin, rows);
    for (size_t q = 0; q < w->n_panels; q++)
        for (size_t r = begin; r < end; r++)
            memcpy(w->panels + (q * STRETCH + r) * PANEL, rows + (r - begin) * k + q * PANEL,
                   NB_MIN(PANEL, k - q * PANEL) * sizeof *rows);
}

static void task(const struct work *w, size_t t, size_t q)
{
    const size_t k = w->l->k;
    w->c->kernels->wsum_f32_f32_f32(&(struct nb_wsum){.y = w->dx + t * k + q * PANEL,
                                                      .p = w->dy + t * w->l->n_rows + w->first,
                                                      .v = w->panels + q * STRETCH * PANEL,
                                                      .y_stride = k,
                                                      .p_stride = w->l->n_rows,
                                                      .p_step = 1,
                                                      .v_stride = PANEL,
                                                      .n_rows = NB_MIN(TOKENS, w->l->n_tokens - t),
                                                      .n = w->n,
                                                      .d = NB_MIN(PANEL, k - q * PANEL)});
}

static void tasks(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const size_t across = (w->n_panels + TASK_PANELS - 1) / TASK_PANELS;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const size_t q = i % across * TASK_PANELS;
        for (size_t p = q; p < NB_MIN(q + TASK_PANELS, w->n_panels); p++)
            task(w, i / across * TOKENS, p);
    }
}

void nb_linear_grad(const struct nb_linear *l, const struct nb_op_call *c, const float *dy,
                    float *dx)
{
    struct work w = {.l = l, .c = c, .dy = dy, .dx = dx, .panels = c->shared};
    const size_t blocks = (l->n_tokens + TOKENS - 1) / TOKENS;
    w.n_panels = panels_of(l->k);
    const size_t across = (w.n_panels + TASK_PANELS - 1) / TASK_PANELS;
    for (; w.first < l->n_rows; w.first += STRETCH) {
        w.n = NB_MIN(STRETCH, l->n_rows - w.first);
        nb_pool_for(c->pool, w.n, DECODED, decode, &w);
        nb_pool_for(c->pool, blocks * across, 1, tasks, &w);
    }
}
