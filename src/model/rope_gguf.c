/* model/rope_gguf.c: rotary embeddings in GGUF metadata, read and written.
 *
 * Keys: docs/formats/gguf.md, and docs/architectures.md for what a number means to the engine that GGUF is
 * for: its attention factor multiplies yarn's own. What these keys cannot say (dynamic scaling, parameters
 * behind a product) stands beside them under "nibble.rope." with the names of config.json; llama3's
 * divisors and longrope's lists are tensors (rope.c).
 */
#include "model/model_internal.h"

#include <stdio.h>
#include <string.h>

#define OWN       "nibble.rope."
#define OWN_LOCAL "nibble.rope_local."
#define ORIGINAL  "original_max_position_embeddings"

static bool says(struct nb_text t, const char *word)
{
    return t.n == strlen(word) && memcmp(t.s, word, t.n) == 0;
}

/* ---- reading ---- */

static enum nb_status read_u32(const struct nb_meta *meta, const char *key, uint32_t max,
                               uint32_t *out, struct nb_error *err)
{
    uint32_t v;
    if (nb_meta_find(meta, key) == NULL)
        return NB_OK;
    if (!nb_meta_u32(meta, key, &v) || v < 1 || v > max)
        NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is no whole number in 1..%u", key, max);
    *out = v;
    return NB_OK;
}

/* What nobody writes and nibble does not do. */
static enum nb_status refuse_odd(const struct nb_meta *meta, const char *arch, struct nb_error *err)
{
    static const char *const keys[] = {"rope.scaling.yarn_ext_factor",
                                       "rope.scaling.yarn_attn_factor"};
    for (size_t i = 0; i < NB_COUNTOF(keys); i++) {
        float v = 1.0F;
        NB_TRY(nb_meta_real(meta, arch, keys[i], -1e6, 1e6, &v, err));
        if (v != 1.0F && v >= 0.0F) /* negative: not set */
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "metadata: %s.%s is %g, expected 1", arch, keys[i],
                    (double)v);
    }
    return NB_OK;
}

/* attn_factor is what the cosines are multiplied with besides yarn's own factor; longrope has no other. */
static enum nb_status read_attention(struct nb_rope *r, const struct nb_meta *meta,
                                     const char *arch, struct nb_error *err)
{
    float factor = 1.0F;
    NB_TRY(nb_meta_real(meta, arch, "rope.scaling.attn_factor", 1e-9, 1e9, &factor, err));
    if (r->scaling == NB_ROPE_LONGROPE)
        r->attention = factor;
    else if (factor != 1.0F)
        r->attention = (float)((double)factor * nb_rope_table_scale(r, r->ctx_train));
    return NB_OK;
}

static enum nb_status read_yarn(struct nb_rope *r, const struct nb_meta *meta, const char *arch,
                                struct nb_error *err)
{
    NB_TRY(nb_meta_real(meta, arch, "rope.scaling.yarn_beta_fast", 0.0, 1e6, &r->beta_fast, err));
    NB_TRY(nb_meta_real(meta, arch, "rope.scaling.yarn_beta_slow", 0.0, 1e6, &r->beta_slow, err));
    NB_TRY(nb_meta_real(meta, arch, "rope.scaling.yarn_log_multiplier", 0.0, 100.0, &r->mscale_all,
                        err));
    if (r->mscale_all > 0.0F)
        r->mscale = 1.0F;
    if (r->factor == 0.0F)
        r->factor = 1.0F;
    return NB_OK;
}

