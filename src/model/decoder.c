/* model/decoder.c: the tensors of a transformer, from its numbers and switches.
 *
 * Names, shapes and order are GGUF's (docs/formats/gguf.md); decoder_graph.c reads the same switches.
 * The name in a Hugging Face checkpoint comes from the architecture's table, else from the one that most
 * share.
 */
#include "model/model_internal.h"

#include <stdio.h>
#include <string.h>

/* Llama's names, which most architectures took over. */
static const struct nb_hf_name common[] = {
    {"token_embd", "model.embed_tokens", NB_HF_PLAIN},
    {"output_norm", "model.norm", NB_HF_PLAIN},
    {"output", "lm_head", NB_HF_PLAIN},
    {"attn_norm", "model.layers.{}.input_layernorm", NB_HF_PLAIN},
    {"attn_q", "model.layers.{}.self_attn.q_proj", NB_HF_PLAIN},
    {"attn_k", "model.layers.{}.self_attn.k_proj", NB_HF_PLAIN},
    {"attn_v", "model.layers.{}.self_attn.v_proj", NB_HF_PLAIN},
    {"attn_qkv", "model.layers.{}.self_attn.qkv_proj", NB_HF_PLAIN},
    {"attn_q_norm", "model.layers.{}.self_attn.q_norm", NB_HF_PLAIN},
    {"attn_k_norm", "model.layers.{}.self_attn.k_norm", NB_HF_PLAIN},
    {"attn_output", "model.layers.{}.self_attn.o_proj", NB_HF_PLAIN},
    {"ffn_norm", "model.layers.{}.post_attention_layernorm", NB_HF_PLAIN},
    {"ffn_gate", "model.layers.{}.mlp.gate_proj", NB_HF_PLAIN},
    {"ffn_up", "model.layers.{}.mlp.up_proj", NB_HF_PLAIN},
    {"ffn_down", "model.layers.{}.mlp.down_proj", NB_HF_PLAIN},
    {"ffn_gate_inp", "model.layers.{}.mlp.gate", NB_HF_PLAIN},
    {"ffn_gate_exps", "model.layers.{}.mlp.experts.{}.gate_proj", NB_HF_EXPERTS},
    {"ffn_up_exps", "model.layers.{}.mlp.experts.{}.up_proj", NB_HF_EXPERTS},
    {"ffn_down_exps", "model.layers.{}.mlp.experts.{}.down_proj", NB_HF_EXPERTS},
    {"ffn_gate_inp_shexp", "model.layers.{}.mlp.shared_expert_gate", NB_HF_ROW},
    {"ffn_gate_shexp", "model.layers.{}.mlp.shared_expert.gate_proj", NB_HF_PLAIN},
    {"ffn_up_shexp", "model.layers.{}.mlp.shared_expert.up_proj", NB_HF_PLAIN},
    {"ffn_down_shexp", "model.layers.{}.mlp.shared_expert.down_proj", NB_HF_PLAIN},
    {NULL, NULL, NB_HF_PLAIN},
};

const char *const nb_ignored_rotary[] = {".rotary_emb.inv_freq", NULL};

static const struct nb_hf_name *find_name(const struct nb_hf_name *table, const char *stem)
{
    for (; table != NULL && table->stem != NULL; table++)
        if (strcmp(table->stem, stem) == 0)
            return table;
    return NULL;
}

const char *nb_arch_hf_stem(const struct nb_arch *arch, const char *stem)
{
    const struct nb_hf_name *n = find_name(arch->hf_names, stem);
    if (n == NULL)
        n = find_name(common, stem);
    return n == NULL ? NULL : n->hf;
}

struct emitter {
    const struct nb_hparams *hp;
    nb_spec_fn *emit;
    void *ctx;
    int32_t block;
};

