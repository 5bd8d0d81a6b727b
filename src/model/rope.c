/* model/rope.c: rotary embeddings: how fast each pair turns, by every scaling rule.
 *
 * Su et al. 2021 (arXiv:2104.09864); linear: Chen et al. 2023 (arXiv:2306.15595); yarn: Peng et al. 2023
 * (arXiv:2309.00071); longrope: Ding et al. 2024 (arXiv:2402.13753); dynamic and llama3:
 * docs/architectures.md. All in double. How files say it: rope_hf.c, rope_gguf.c.
 */
#include "model/model_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "math/math.h"

#define TWO_PI 6.283185307179586476925

/* ---- names and defaults ---- */

static const char *const names[NB_N_ROPE_SCALINGS] = {
    [NB_ROPE_NONE] = "default", [NB_ROPE_LINEAR] = "linear", [NB_ROPE_DYNAMIC] = "dynamic",
    [NB_ROPE_YARN] = "yarn",    [NB_ROPE_LLAMA3] = "llama3", [NB_ROPE_LONGROPE] = "longrope",
};

const char *nb_rope_name(enum nb_rope_scaling rule)
{
    return names[rule];
}

enum nb_rope_scaling nb_rope_by_name(const char *s, size_t n)
{
    if (n == 2 && memcmp(s, "su", 2) == 0) /* longrope's first name */
        return NB_ROPE_LONGROPE;
    int rule = 0;
    while (rule < NB_N_ROPE_SCALINGS &&
           (strlen(names[rule]) != n || memcmp(names[rule], s, n) != 0))
        rule++;
    return (enum nb_rope_scaling)rule;
}

#define BIT(rule)   (1U << NB_ROPE_##rule)
#define FIELD(name) offsetof(struct nb_rope, name)
const struct nb_rope_param nb_rope_params[] = {
    {"factor", FIELD(factor), 1.0, NB_ROPE_FACTOR_MAX,
     BIT(LINEAR) | BIT(DYNAMIC) | BIT(YARN) | BIT(LLAMA3) | BIT(LONGROPE)},
    {"low_freq_factor", FIELD(low_freq), 1e-6, 1e6, BIT(LLAMA3)},
    {"high_freq_factor", FIELD(high_freq), 1e-6, 1e6, BIT(LLAMA3)},
    {"attention_factor", FIELD(attention), 1e-6, 1e6, BIT(YARN) | BIT(LONGROPE)},
    {"beta_fast", FIELD(beta_fast), 0.0, 1e6, BIT(YARN)},
    {"beta_slow", FIELD(beta_slow), 0.0, 1e6, BIT(YARN)},
    {"mscale", FIELD(mscale), 0.0, 100.0, BIT(YARN)},
    {"mscale_all_dim", FIELD(mscale_all), 0.0, 100.0, BIT(YARN)},
    {"short_mscale", FIELD(short_mscale), 1e-6, 1e6, BIT(LONGROPE)},
    {"long_mscale", FIELD(long_mscale), 1e-6, 1e6, BIT(LONGROPE)},
};
const size_t nb_rope_n_params = NB_COUNTOF(nb_rope_params);

float nb_rope_param(const struct nb_rope *r, const struct nb_rope_param *p)
{
    float v;
    memcpy(&v, (const char *)r + p->offset, sizeof v);
    return v;
}

const struct nb_rope_rules *nb_rope_rules(const struct nb_arch *arch)
{
    static const struct nb_rope_rules plain = {0};
    return arch->rope != NULL ? arch->rope : &plain;
}

uint32_t nb_rope_original(const struct nb_rope *r)
{
    return r->ctx_orig > 0 ? r->ctx_orig : r->ctx_train;
}

double nb_rope_factor(const struct nb_rope *r)
{
    if (r->factor > 0.0F)
        return (double)r->factor;
    const uint32_t c = nb_rope_original(r);
    return c == 0 || r->ctx_train <= c ? 1.0 : (double)r->ctx_train / (double)c;
}