static enum nb_status read_rule(struct nb_rope *r, const struct nb_meta *meta, const char *arch,
                                struct nb_error *err)
{
    char key[NB_KEY_BYTES], quote[64];
    struct nb_text type = {"", 0};
    (void)nb_meta_text(meta, nb_meta_key(key, arch, "rope.scaling.type"), &type);
    r->scaling = says(type, "none") ? NB_ROPE_NONE : NB_ROPE_LINEAR;
    if (says(type, "yarn") || says(type, "longrope"))
        r->scaling = nb_rope_by_name(type.s, type.n);
    else if (type.n > 0 && !says(type, "none") && !says(type, "linear"))
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "metadata: %s is '%s', supported are none, linear, yarn and longrope", key,
                nb_printable(quote, sizeof quote, type.s, type.n));
    NB_TRY(
        nb_meta_real(meta, arch, "rope.scaling.factor", 0.0, NB_ROPE_FACTOR_MAX, &r->factor, err));
    if (r->factor == 0.0F) /* the older name */
        NB_TRY(nb_meta_real(meta, arch, "rope.scale_linear", 0.0, NB_ROPE_FACTOR_MAX, &r->factor,
                            err));
    if (r->scaling == NB_ROPE_LINEAR && (r->factor == 0.0F || r->factor == 1.0F))
        r->scaling = NB_ROPE_NONE;
    if (r->scaling == NB_ROPE_LONGROPE && r->factor != 0.0F && r->factor != 1.0F)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "metadata: %s.rope.scaling.factor is %g beside longrope, expected none", arch,
                (double)r->factor);
    if (r->scaling == NB_ROPE_NONE || r->scaling == NB_ROPE_LONGROPE)
        r->factor = 0.0F;
    return NB_OK;
}

static enum nb_status read_scaling(struct nb_rope *r, const struct nb_meta *meta, const char *arch,
                                   struct nb_error *err)
{
    char key[NB_KEY_BYTES];
    NB_TRY(read_rule(r, meta, arch, err));
    NB_TRY(refuse_odd(meta, arch, err));
    nb_meta_key(key, arch, "rope.scaling.original_context_length");
    if (r->scaling != NB_ROPE_LINEAR) /* longrope may be known by its tensors alone */
        NB_TRY(read_u32(meta, key, NB_ROPE_CTX_MAX, &r->ctx_orig, err));
    if (r->scaling == NB_ROPE_YARN)
        NB_TRY(read_yarn(r, meta, arch, err));
    NB_TRY(nb_rope_check(r, "metadata: rope.scaling", err));
    return read_attention(r, meta, arch, err);
}

static enum nb_status read_own(struct nb_rope *r, const struct nb_meta *meta, const char *prefix,
                               struct nb_error *err)
{
    char key[NB_KEY_BYTES];
    for (size_t i = 0; i < nb_rope_n_params; i++) {
        const struct nb_rope_param *p = &nb_rope_params[i];
        float v;
        (void)snprintf(key, sizeof key, "%s%s", prefix, p->key);
        if (!(p->rules >> r->scaling & 1U) || nb_meta_find(meta, key) == NULL)
            continue;
        if (!nb_meta_f32(meta, key, &v) || !((double)v >= p->min && (double)v <= p->max))
            NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is no number in %g..%g", key, p->min, p->max);
        memcpy((char *)r + p->offset, &v, sizeof v);
    }
    (void)snprintf(key, sizeof key, "%s" ORIGINAL, prefix);
    NB_TRY(read_u32(meta, key, NB_ROPE_CTX_MAX, &r->ctx_orig, err));
    (void)snprintf(key, sizeof key, "%struncate", prefix);
    bool truncate = true;
    (void)nb_meta_bool(meta, key, &truncate);
    r->ramp_exact = !truncate;
    return nb_rope_check(r, "metadata: nibble.rope", err);
}

/* Our own keys count as long as the common ones still say the rule they said when both were written. */
static enum nb_status prefer_own(struct nb_rope *r, const struct nb_meta *meta, const char *prefix,
                                 struct nb_error *err)
{
    char key[NB_KEY_BYTES];
    struct nb_text type;
    (void)snprintf(key, sizeof key, "%srope_type", prefix);
    if (!nb_meta_text(meta, key, &type))
        return NB_OK;
    struct nb_rope own = {.dim = r->dim, .base = r->base, .ctx_train = r->ctx_train};
    own.scaling = nb_rope_by_name(type.s, type.n);
    const bool silent = own.scaling == NB_ROPE_DYNAMIC || strcmp(prefix, OWN_LOCAL) == 0;
    if (own.scaling == NB_N_ROPE_SCALINGS || r->scaling != (silent ? NB_ROPE_NONE : own.scaling))
        return NB_OK;
    NB_TRY(read_own(&own, meta, prefix, err));
    *r = own;
    return NB_OK;
}

