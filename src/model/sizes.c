/* model/sizes.c: the numbers that all architectures have, in and out of config.json and GGUF metadata.
 *
 * Keys and defaults: docs/formats/gguf.md, docs/architectures.md.
 */
#include "model/model_internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_WIDTH (1U << 20) /* n_embd, and n_heads * head_dim */
#define MAX_HEAD  65536      /* head_dim, given or worked out */

#define FIELD(member) offsetof(struct nb_hparams, member)
static const struct nb_hparam_field fields[] = {
    {"num_hidden_layers", "block_count", FIELD(n_layers), 1, NB_MAX_LAYERS, false},
    {"hidden_size", "embedding_length", FIELD(n_embd), 1, MAX_WIDTH, false},
    {"intermediate_size", "feed_forward_length", FIELD(n_ff), 1, 1U << 24, false},
    {"num_attention_heads", "attention.head_count", FIELD(n_heads), 1, 65536, false},
    {"max_position_embeddings", "context_length", FIELD(n_ctx_train), 1, INT32_MAX, false},
};
/* Their defaults depend on those above. GGUF counts the tokens when vocab_size is absent. */
static const struct nb_hparam_field kv_heads = {
    "num_key_value_heads", "attention.head_count_kv", FIELD(n_kv_heads), 1, 65536, true};
static const struct nb_hparam_field head_dim = {
    "head_dim", "attention.key_length", FIELD(head_dim), 2, MAX_HEAD, true};
static const struct nb_hparam_field vocab = {"vocab_size", "vocab_size", FIELD(n_vocab), 1,
                                             1U << 24,     false};
static const struct nb_hparam_field vocab_gguf = {"vocab_size", "vocab_size", FIELD(n_vocab), 1,
                                                  1U << 24,     true};

/* Numbers that are the same everywhere when GGUF has them. `none`: what absence means, unless the
 * architecture has defaults of its own. */
static const struct {
    const char *suffix;
    size_t offset;
    float none;
} factors[] = {
    {"embedding_scale", FIELD(embd_scale), 1.0F},
    {"residual_scale", FIELD(residual_scale), 1.0F},
    {"attention.scale", FIELD(attn_scale), 0.0F},
    {"attn_logit_softcapping", FIELD(attn_softcap), 0.0F},
    {"final_logit_softcapping", FIELD(logit_softcap), 0.0F},
};

static void init(struct nb_hparams *hp, const struct nb_arch *arch)
{
    memset(hp, 0, sizeof *hp);
    hp->arch = arch;
    hp->norm_eps = 1e-6F;
    hp->norms = NB_NORM_ATTN | NB_NORM_FFN;
    hp->gated = true;
    hp->embd_scale = hp->residual_scale = hp->logit_scale = 1.0F;
    if (arch->init != NULL)
        arch->init(hp);
}

enum nb_status nb_sizes_settle(struct nb_hparams *hp, const char *where, struct nb_error *err)
{
    if (hp->n_kv_heads == 0)
        hp->n_kv_heads = hp->n_heads;
    if (hp->n_heads % hp->n_kv_heads != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: %u attention heads are no multiple of %u key-value heads",
                where, hp->n_heads, hp->n_kv_heads);
    if (hp->head_dim == 0 && hp->n_embd % hp->n_heads != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: width %u is no multiple of %u attention heads", where,
                hp->n_embd, hp->n_heads);
    if (hp->head_dim == 0)
        hp->head_dim = hp->n_embd / hp->n_heads;
    if (hp->head_dim % 2 != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: head size %u is odd, rotation needs pairs", where,
                hp->head_dim);
    if (hp->head_dim > MAX_HEAD)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: head size %u is larger than %u", where, hp->head_dim,
                MAX_HEAD);
    if ((uint64_t)hp->n_heads * hp->head_dim > MAX_WIDTH)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: %u heads of %u are wider than %u", where, hp->n_heads,
                hp->head_dim, MAX_WIDTH);
    return NB_OK;
}

static void set_defaults(struct nb_hparams *hp)
{
    for (size_t i = 0; i < NB_COUNTOF(factors); i++)
        memcpy((char *)hp + factors[i].offset, &factors[i].none, sizeof factors[i].none);
    if (hp->arch->defaults != NULL)
        hp->arch->defaults(hp);
}

/* ---- config.json ---- */

const char *nb_hf_key(const struct nb_arch *arch, const char *usual)
{
    for (const struct nb_hf_key *k = arch->hf_keys; k != NULL && k->usual != NULL; k++)
        if (strcmp(k->usual, usual) == 0)
            return k->own;
    return usual;
}