static enum nb_status check_contexts(const struct nb_rope *r, const char *where,
                                     struct nb_error *err)
{
    const uint32_t least = r->scaling == NB_ROPE_LONGROPE ? 2 : 1; /* its logarithm divides */
    if (nb_rope_original(r) < least)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: original context of %u positions, %s wants at least %u",
                where, nb_rope_original(r), names[r->scaling], least);
    if (nb_rope_factor(r) > NB_ROPE_FACTOR_MAX)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: context grows from %u to %u, expected a factor up to %g",
                where, r->ctx_orig, r->ctx_train, NB_ROPE_FACTOR_MAX);
    return NB_OK;
}

enum nb_status nb_rope_check(const struct nb_rope *r, const char *where, struct nb_error *err)
{
    if (r->dim == 0 || r->scaling == NB_ROPE_NONE)
        return NB_OK;
    const bool derived = r->scaling == NB_ROPE_YARN && r->ctx_orig > 0;
    if (r->factor <= 0.0F && !derived && r->scaling != NB_ROPE_LONGROPE)
        NB_FAIL(err, NB_ERR_FORMAT, "%s has no 'factor'", where);
    if (r->scaling == NB_ROPE_LLAMA3 && !(r->low_freq > 0.0F && r->high_freq > r->low_freq))
        NB_FAIL(err, NB_ERR_FORMAT,
                "%s has low_freq_factor %g and high_freq_factor %g, expected 0 < low < high", where,
                (double)r->low_freq, (double)r->high_freq);
    if (r->scaling == NB_ROPE_LINEAR || r->scaling == NB_ROPE_LLAMA3)
        return NB_OK;
    if (r->scaling == NB_ROPE_DYNAMIC && r->dim <= 2)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: dynamic scaling of %u dimensions, expected at least 4",
                where, r->dim);
    if (r->scaling == NB_ROPE_YARN && !(r->base > 1.0F))
        NB_FAIL(err, NB_ERR_FORMAT, "%s: yarn with a base of %g, expected more than 1", where,
                (double)r->base);
    if (r->scaling == NB_ROPE_LONGROPE && r->dim / 2 > NB_ROPE_MAX_PAIRS)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s: longrope of %u dimensions, supported are up to %u",
                where, r->dim, 2 * NB_ROPE_MAX_PAIRS);
    return check_contexts(r, where, err);
}

/* ---- frequencies ---- */

/* Wave length of frequency i: 2 pi base^(2i / dim). */
static double wave_length(const struct nb_rope *r, uint32_t i)
{
    return TWO_PI * nb_pow((double)r->base, 2.0 * (double)i / (double)r->dim);
}

static float llama3_divisor(const struct nb_rope *r, uint32_t i)
{
    const double f = (double)r->factor, lo = (double)r->low_freq;
    const double hi = (double)r->high_freq, ctx = (double)r->ctx_orig;
    const double wave = wave_length(r, i);
    if (wave < ctx / hi)
        return 1.0F;
    if (wave > ctx / lo)
        return r->factor;
    const double s = (ctx / wave - lo) / (hi - lo);
    return (float)(1.0 / ((1.0 - s) / f + s));
}

static const float *longrope_list(const struct nb_rope *r, uint32_t n_ctx)
{
    return n_ctx > nb_rope_original(r) ? r->long_factor : r->short_factor;
}

/* What frequency i is divided by. An f32, as the divisors in GGUF files are: both give the same bits. */
static float divisor(const struct nb_rope *r, uint32_t n_ctx, uint32_t i)
{
    if (r->scaling == NB_ROPE_LLAMA3)
        return r->ctx_orig > 0 ? llama3_divisor(r, i) : 1.0F;
    if (r->scaling == NB_ROPE_LONGROPE)
        return longrope_list(r, n_ctx)[i];
    return r->scaling == NB_ROPE_LINEAR ? r->factor : 1.0F;
}

/* base (f L / C - (f - 1))^(dim / (dim - 2)), L the longer of this context and the trained one, C */
static double dynamic_base(const struct nb_rope *r, uint32_t n_ctx)
{
    if (n_ctx <= r->ctx_train)
        return (double)r->base;
    const double f = (double)r->factor, d = (double)r->dim;
    const double stretch = f * (double)n_ctx / (double)r->ctx_train - (f - 1.0);
    return (double)r->base * nb_pow(stretch, d / (d - 2.0));
}