static enum nb_status read_dim(struct nb_rope *r, const struct nb_hparams *hp,
                               const struct nb_meta *meta, const char *suffix, struct nb_error *err)
{
    char key[NB_KEY_BYTES];
    nb_meta_key(key, hp->arch->name, suffix);
    NB_TRY(read_u32(meta, key, 65536, &r->dim, err));
    if (r->dim != hp->head_dim && !nb_rope_rules(hp->arch)->partial)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "metadata: %s is %u, expected the head size %u", key,
                r->dim, hp->head_dim);
    if (r->dim > hp->head_dim || r->dim % 2 != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is %u, expected an even number up to %u", key,
                r->dim, hp->head_dim);
    return NB_OK;
}

static enum nb_status read_local(struct nb_hparams *hp, const struct nb_meta *meta,
                                 struct nb_error *err)
{
    const struct nb_rope_rules *rules = nb_rope_rules(hp->arch);
    struct nb_rope *r = &hp->rope_local;
    *r = (struct nb_rope){.dim = hp->rope.dim, .base = hp->rope.base, .ctx_train = hp->n_ctx_train};
    if (rules->local_base > 0.0F)
        r->base = rules->local_base;
    NB_TRY(nb_meta_real(meta, hp->arch->name, "rope.freq_base_swa", 1.0, NB_ROPE_BASE_MAX, &r->base,
                        err));
    NB_TRY(read_dim(r, hp, meta, "rope.dimension_count_swa", err));
    return prefer_own(r, meta, OWN_LOCAL, err);
}

enum nb_status nb_rope_from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                 struct nb_error *err)
{
    struct nb_rope *r = &hp->rope;
    *r = (struct nb_rope){.dim = hp->head_dim, .base = 10000.0F, .ctx_train = hp->n_ctx_train};
    memset(&hp->rope_local, 0, sizeof hp->rope_local);
    if (hp->positions) { /* learned, not rotated */
        r->dim = 0;
        return NB_OK;
    }
    NB_TRY(
        nb_meta_real(meta, hp->arch->name, "rope.freq_base", 1.0, NB_ROPE_BASE_MAX, &r->base, err));
    NB_TRY(read_dim(r, hp, meta, "rope.dimension_count", err));
    NB_TRY(read_scaling(r, meta, hp->arch->name, err));
    NB_TRY(prefer_own(r, meta, OWN, err));
    return nb_rope_rules(hp->arch)->local ? read_local(hp, meta, err) : NB_OK;
}

/* ---- writing ---- */

static enum nb_status put_own(struct nb_meta *meta, const struct nb_rope *r, const char *prefix)
{
    char key[NB_KEY_BYTES];
    const char *name = nb_rope_name(r->scaling);
    (void)snprintf(key, sizeof key, "%srope_type", prefix);
    NB_TRY(nb_meta_set_text(meta, key, name, strlen(name)));
    for (size_t i = 0; i < nb_rope_n_params; i++) {
        const struct nb_rope_param *p = &nb_rope_params[i];
        const float v = nb_rope_param(r, p);
        (void)snprintf(key, sizeof key, "%s%s", prefix, p->key);
        if (v != 0.0F && p->rules >> r->scaling & 1U)
            NB_TRY(nb_meta_set_f32(meta, key, v));
    }
    (void)snprintf(key, sizeof key, "%s" ORIGINAL, prefix);
    if (r->ctx_orig > 0)
        NB_TRY(nb_meta_set_u32(meta, key, r->ctx_orig));
    (void)snprintf(key, sizeof key, "%struncate", prefix);
    return r->ramp_exact ? nb_meta_set_bool(meta, key, false) : NB_OK;
}