/* One number; what the architecture has set stands in for an absent one. */
static enum nb_status read_size(struct nb_hparams *hp, const nb_json *config,
                                const struct nb_hparam_field *usual, struct nb_error *err)
{
    struct nb_hparam_field f = *usual;
    uint32_t set;
    memcpy(&set, (const char *)hp + f.offset, sizeof set);
    f.hf = nb_hf_key(hp->arch, f.hf);
    f.optional = f.optional || set > 0;
    return f.hf == NULL ? NB_OK : nb_hparams_read_hf(hp, config, &f, 1, err);
}

enum nb_status nb_sizes_from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    for (size_t i = 0; i < NB_COUNTOF(fields); i++)
        NB_TRY(read_size(hp, config, &fields[i], err));
    NB_TRY(read_size(hp, config, &vocab, err));
    NB_TRY(read_size(hp, config, &kv_heads, err));
    NB_TRY(read_size(hp, config, &head_dim, err));
    NB_TRY(nb_sizes_settle(hp, "config.json", err));
    set_defaults(hp);
    return NB_OK;
}

void nb_config_put_u32(struct nb_str *s, const char *key, uint32_t v)
{
    nb_str_printf(s, "  \"%s\": %u,\n", key, v);
}

void nb_config_put_bool(struct nb_str *s, const char *key, bool v)
{
    nb_str_printf(s, "  \"%s\": %s,\n", key, v ? "true" : "false");
}

void nb_config_put_real(struct nb_str *s, const char *key, float v)
{
    nb_str_printf(s, "  \"%s\": ", key);
    nb_str_real(s, v);
    nb_str_puts(s, ",\n");
}

static void put_size(const struct nb_hparams *hp, const struct nb_hparam_field *f, struct nb_str *s)
{
    const char *key = nb_hf_key(hp->arch, f->hf);
    uint32_t v;
    memcpy(&v, (const char *)hp + f->offset, sizeof v);
    if (key != NULL)
        nb_config_put_u32(s, key, v);
}

enum nb_status nb_sizes_sayable(const struct nb_hparams *hp, struct nb_error *err)
{
    if (nb_hf_key(hp->arch, kv_heads.hf) == NULL && hp->n_kv_heads != hp->n_heads)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "%u heads and %u key-value heads: config.json of architecture %s cannot say it",
                hp->n_heads, hp->n_kv_heads, hp->arch->name);
    if (nb_hf_key(hp->arch, head_dim.hf) == NULL &&
        (uint64_t)hp->n_heads * hp->head_dim != hp->n_embd)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "%u heads of %u at width %u: config.json of architecture %s cannot say it",
                hp->n_heads, hp->head_dim, hp->n_embd, hp->arch->name);
    return NB_OK;
}

enum nb_status nb_biases_alike(const struct nb_hparams *hp, bool have, struct nb_error *err)
{
    if (hp->bias_q != have || hp->bias_k != have || hp->bias_v != have || hp->bias_o != have ||
        hp->bias_mlp != have)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "some products have biases and some have none: config.json of architecture %s "
                "cannot say it",
                hp->arch->name);
    return NB_OK;
}

static const char *text_of(bool b)
{
    return b ? "true" : "false";
}

/* config.json has one switch for the four biases of attention. */
static enum nb_status check_biases(const struct nb_hparams *hp, struct nb_error *err)
{
    if (hp->bias_q != hp->bias_k || hp->bias_q != hp->bias_v || hp->bias_q != hp->bias_o)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "biases of attention: q %s, k %s, v %s, output %s; config.json can only say all or "
                "none",
                text_of(hp->bias_q), text_of(hp->bias_k), text_of(hp->bias_v), text_of(hp->bias_o));
    return NB_OK;
}

enum nb_status nb_usual_from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_sizes_from_hf(hp, config, err));
    NB_TRY(nb_config_real(config, "rms_norm_eps", 0.0, 1.0, &hp->norm_eps, err));
    NB_TRY(nb_config_bool(config, "tie_word_embeddings", &hp->tied, err));
    NB_TRY(nb_config_bool(config, "attention_bias", &hp->bias_q, err));
    hp->bias_k = hp->bias_v = hp->bias_o = hp->bias_q;
    return NB_OK;
}

enum nb_status nb_usual_to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    NB_TRY(check_biases(hp, err));
    nb_config_put_real(s, "rms_norm_eps", hp->norm_eps);
    NB_TRY(nb_rope_to_hf(hp, s, err));
    nb_str_printf(s, "  \"hidden_act\": \"%s\",\n", nb_act_hf_name(hp->act));
    nb_config_put_bool(s, "tie_word_embeddings", hp->tied);
    nb_config_put_bool(s, "attention_bias", hp->bias_q);
    return NB_OK;
}

