/* checkkern: every line of kernels.inc that this CPU can run against the reference, bit for bit.
 *
 *   checkkern            check; exit status 1 if any differs
 *   checkkern --hash     check, then print one hash over the results of the best kernels: equal for
 *                        every compiler, CPU and NIBBLE_ISA
 *   checkkern --bench    time the same calls at sizes from practice, one thread, data in the cache
 *
 * Needs no test library, so that it can be carried to another machine as a static binary.
 */
#include "cases.h"

#include "base/half.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MEMORY ((size_t)3 << 20)
#define MARGIN 64 /* bytes before an output that must keep their value */
#define MARK   0xa5

struct tally {
    size_t passed, failed, skipped;
};

static const struct nb_kernel_line *lines;
static size_t n_lines;

static const struct nb_kernel_line *line_of(const char *op, unsigned have)
{
    const struct nb_kernel_line *found = NULL;
    for (size_t i = 0; i < n_lines; i++)
        if (strcmp(lines[i].op, op) == 0 && (lines[i].need & have) == lines[i].need)
            found = &lines[i];
    return found;
}

static void prepare(struct work *w, const struct op *op, const struct kase *c)
{
    w->rng = c->seed * 0x2545f4914f6cdd1dULL;
    w->n_outs = 0;
    op->setup(w, c);
    for (size_t i = 0; i < w->n_outs; i++)
        memset(w->out[i].p - MARGIN, MARK, MARGIN);
}

/* NaN to one value, where the payload is free. */
static void settle(struct work *w)
{
    for (size_t i = 0; i < w->n_outs; i++)
        for (size_t j = 0; w->out[i].is_f32 && j + 4 <= w->out[i].bytes; j += 4) {
            uint32_t u;
            memcpy(&u, w->out[i].p + j, 4);
            if ((u & 0x7fffffffU) > 0x7f800000U)
                u = 0x7fc00000U;
            memcpy(w->out[i].p + j, &u, 4);
        }
    for (size_t i = 0; i < w->n_outs; i++)
        for (size_t j = 0; w->out[i].is_f64 && j + 8 <= w->out[i].bytes; j += 8) {
            uint64_t u;
            memcpy(&u, w->out[i].p + j, 8);
            if ((u & 0x7fffffffffffffffU) > 0x7ff0000000000000U)
                u = 0x7ff8000000000000U;
            memcpy(w->out[i].p + j, &u, 8);
        }
}

static void run_case(struct work *w, const struct op *op, const struct kase *c, void (*fn)(void))
{
    prepare(w, op, c);
    op->call(fn, w, c);
    settle(w);
}

static void nth_case(struct kase *c, const struct op *op, size_t i)
{
    memset(c, 0, sizeof *c);
    op->kase(c, i);
    c->seed = i + 1;
}

static bool margins_whole(const struct work *w)
{
    for (size_t i = 0; i < w->n_outs; i++)
        for (size_t j = 0; j < MARGIN; j++)
            if (w->out[i].p[-1 - (ptrdiff_t)j] != MARK)
                return false;
    return true;
}

static bool same(const struct work *a, const struct work *b)
{
    for (size_t i = 0; i < a->n_outs; i++)
        if (memcmp(a->out[i].p, b->out[i].p, a->out[i].bytes) != 0)
            return false;
    return true;
}

static void report(const struct op *op, const char *isa, const struct kase *c, const struct work *a,
                   const struct work *b)
{
    printf("FAIL %s %s: n %zu rows %zu cols %zu pattern %d variant %u\n", op->name, isa, c->n,
           c->rows, c->cols, (int)c->pattern, c->variant);
    for (size_t i = 0; i < a->n_outs; i++)
        for (size_t j = 0; j < a->out[i].bytes; j++)
            if (a->out[i].p[j] != b->out[i].p[j]) {
                printf("  output %zu byte %zu: expected 0x%02x, got 0x%02x\n", i, j, a->out[i].p[j],
                       b->out[i].p[j]);
                return;
            }
    printf("  wrote before its output\n");
}