/* Pairs between which yarn goes over from the frequency itself to the divided one. */
struct ramp {
    double low, high;
};

/* The pair that turns `rotations` times in the original context. */
static double pair_of(const struct nb_rope *r, double rotations)
{
    const double turns = (double)nb_rope_original(r) / (rotations * TWO_PI);
    return (double)r->dim * nb_log(turns) / (2.0 * nb_log((double)r->base));
}

static struct ramp yarn_ramp(const struct nb_rope *r)
{
    struct ramp p = {pair_of(r, r->beta_fast > 0.0F ? (double)r->beta_fast : 32.0),
                     pair_of(r, r->beta_slow > 0.0F ? (double)r->beta_slow : 1.0)};
    if (!r->ramp_exact) {
        p.low = floor(p.low);
        p.high = ceil(p.high);
    }
    p.low = NB_MAX(p.low, 0.0);
    p.high = NB_MIN(p.high, (double)r->dim - 1.0);
    if (p.low == p.high)
        p.high += 0.001;
    return p;
}

void nb_rope_frequencies(const struct nb_rope *r, uint32_t n_ctx, double *freq)
{
    const bool yarn = r->scaling == NB_ROPE_YARN;
    const double base = r->scaling == NB_ROPE_DYNAMIC ? dynamic_base(r, n_ctx) : (double)r->base;
    const struct ramp p = yarn ? yarn_ramp(r) : (struct ramp){0};
    const double f = nb_rope_factor(r);
    for (uint32_t i = 0; i < r->dim / 2; i++) {
        const double w = nb_pow(base, -2.0 * (double)i / (double)r->dim);
        freq[i] = w / (double)divisor(r, n_ctx, i);
        if (yarn) {
            const double t = NB_MIN(NB_MAX(((double)i - p.low) / (p.high - p.low), 0.0), 1.0);
            freq[i] = w / f * t + w * (1.0 - t);
        }
    }
}

/* g(m) = 0.1 m ln(factor) + 1 */
static double yarn_scale(const struct nb_rope *r, double m)
{
    return 0.1 * m * nb_log(nb_rope_factor(r)) + 1.0;
}

double nb_rope_table_scale(const struct nb_rope *r, uint32_t n_ctx)
{
    const bool is_long = n_ctx > nb_rope_original(r);
    const float side = is_long ? r->long_mscale : r->short_mscale;
    if (r->scaling == NB_ROPE_LONGROPE && side > 0.0F)
        return (double)side;
    if (r->attention > 0.0F)
        return (double)r->attention;
    if (r->scaling == NB_ROPE_LONGROPE)
        return sqrt(1.0 + nb_log(nb_rope_factor(r)) / nb_log((double)nb_rope_original(r)));
    if (r->scaling != NB_ROPE_YARN)
        return 1.0;
    if (r->mscale > 0.0F && r->mscale_all > 0.0F)
        return yarn_scale(r, (double)r->mscale) / yarn_scale(r, (double)r->mscale_all);
    return yarn_scale(r, 1.0);
}

/* ---- tensors of GGUF files ---- */

void nb_rope_divisors(const struct nb_hparams *hp, float *out)
{
    const bool lists = hp->rope.scaling == NB_ROPE_LONGROPE;
    for (uint32_t i = 0; i < hp->rope.dim / 2; i++)
        out[i] = lists ? 1.0F : divisor(&hp->rope, 0, i);
}

void nb_rope_tensor(const struct nb_rope *r, const char *name, float *out)
{
    const bool is_long = strcmp(name, NB_ROPE_LONG_NAME) == 0;
    if (strcmp(name, NB_ROPE_DIVISORS_NAME) != 0) {
        memcpy(out, is_long ? r->long_factor : r->short_factor, r->dim / 2 * sizeof *out);
        return;
    }
    for (uint32_t i = 0; i < r->dim / 2; i++)
        out[i] = divisor(r, 0, i);
}