void nb_sizes_to_hf(const struct nb_hparams *hp, const char *class_name, const char *model_type,
                    struct nb_str *s)
{
    nb_str_printf(s, "  \"architectures\": [\"%s\"],\n  \"model_type\": \"%s\",\n", class_name,
                  model_type);
    for (size_t i = 0; i < NB_COUNTOF(fields); i++)
        put_size(hp, &fields[i], s);
    put_size(hp, &kv_heads, s);
    put_size(hp, &head_dim, s);
    put_size(hp, &vocab, s);
}

/* ---- activations ---- */

static const struct {
    const char *hf; /* the first of an activation is what we write */
    enum nb_act act;
} acts[] = {
    {"silu", NB_ACT_SILU},
    {"swish", NB_ACT_SILU},
    {"gelu_pytorch_tanh", NB_ACT_GELU_TANH},
    {"gelu_new", NB_ACT_GELU_TANH},
    {"gelu_fast", NB_ACT_GELU_TANH},
    {"gelu", NB_ACT_GELU},
    {"relu", NB_ACT_RELU},
    {"relu2", NB_ACT_RELU2},
};

const char *nb_act_hf_name(enum nb_act act)
{
    for (size_t i = 0; i < NB_COUNTOF(acts); i++)
        if (acts[i].act == act)
            return acts[i].hf;
    return "?";
}

enum nb_status nb_act_from_hf(const struct nb_hparams *hp, const nb_json *config, const char *key,
                              struct nb_error *err)
{
    char quote[64];
    size_t n;
    const char *name = nb_json_string(nb_json_get(config, key), &n);
    if (name == NULL)
        return NB_OK;
    for (size_t i = 0; i < NB_COUNTOF(acts); i++)
        if (acts[i].act == hp->act && strcmp(acts[i].hf, name) == 0)
            return NB_OK;
    NB_FAIL(err, NB_ERR_UNSUPPORTED, "config.json: %s is '%s', expected '%s'", key,
            nb_printable(quote, sizeof quote, name, n), nb_act_hf_name(hp->act));
}

static enum nb_status act_by_name(struct nb_hparams *hp, const char *where, const char *name,
                                  size_t n, struct nb_error *err)
{
    char quote[64];
    for (size_t i = 0; i < NB_COUNTOF(acts); i++)
        if (strlen(acts[i].hf) == n && memcmp(acts[i].hf, name, n) == 0) {
            hp->act = acts[i].act;
            return NB_OK;
        }
    NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s is '%s', expected silu, gelu, relu or a relative", where,
            nb_printable(quote, sizeof quote, name, n));
}

enum nb_status nb_act_read_hf(struct nb_hparams *hp, const nb_json *config, const char *key,
                              struct nb_error *err)
{
    char where[64];
    size_t n;
    const char *name = nb_json_string(nb_json_get(config, key), &n);
    if (name == NULL)
        return NB_OK;
    (void)snprintf(where, sizeof where, "config.json: %s", key);
    return act_by_name(hp, where, name, n, err);
}

/* ---- GGUF ---- */

static const char *eps_suffix(const struct nb_hparams *hp)
{
    return hp->norm == NB_NORM_RMS ? "attention.layer_norm_rms_epsilon"
                                   : "attention.layer_norm_epsilon";
}

static enum nb_status from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                struct nb_error *err)
{
    const char *arch = hp->arch->name;
    char key[NB_KEY_BYTES];
    uint32_t value_length;
    NB_TRY(nb_hparams_read_meta(hp, meta, fields, NB_COUNTOF(fields), err));
    NB_TRY(nb_hparams_read_meta(hp, meta, &vocab_gguf, 1, err));
    NB_TRY(nb_hparams_read_meta(hp, meta, &kv_heads, 1, err));
    NB_TRY(nb_hparams_read_meta(hp, meta, &head_dim, 1, err));
    NB_TRY(nb_sizes_settle(hp, "metadata", err));
    if (nb_meta_u32(meta, nb_meta_key(key, arch, "attention.value_length"), &value_length) &&
        value_length != hp->head_dim)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "metadata: %s is %u, expected the head size %u", key,
                value_length, hp->head_dim);
    if (nb_meta_find(meta, nb_meta_key(key, arch, eps_suffix(hp))) == NULL)
        NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is missing, expected 0..1", key);
    NB_TRY(nb_meta_real(meta, arch, eps_suffix(hp), 0.0, 1.0, &hp->norm_eps, err));
    set_defaults(hp);
    for (size_t i = 0; i < NB_COUNTOF(factors); i++) {
        float v;
        memcpy(&v, (const char *)hp + factors[i].offset, sizeof v);
        NB_TRY(nb_meta_real(meta, arch, factors[i].suffix, 0.0, 1e6, &v, err));
        memcpy((char *)hp + factors[i].offset, &v, sizeof v);
    }
    return NB_OK;
}

