/* bench/blocks.c: the float forward of calibration: tokens a second through decoder blocks, and their share
 * of the floating-point peak.
 *
 *   bench-blocks MODEL [THREADS] [CTX] [WINDOWS] [ROUNDS]
 *
 * Random hidden states of WINDOWS windows of CTX tokens go through the first block on decoded weights, as in
 * calibrated quantization. Before and after each round the peak of f32 multiply-adds is measured; both
 * are counted in seconds of processor time, so that other work on the machine does not show, and the best
 * of the rounds is given. Operations: of the matrices and of causal attention, a multiply-add counts 2.
 * Then the block runs piece by piece (run/stages.h), as calibration has it, and what flows into its layers is
 * summed: H, and the cross moment; nanoseconds of processor time a token, best of the rounds.
 */
#include "base/rng.h"
#include "base/sys.h"
#include "calib/acts.h"
#include "calib/block_weights.h"
#include "kernels/kernels.h"
#include "math/linalg.h"
#include "run/run.h"
#include "run/stages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PEAK_STEPS 20000000U

static struct nb_error err;

static void must(enum nb_status st)
{
    if (st == NB_OK)
        return;
    fprintf(stderr, "bench-blocks: %s\n", err.message);
    exit(1);
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of one thread, operations a second of processor time. */
static double peak(void)
{
    static volatile float keep;
    float sink = 0.0F;
    const double start = cpu_seconds();
    const double ops = nb_kernels_get()->peak_f32(PEAK_STEPS, &sink);
    keep += sink;
    return ops / (cpu_seconds() - start);
}

static double operations(const struct nb_hparams *hp, const struct nb_weights *w, size_t ctx)
{
    double n = 0.0;
    for (size_t i = 0; i < w->n; i++)
        if (w->items[i].spec.block == 0 && w->items[i].t.shape.n == 2)
            n += 2.0 * (double)(w->items[i].t.shape.dim[0] * w->items[i].t.shape.dim[1]);
    return n + 4.0 * hp->n_heads * hp->head_dim * 0.5 * (double)(ctx + 1);
}

static size_t number(int argc, char **argv, int i, size_t otherwise)
{
    return argc > i ? (size_t)strtoul(argv[i], NULL, 10) : otherwise;
}

static void fill(struct nb_acts *s, size_t n_windows, size_t n)
{
    struct nb_rng rng = {.seed = 7};
    float *x = malloc(n * sizeof *x);
    for (size_t w = 0; w < n_windows; w++) {
        for (size_t i = 0; i < n; i++)
            x[i] = (float)nb_rng_normal(&rng);
        must(nb_acts_write(s, w, x, &err));
    }
    free(x);
}

static void run_windows(struct nb_session *s, struct nb_acts *acts, size_t n_windows, size_t ctx,
                        float *out)
{
    for (size_t w = 0; w < n_windows; w++) {
        float *x;
        must(nb_acts_get(acts, w, &x, &err));
        nb_session_rewind(s, 0);
        must(nb_session_eval_part(s, x, NULL, ctx, out, &err));
    }
}

/* What is summed for the inputs of a block. */
struct sums {
    double *h, *c;
    float *difference;
    struct nb_pool *pool;
};

static void sum_input(const struct sums *m, const float *x, size_t n, size_t n_y, size_t ctx,
                      size_t windows, size_t stride)
{
    const struct nb_outer_options options = {
        .n = n, .n_y = n_y, .n_tokens = windows * ctx, .pool = m->pool};
    struct nb_outer *o;
    must(nb_outer_create(&o, &options, NULL, &err));
    nb_outer_begin(o, m->h, false, m->c);
    for (size_t w = 0; w < windows; w++) {
        const struct nb_outer_tokens t = {x + w * stride, m->difference, n, n_y, ctx};
        nb_outer_add(o, &t);
    }
    nb_outer_end(o);
    nb_outer_destroy(o);
}

/* ns[0]: through all pieces, ns[1]: sums of their inputs. */
static void pieces(struct nb_session *s, struct nb_pool *pool, size_t windows, size_t ctx,
                   size_t rounds, double ns[2])
{
    struct nb_stages *t;
    must(nb_stages_create(&t, s, &err));
    const size_t width = nb_stages_width(t), n = ctx * width;
    float *x = calloc(n * windows, sizeof *x);
    struct sums m = {calloc(width * width, sizeof *m.h), calloc(width * width, sizeof *m.c),
                     malloc(n * sizeof *m.difference), pool};
    struct nb_rng rng = {.seed = 8};
    for (size_t i = 0; i < n * windows; i++)
        x[i] = (float)nb_rng_normal(&rng);
    memcpy(m.difference, x, n * sizeof *x);
    for (size_t r = 0; r < rounds; r++) {
        double seconds[2] = {0.0, 0.0};
        for (size_t i = 0; i < nb_stages_count(t); i++) {
            const struct nb_stage *stage = nb_stages_at(t, i);
            double begin = cpu_seconds();
            if (i > 0)
                sum_input(&m, x + stage->x * ctx, stage->x_cols,
                          stage->residual_cols > 0 ? stage->residual_cols : stage->x_cols, ctx,
                          windows, n);
            seconds[1] += cpu_seconds() - begin;
            begin = cpu_seconds();
            for (size_t w = 0; w < windows; w++)
                must(nb_stages_run(t, i, ctx, x + w * n, &err));
            seconds[0] += cpu_seconds() - begin;
        }
        for (size_t i = 0; i < 2; i++) {
            const double now = 1e9 * seconds[i] / (double)(windows * ctx);
            ns[i] = r == 0 || now < ns[i] ? now : ns[i];
        }
    }
    free(x);
    free(m.h);
    free(m.c);
    free(m.difference);
    nb_stages_destroy(t);
}

int main(int argc, char **argv)
{
    const size_t threads = number(argc, argv, 2, 1), ctx = number(argc, argv, 3, 512);
    const size_t windows = number(argc, argv, 4, 8), rounds = number(argc, argv, 5, 5);
    struct nb_model *m;
    struct nb_pool *pool;
    struct nb_block_weights *b;
    struct nb_session *s;
    struct nb_acts *acts;
    if (argc < 2) {
        fprintf(stderr, "usage: bench-blocks MODEL [THREADS] [CTX] [WINDOWS] [ROUNDS]\n");
        return 2;
    }
    must(nb_model_open(&m, argv[1], NULL, NULL, &err));
    must(nb_pool_create(&pool, (unsigned)threads, NULL, &err));
    must(nb_block_weights_create(&b, m, NULL, &err));
    must(nb_block_weights_load(b, 0, 1, pool, &err));
    const struct nb_session_options o = {
        .n_ctx = (uint32_t)ctx,
        .n_batch = (uint32_t)ctx,
        .kv_type = &nb_numfmt_f32,
        .float_activations = true,
        .pool = pool,
        .part = {.from_hidden = true, .to_hidden = true, .n_blocks = 1}};
    must(nb_session_create(&s, nb_block_weights_view(b), &o, NULL, &err));
    const struct nb_acts_options ao = {
        .n_windows = windows, .ctx = ctx, .width = m->w.hp.n_embd, .max_bytes = UINT64_MAX};
    must(nb_acts_create(&acts, &ao, NULL, &err));
    fill(acts, windows, ctx * m->w.hp.n_embd);
    float *out = malloc(ctx * m->w.hp.n_embd * sizeof *out);
    if (out == NULL)
        return 1;
    const double ops = operations(&m->w.hp, &m->w, ctx) * (double)(windows * ctx);
    double best = 0.0, top = peak(), wall_best = 0.0;
    for (size_t r = 0; r < rounds; r++) {
        const double start = cpu_seconds();
        const uint64_t wall = nb_clock_ns();
        run_windows(s, acts, windows, ctx, out);
        const double seconds = cpu_seconds() - start;
        const double wall_speed = (double)(windows * ctx) / (1e-9 * (double)(nb_clock_ns() - wall));
        best = ops / seconds > best ? ops / seconds : best;
        wall_best = wall_speed > wall_best ? wall_speed : wall_best;
        const double p = peak();
        top = p > top ? p : top;
    }
    printf(
        "%s: %zu threads, %zu windows of %zu tokens: %.0f tokens/s a thread, %.1f GFLOP/s of %.1f: "
        "%.1f %%; by the clock %.0f tokens/s\n",
        m->w.hp.arch->name, threads, windows, ctx, best / ops * (double)(windows * ctx),
        best * 1e-9, top * 1e-9, 100.0 * best / top, wall_best);
    double ns[2] = {0.0, 0.0};
    pieces(s, pool, windows, ctx, rounds, ns);
    printf("in pieces: %.0f ns a token; sums of the inputs %.0f ns\n", ns[0], ns[1]);
    free(out);
    nb_acts_destroy(acts);
    nb_session_destroy(s);
    nb_block_weights_destroy(b);
    nb_pool_destroy(pool);
    nb_model_close(m);
    return 0;
}