static enum nb_status put_scaling(struct nb_meta *meta, const struct nb_rope *r, const char *arch)
{
    char key[NB_KEY_BYTES];
    const char *name = nb_rope_name(r->scaling);
    NB_TRY(nb_meta_set_text(meta, nb_meta_key(key, arch, "rope.scaling.type"), name, strlen(name)));
    if (r->scaling != NB_ROPE_LONGROPE) /* beside its lists a factor would count again */
        NB_TRY(nb_meta_set_f32(meta, nb_meta_key(key, arch, "rope.scaling.factor"),
                               (float)nb_rope_factor(r)));
    if (r->scaling == NB_ROPE_LINEAR)
        return NB_OK;
    NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, arch, "rope.scaling.original_context_length"),
                           nb_rope_original(r)));
    if (r->beta_fast > 0.0F)
        NB_TRY(nb_meta_set_f32(meta, nb_meta_key(key, arch, "rope.scaling.yarn_beta_fast"),
                               r->beta_fast));
    if (r->beta_slow > 0.0F)
        NB_TRY(nb_meta_set_f32(meta, nb_meta_key(key, arch, "rope.scaling.yarn_beta_slow"),
                               r->beta_slow));
    return NB_OK;
}

/* At the context that the model is for: other engines know one factor only. */
static enum nb_status put_attention(struct nb_meta *meta, const struct nb_rope *r, const char *arch)
{
    char key[NB_KEY_BYTES];
    struct nb_rope rule = {.ctx_train = r->ctx_train, .ctx_orig = r->ctx_orig, .factor = r->factor};
    double factor = nb_rope_table_scale(r, r->ctx_train);
    if (r->scaling == NB_ROPE_YARN) {
        rule.scaling = NB_ROPE_YARN;
        factor /= nb_rope_table_scale(&rule, r->ctx_train);
    }
    if (r->scaling != NB_ROPE_LONGROPE && factor == 1.0)
        return NB_OK;
    return nb_meta_set_f32(meta, nb_meta_key(key, arch, "rope.scaling.attn_factor"), (float)factor);
}

static enum nb_status put_local(struct nb_meta *meta, const struct nb_hparams *hp)
{
    const struct nb_rope *r = &hp->rope_local;
    char key[NB_KEY_BYTES];
    nb_meta_key(key, hp->arch->name, "rope.freq_base_swa");
    NB_TRY(nb_meta_set_f32(meta, key, r->base));
    nb_meta_key(key, hp->arch->name, "rope.dimension_count_swa");
    if (r->dim != hp->rope.dim)
        NB_TRY(nb_meta_set_u32(meta, key, r->dim));
    return r->scaling == NB_ROPE_NONE ? NB_OK : put_own(meta, r, OWN_LOCAL);
}

enum nb_status nb_rope_to_meta(const struct nb_hparams *hp, struct nb_meta *meta)
{
    const struct nb_rope *r = &hp->rope;
    const char *arch = hp->arch->name;
    char key[NB_KEY_BYTES];
    nb_meta_remove(meta, OWN "rope_type"); /* whatever a file said before */
    nb_meta_remove(meta, OWN_LOCAL "rope_type");
    if (r->dim == 0)
        return NB_OK;
    NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, arch, "rope.dimension_count"), r->dim));
    NB_TRY(nb_meta_set_f32(meta, nb_meta_key(key, arch, "rope.freq_base"), r->base));
    if (r->scaling == NB_ROPE_LINEAR || r->scaling == NB_ROPE_YARN ||
        r->scaling == NB_ROPE_LONGROPE)
        NB_TRY(put_scaling(meta, r, arch));
    NB_TRY(put_attention(meta, r, arch));
    if (r->scaling == NB_ROPE_DYNAMIC || r->scaling == NB_ROPE_YARN ||
        r->scaling == NB_ROPE_LONGROPE)
        NB_TRY(put_own(meta, r, OWN));
    return hp->rope_local.dim > 0 ? put_local(meta, hp) : NB_OK;
}