static enum nb_status to_meta(const struct nb_hparams *hp, struct nb_meta *meta)
{
    const char *arch = hp->arch->name;
    char key[NB_KEY_BYTES];
    for (size_t i = 0; i < NB_COUNTOF(fields); i++) {
        uint32_t v;
        memcpy(&v, (const char *)hp + fields[i].offset, sizeof v);
        NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, arch, fields[i].suffix), v));
    }
    NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, arch, vocab.suffix), hp->n_vocab));
    NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, arch, kv_heads.suffix), hp->n_kv_heads));
    if ((uint64_t)hp->head_dim * hp->n_heads != hp->n_embd) {
        NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, arch, head_dim.suffix), hp->head_dim));
        NB_TRY(
            nb_meta_set_u32(meta, nb_meta_key(key, arch, "attention.value_length"), hp->head_dim));
    }
    NB_TRY(nb_meta_set_f32(meta, nb_meta_key(key, arch, eps_suffix(hp)), hp->norm_eps));
    struct nb_hparams usual = *hp; /* what the architecture takes where a file is silent */
    set_defaults(&usual);
    for (size_t i = 0; i < NB_COUNTOF(factors); i++) {
        float v, none;
        memcpy(&v, (const char *)hp + factors[i].offset, sizeof v);
        memcpy(&none, (const char *)&usual + factors[i].offset, sizeof none);
        if (v != none)
            NB_TRY(nb_meta_set_f32(meta, nb_meta_key(key, arch, factors[i].suffix), v));
    }
    return NB_OK;
}

static enum nb_status pooling_from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                        struct nb_error *err)
{
    char key[NB_KEY_BYTES];
    uint32_t v;
    if (!nb_meta_u32(meta, nb_meta_key(key, hp->arch->name, "pooling_type"), &v))
        return NB_OK;
    if (v > NB_POOLING_LAST)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "metadata: %s is %u, expected 0 (none) to 3 (last)", key,
                v);
    hp->pooling = (enum nb_pooling)v;
    return NB_OK;
}

/* "<architecture>.hidden_activation", where it is not what the architecture has. */
static enum nb_status act_from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                    struct nb_error *err)
{
    char key[NB_KEY_BYTES], where[NB_KEY_BYTES + 16];
    struct nb_text act;
    if (!nb_meta_text(meta, nb_meta_key(key, hp->arch->name, "hidden_activation"), &act))
        return NB_OK;
    (void)snprintf(where, sizeof where, "metadata: %s", key);
    return act_by_name(hp, where, act.s, act.n, err);
}

static enum nb_status act_to_meta(const struct nb_hparams *hp, struct nb_meta *meta)
{
    struct nb_hparams usual;
    char key[NB_KEY_BYTES];
    const char *act = nb_act_hf_name(hp->act);
    init(&usual, hp->arch);
    if (usual.act == hp->act)
        return NB_OK;
    return nb_meta_set_text(meta, nb_meta_key(key, hp->arch->name, "hidden_activation"), act,
                            strlen(act));
}

/* ---- an architecture ---- */

enum nb_status nb_arch_from_hf(const struct nb_arch *arch, struct nb_hparams *hp,
                               const nb_json *config, struct nb_error *err)
{
    init(hp, arch);
    return arch->from_hf(hp, config, err);
}

enum nb_status nb_arch_from_meta(const struct nb_arch *arch, struct nb_hparams *hp,
                                 const struct nb_meta *meta, struct nb_error *err)
{
    init(hp, arch);
    NB_TRY(from_meta(hp, meta, err));
    NB_TRY(nb_window_from_meta(hp, meta, arch->window_period, err));
    if (!hp->positions)
        NB_TRY(nb_rope_from_meta(hp, meta, err));
    NB_TRY(pooling_from_meta(hp, meta, err));
    NB_TRY(act_from_meta(hp, meta, err));
    return arch->from_meta != NULL ? arch->from_meta(hp, meta, err) : NB_OK;
}

static enum nb_status set_all(const struct nb_hparams *hp, struct nb_meta *meta)
{
    char key[NB_KEY_BYTES];
    NB_TRY(to_meta(hp, meta));
    NB_TRY(act_to_meta(hp, meta));
    if (hp->encoder || hp->pooling != NB_POOLING_NONE)
        NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, hp->arch->name, "pooling_type"),
                               (uint32_t)hp->pooling));
    NB_TRY(nb_window_to_meta(hp, meta, hp->arch->window_period));
    if (!hp->positions)
        NB_TRY(nb_rope_to_meta(hp, meta));
    return hp->arch->to_meta != NULL ? hp->arch->to_meta(hp, meta) : NB_OK;
}

enum nb_status nb_arch_to_meta(const struct nb_hparams *hp, struct nb_meta *meta,
                               struct nb_error *err)
{
    const enum nb_status st = set_all(hp, meta);
    if (st != NB_OK)
        NB_FAIL(err, st, "out of memory for metadata");
    return NB_OK;
}
