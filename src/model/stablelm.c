/* model/stablelm.c: StableLM 3B, StableLM 2 1.6B (Bellagamba et al. 2024, arXiv:2402.17834): Llama with layer
 * norms and a quarter of each head turning; in some attention and feed-forward read the same norm.
 *
 * Refused: qk_layernorm (StableLM 2 12B), which has a norm of its own for every head.
 */
#include "model/model_internal.h"

static const struct nb_rope_rules rope = {.part = 0.25, .partial = true};

static void init(struct nb_hparams *hp)
{
    hp->norm = NB_NORM_LAYER;
    hp->norm_eps = 1e-5F;
    hp->norm_bias = true;
}

static void set_parallel(struct nb_hparams *hp, bool parallel)
{
    hp->parallel = parallel;
    hp->norms = parallel ? NB_NORM_ATTN : NB_NORM_ATTN | NB_NORM_FFN;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    bool qk_norm = false, parallel = false;
    NB_TRY(nb_config_bool(config, "qk_layernorm", &qk_norm, err));
    if (qk_norm)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "config.json: qk_layernorm is true, expected false");
    NB_TRY(nb_sizes_from_hf(hp, config, err));
    NB_TRY(nb_config_real(config, "layer_norm_eps", 0.0, 1.0, &hp->norm_eps, err));
    NB_TRY(nb_config_bool(config, "tie_word_embeddings", &hp->tied, err));
    NB_TRY(nb_config_bool(config, "use_qkv_bias", &hp->bias_q, err));
    NB_TRY(nb_config_bool(config, "use_parallel_residual", &parallel, err));
    hp->bias_k = hp->bias_v = hp->bias_q;
    set_parallel(hp, parallel);
    NB_TRY(nb_act_from_hf(hp, config, "hidden_act", err));
    return nb_rope_from_hf(hp, config, err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    NB_TRY(nb_sizes_sayable(hp, err));
    nb_sizes_to_hf(hp, "StableLmForCausalLM", "stablelm", s);
    nb_config_put_real(s, "layer_norm_eps", hp->norm_eps);
    nb_str_puts(s, "  \"hidden_act\": \"silu\",\n");
    nb_config_put_bool(s, "use_qkv_bias", hp->bias_q);
    nb_config_put_bool(s, "use_parallel_residual", hp->parallel);
    nb_config_put_bool(s, "qk_layernorm", false);
    nb_config_put_bool(s, "tie_word_embeddings", hp->tied);
    return nb_rope_to_hf(hp, s, err);
}

/* A file may claim parallel blocks that it has not: the second norm tells. */
static void detect(struct nb_hparams *hp, nb_has_fn *has, void *ctx)
{
    set_parallel(hp, !has(ctx, "blk.0.ffn_norm.weight"));
}

static const struct nb_hf_key hf_keys[] = {
    {"head_dim", NULL},
    {NULL, NULL},
};
static const char *const hf_classes[] = {"StableLmForCausalLM", NULL};

const struct nb_arch nb_arch_stablelm = {
    .name = "stablelm",
    .summary = "StableLM: Llama with layer norms, a quarter of each head turns",
    .hf_classes = hf_classes,
    .ignored = nb_ignored_rotary,
    .hf_keys = hf_keys,
    .rope_halves_gguf = true,
    .rope = &rope,
    .init = init,
    .detect = detect,
    .from_hf = from_hf,
    .to_hf = to_hf,
};