/* "model.layers.{}.mlp.up_proj" -> "model.layers.3.mlp.up_proj.weight"; empty when nobody names it. */
static void hf_name(const struct emitter *e, struct nb_tensor_spec *s, const char *stem,
                    const char *suffix)
{
    const struct nb_hf_name *n = find_name(e->hp->arch->hf_names, stem);
    if (n == NULL)
        n = find_name(common, stem);
    if (n == NULL)
        return;
    const char *hole = strstr(n->hf, "{}");
    if (hole == NULL)
        (void)snprintf(s->hf, sizeof s->hf, "%s.%s", n->hf, suffix);
    else
        (void)snprintf(s->hf, sizeof s->hf, "%.*s%d%s.%s", (int)(hole - n->hf), n->hf,
                       (int)e->block, hole + 2, suffix);
    s->form = n->form == NB_HF_TRANSPOSED && s->shape.n != 2 ? NB_HF_PLAIN : n->form;
}

static void set_form(const struct emitter *e, struct nb_tensor_spec *s, const char *stem)
{
    const struct nb_hparams *hp = e->hp;
    const bool q = strcmp(stem, "attn_q") == 0, k = strcmp(stem, "attn_k") == 0;
    if ((q || k) && !hp->arch->rope_halves_gguf && !hp->arch->rope_pairs_hf)
        s->form = NB_HF_PAIRS;
    if (s->role == NB_ROLE_NORM && hp->norm_minus_one)
        s->form = NB_HF_MINUS_ONE;
    if (s->form == NB_HF_PAIRS)
        s->heads = q ? hp->n_heads : hp->n_kv_heads;
    else if (s->form == NB_HF_QKV)
        s->heads = hp->n_heads;
    if (hp->position_skip > 0 && strcmp(stem, "position_embd") == 0) {
        s->form = NB_HF_TAIL;
        s->heads = hp->position_skip;
    }
}

static enum nb_status emit_shape(const struct emitter *e, const char *stem, const char *suffix,
                                 enum nb_role role, struct nb_shape shape)
{
    struct nb_tensor_spec s = {.role = role, .block = e->block, .required = true, .shape = shape};
    s.quantizable = shape.n > 1 && role != NB_ROLE_POSITION && role != NB_ROLE_ROUTER;
    if (e->block < 0)
        (void)snprintf(s.name, sizeof s.name, "%s.%s", stem, suffix);
    else
        (void)snprintf(s.name, sizeof s.name, "blk.%d.%s.%s", (int)e->block, stem, suffix);
    hf_name(e, &s, stem, suffix);
    set_form(e, &s, stem);
    return e->emit(e->ctx, &s);
}

/* A matrix (rows, cols), or a vector when cols == 0: "blk.3.<stem>.<suffix>". */
static enum nb_status emit(const struct emitter *e, const char *stem, const char *suffix,
                           enum nb_role role, uint64_t rows, uint64_t cols)
{
    return emit_shape(e, stem, suffix, role, cols == 0 ? nb_shape_1(rows) : nb_shape_2(rows, cols));
}

static enum nb_status experts(const struct emitter *e, const char *stem, enum nb_role role,
                              uint64_t rows, uint64_t cols)
{
    return emit_shape(e, stem, "weight", role,
                      (struct nb_shape){3, {e->hp->n_experts, rows, cols}});
}

static enum nb_status matrix(const struct emitter *e, const char *stem, enum nb_role role,
                             uint64_t rows, uint64_t cols, bool bias)
{
    NB_TRY(emit(e, stem, "weight", role, rows, cols));
    return bias ? emit(e, stem, "bias", NB_ROLE_BIAS, rows, 0) : NB_OK;
}

static enum nb_status norm(const struct emitter *e, unsigned which, const char *stem, uint64_t n)
{
    if ((e->hp->norms & which) == 0)
        return NB_OK;
    NB_TRY(emit(e, stem, "weight", NB_ROLE_NORM, n, 0));
    return e->hp->norm_bias ? emit(e, stem, "bias", NB_ROLE_BIAS, n, 0) : NB_OK;
}