void nb_rope_detect(struct nb_hparams *hp, nb_has_fn *has, void *ctx)
{
    if (has(ctx, NB_ROPE_DIVISORS_NAME)) {
        hp->rope.scaling = NB_ROPE_LLAMA3;
        hp->rope.ctx_orig = 0; /* the divisors say it */
    }
    if (!has(ctx, NB_ROPE_LONG_NAME))
        return;
    if (hp->rope.scaling != NB_ROPE_LONGROPE && hp->rope.attention == 0.0F)
        hp->rope.attention = 1.0F; /* no key said otherwise */
    hp->rope.scaling = NB_ROPE_LONGROPE;
}

static enum nb_status emit_list(const struct nb_rope *r, const char *name, nb_spec_fn *emit,
                                void *ctx)
{
    struct nb_tensor_spec s = {.role = NB_ROLE_ROPE, .block = -1, .required = true};
    s.shape = nb_shape_1(r->dim / 2);
    (void)snprintf(s.name, sizeof s.name, "%s", name);
    return emit(ctx, &s);
}

enum nb_status nb_rope_specs(const struct nb_hparams *hp, nb_spec_fn *emit, void *ctx)
{
    const struct nb_rope *r = &hp->rope;
    if (r->scaling == NB_ROPE_LLAMA3)
        return emit_list(r, NB_ROPE_DIVISORS_NAME, emit, ctx);
    if (r->scaling != NB_ROPE_LONGROPE)
        return NB_OK;
    NB_TRY(emit_list(r, NB_ROPE_LONG_NAME, emit, ctx));
    return emit_list(r, NB_ROPE_SHORT_NAME, emit, ctx);
}

/* Does this rule give these divisors, up to the rounding of whoever computed them? */
static bool gives(const struct nb_rope *r, const float *divisors)
{
    for (uint32_t i = 0; i < r->dim / 2; i++) {
        const double want = (double)divisors[i];
        const double diff = (double)llama3_divisor(r, i) - want;
        if (!(want >= 1.0) || diff > 1e-4 * want || -diff > 1e-4 * want)
            return false;
    }
    return true;
}

/* Between the bounds s = a / wave + b with a = ctx / (hi - lo), b = -lo / (hi - lo): two points give a
 * and b. Only ratios are determined, so lo = 1, which is what every model has. */
bool nb_rope_from_divisors(struct nb_hparams *hp, const float *divisors)
{
    const uint32_t n = hp->rope.dim / 2;
    struct nb_rope try = hp->rope;
    uint32_t first = n, last = n;
    if (n == 0)
        return false;
    try.scaling = NB_ROPE_LLAMA3;
    try.factor = divisors[n - 1];
    const double f = (double)try.factor;
    for (uint32_t i = 0; i < n; i++)
        if ((double)divisors[i] > 1.0 + 1e-6 && (double)divisors[i] < f * (1.0 - 1e-6)) {
            first = first == n ? i : first;
            last = i;
        }
    if (first == n || !(f > 1.0 && f <= NB_ROPE_FACTOR_MAX))
        return false;
    const double s0 = (1.0 / (double)divisors[first] - 1.0 / f) / (1.0 - 1.0 / f);
    const double s1 = (1.0 / (double)divisors[last] - 1.0 / f) / (1.0 - 1.0 / f);
    const double x0 = 1.0 / wave_length(&hp->rope, first), x1 = 1.0 / wave_length(&hp->rope, last);
    double hi = 4.0; /* as every model has it, should there be one point only */
    if (first < last)
        hi = 1.0 - 1.0 / (s0 - (s0 - s1) / (x0 - x1) * x0);
    const double ctx = (s0 * (hi - 1.0) + 1.0) / x0;
    if (!(hi > 1.0 && hi < 1e6 && ctx >= 1.0 && ctx < (double)NB_ROPE_CTX_MAX))
        return false;
    try.low_freq = 1.0F;
    try.high_freq = (float)((double)(uint64_t)(hi * 100.0 + 0.5) / 100.0);
    try.ctx_orig = (uint32_t)(ctx + 0.5);
    if (!gives(&try, divisors))
        return false;
    hp->rope = try;
    return true;
}