static void check_line(struct tally *t, struct work *a, struct work *b, const struct op *op,
                       const struct nb_kernel_line *line)
{
    void (*ref)(void) = line_of(op->name, NB_ISA_NONE)->fn;
    const size_t n = op->count();
    for (size_t i = 0; i < n; i++) {
        struct kase c;
        nth_case(&c, op, i);
        run_case(a, op, &c, ref);
        run_case(b, op, &c, line->fn);
        if (!same(a, b) || !margins_whole(b)) {
            report(op, line->isa, &c, a, b);
            t->failed++;
            return;
        }
    }
    t->passed++;
}

static uint64_t mix(uint64_t h, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3ULL; /* FNV-1a */
    return h;
}

static uint64_t hash_op(struct work *w, const struct op *op, unsigned have)
{
    uint64_t h = 0xcbf29ce484222325ULL;
    const struct nb_kernel_line *line = line_of(op->name, have);
    for (size_t i = 0; i < op->count(); i++) {
        struct kase c;
        nth_case(&c, op, i);
        run_case(w, op, &c, line->fn);
        for (size_t j = 0; j < w->n_outs; j++)
            h = mix(h, w->out[j].p, w->out[j].bytes);
    }
    return h;
}

static double seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts); /* the machine may be shared */
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Best of many runs of about 2 ms. */
static void bench_line(struct work *w, const struct op *op, const struct nb_kernel_line *line)
{
    struct kase c = op->bench;
    bool is_ops;
    c.seed = 1;
    prepare(w, op, &c);
    const double amount = op->work(&c, &is_ops);
    size_t calls = 1;
    double best = 0.0;
    for (int run = 0; run < 60; run++) {
        const double t0 = seconds();
        for (size_t i = 0; i < calls; i++)
            op->call(line->fn, w, &c);
        const double t = seconds() - t0;
        if (t < 0.001 && calls < 1 << 20) {
            calls *= 2;
            run = -1;
            continue;
        }
        const double rate = amount * (double)calls / t;
        best = rate > best ? rate : best;
    }
    printf("%-18s %-11s %9.2f %s\n", op->name, line->isa, best * 1e-9, is_ops ? "GOP/s" : "GB/s");
}

int main(int argc, char **argv)
{
    const bool hash = argc > 1 && strcmp(argv[1], "--hash") == 0;
    const bool bench = argc > 1 && strcmp(argv[1], "--bench") == 0;
    const char *only = argc > 2 ? argv[2] : "";
    const unsigned have = nb_isa_have();
    size_t n_ops;
    const struct op *ops = ops_all(&n_ops);
    static struct work a, b;
    struct tally t = {0};
    uint64_t h = 0;
    lines = nb_kernel_lines(&n_lines);
    work_init(&a, MEMORY);
    work_init(&b, MEMORY);
    for (size_t i = 0; i < n_ops; i++) {
        if (strstr(ops[i].name, only) == NULL)
            continue;
        for (size_t j = 0; j < n_lines; j++) {
            if (strcmp(lines[j].op, ops[i].name) != 0 || ops[i].count() == 0)
                continue;
            if ((lines[j].need & have) != lines[j].need)
                t.skipped++;
            else if (bench)
                bench_line(&a, &ops[i], &lines[j]);
            else
                check_line(&t, &a, &b, &ops[i], &lines[j]);
        }
        if (hash) {
            const uint64_t one = hash_op(&a, &ops[i], nb_isa_used());
            printf("%-18s %016llx\n", ops[i].name, (unsigned long long)one);
            h = mix(h, (const uint8_t *)&one, sizeof one);
        }
    }
    for (size_t j = 0; j < n_lines; j++) { /* a kernel without cases would go unseen */
        bool known = false;
        for (size_t i = 0; i < n_ops; i++)
            known = known || strcmp(lines[j].op, ops[i].name) == 0;
        if (!known) {
            printf("FAIL %s %s: checkkern has no cases for it\n", lines[j].op, lines[j].isa);
            t.failed++;
        }
    }
    if (hash)
        printf("hash %016llx (%s)\n", (unsigned long long)h, nb_isa_name(nb_isa_used()));
    if (!bench)
        printf("%zu passed, %zu failed, %zu skipped (%s)\n", t.passed, t.failed, t.skipped,
               nb_isa_name(have));
    return t.failed != 0;
}