static enum nb_status emit_qkv(const struct emitter *e)
{
    const struct nb_hparams *hp = e->hp;
    const uint64_t embd = hp->n_embd, q = (uint64_t)hp->n_heads * hp->head_dim;
    const uint64_t kv = (uint64_t)hp->n_kv_heads * hp->head_dim;
    if (hp->fused_qkv)
        return matrix(e, "attn_qkv", NB_ROLE_ATTN_QKV, q + 2 * kv, embd, hp->bias_q);
    NB_TRY(matrix(e, "attn_q", NB_ROLE_ATTN_Q, q, embd, hp->bias_q));
    NB_TRY(matrix(e, "attn_k", NB_ROLE_ATTN_K, kv, embd, hp->bias_k));
    return matrix(e, "attn_v", NB_ROLE_ATTN_V, kv, embd, hp->bias_v);
}

static enum nb_status emit_attention(const struct emitter *e)
{
    const struct nb_hparams *hp = e->hp;
    const uint64_t q = (uint64_t)hp->n_heads * hp->head_dim;
    const uint64_t kv = (uint64_t)hp->n_kv_heads * hp->head_dim;
    const bool heads = (hp->norms & NB_NORM_HEADS) != 0;
    NB_TRY(norm(e, NB_NORM_ATTN, "attn_norm", hp->n_embd));
    NB_TRY(emit_qkv(e));
    NB_TRY(norm(e, NB_NORM_HEADS | NB_NORM_QK, "attn_q_norm", heads ? hp->head_dim : q));
    NB_TRY(norm(e, NB_NORM_HEADS | NB_NORM_QK, "attn_k_norm", heads ? hp->head_dim : kv));
    NB_TRY(norm(e, NB_NORM_SUB, "attn_sub_norm", q));
    NB_TRY(matrix(e, "attn_output", NB_ROLE_ATTN_OUT, hp->n_embd, q, hp->bias_o));
    NB_TRY(norm(e, NB_NORM_SUM, "attn_output_norm", hp->n_embd));
    return norm(e, NB_NORM_ATTN_POST, "post_attention_norm", hp->n_embd);
}

static enum nb_status emit_experts(const struct emitter *e)
{
    const struct nb_hparams *hp = e->hp;
    const uint64_t embd = hp->n_embd, ff = hp->n_ff_expert, shared = hp->n_ff_shared;
    NB_TRY(emit(e, "ffn_gate_inp", "weight", NB_ROLE_ROUTER, hp->n_experts, embd));
    NB_TRY(experts(e, "ffn_gate_exps", NB_ROLE_FFN_GATE, ff, embd));
    NB_TRY(experts(e, "ffn_up_exps", NB_ROLE_FFN_UP, ff, embd));
    NB_TRY(experts(e, "ffn_down_exps", NB_ROLE_FFN_DOWN, embd, ff));
    if (shared == 0)
        return NB_OK;
    NB_TRY(emit(e, "ffn_gate_inp_shexp", "weight", NB_ROLE_ROUTER, embd, 0));
    NB_TRY(emit(e, "ffn_gate_shexp", "weight", NB_ROLE_FFN_GATE, shared, embd));
    NB_TRY(emit(e, "ffn_up_shexp", "weight", NB_ROLE_FFN_UP, shared, embd));
    return emit(e, "ffn_down_shexp", "weight", NB_ROLE_FFN_DOWN, embd, shared);
}

static enum nb_status emit_ffn(const struct emitter *e)
{
    const struct nb_hparams *hp = e->hp;
    const uint64_t embd = hp->n_embd, ff = hp->n_ff;
    NB_TRY(norm(e, NB_NORM_FFN, "ffn_norm", embd));
    if (nb_has_experts(hp, (uint32_t)e->block))
        return emit_experts(e);
    if (hp->gated && !hp->fused_gate_up)
        NB_TRY(matrix(e, "ffn_gate", NB_ROLE_FFN_GATE, ff, embd, hp->bias_mlp));
    NB_TRY(
        matrix(e, "ffn_up", NB_ROLE_FFN_UP, hp->fused_gate_up ? 2 * ff : ff, embd, hp->bias_mlp));
    NB_TRY(norm(e, NB_NORM_SUB, "ffn_sub_norm", ff));
    NB_TRY(matrix(e, "ffn_down", NB_ROLE_FFN_DOWN, embd, ff, hp->bias_mlp));
    NB_TRY(norm(e, NB_NORM_SUM, "layer_output_norm", embd));
    return norm(e, NB_NORM_FFN_POST, "post_ffw_norm", embd);
}

static enum nb_status emit_embeddings(const struct emitter *e)
{
    const struct nb_hparams *hp = e->hp;
    NB_TRY(nb_rope_specs(hp, e->emit, e->ctx));
    NB_TRY(emit(e, "token_embd", "weight", NB_ROLE_EMBED, hp->n_vocab, hp->n_embd));
    if (hp->positions)
        NB_TRY(emit(e, "position_embd", "weight", NB_ROLE_POSITION, hp->n_ctx_train, hp->n_embd));
    if (hp->n_token_types > 0)
        NB_TRY(emit(e, "token_types", "weight", NB_ROLE_POSITION, hp->n_token_types, hp->n_embd));
    if (!hp->embd_norm)
        return NB_OK;
    NB_TRY(emit(e, "token_embd_norm", "weight", NB_ROLE_NORM, hp->n_embd, 0));
    return hp->norm_bias ? emit(e, "token_embd_norm", "bias", NB_ROLE_BIAS, hp->n_embd, 0) : NB_OK;
}

enum nb_status nb_arch_tensors(const struct nb_hparams *hp, nb_spec_fn *fn, void *ctx)
{
    struct emitter e = {.hp = hp, .emit = fn, .ctx = ctx, .block = -1};
    NB_TRY(emit_embeddings(&e));
    for (uint32_t i = 0; i < hp->n_layers; i++) {
        e.block = (int32_t)i;
        NB_TRY(emit_attention(&e));
        NB_TRY(emit_ffn(&e));
    }
    e.block = -1;
    if (hp->encoder)
        return NB_OK;
    NB_TRY(emit(&e, "output_norm", "weight", NB_ROLE_NORM, hp->n_embd, 0));
    if (hp->norm_bias)
        NB_TRY(emit(&e, "output_norm", "bias", NB_ROLE_BIAS, hp->n_embd, 0));
    if (!hp->tied)
        NB_TRY(emit(&e, "output", "weight", NB_ROLE_HEAD, hp->n_vocab, hp->n_embd));
    return hp->bias_head ? emit(&e, "output", "bias", NB_ROLE_BIAS, hp->n_vocab, 0) : NB_OK;
}

void nb_arch_detect(struct nb_hparams *hp, nb_has_fn *has, void *ctx)
{
    hp->tied = !hp->encoder && !has(ctx, "output.weight");
    hp->fused_qkv = has(ctx, "blk.0.attn_qkv.weight");
    hp->bias_q = has(ctx, hp->fused_qkv ? "blk.0.attn_qkv.bias" : "blk.0.attn_q.bias");
    hp->bias_k = has(ctx, "blk.0.attn_k.bias");
    hp->bias_v = has(ctx, "blk.0.attn_v.bias");
    hp->bias_o = has(ctx, "blk.0.attn_output.bias");
    hp->bias_mlp = has(ctx, "blk.0.ffn_up.bias");
    hp->bias_head = has(ctx, "output.bias");
    nb_rope_detect(hp, has, ctx);
    nb_experts_detect(hp, has, ctx);
    if (hp->arch->detect != NULL)
        hp->arch->detect(hp, has, ctx);
}
