/* model/decoder_graph.c: a transformer as a graph, from its numbers and switches (struct nb_hparams).
 *
 *   h += O(attention(rope(Q n), rope(K n), V n)),  n = norm1 h      (Vaswani et al. 2017; Su et al. 2021)
 *   h += D(act(G n) * (U n)),                      n = norm2 h      (Shazeer 2020)
 *   logits = head(norm h)
 *
 * Mixtures of experts (Shazeer et al. 2017): the second line is a sum over k of E feed-forwards, and one
 * that all tokens meet, times a sigmoid (Qwen2-MoE).
 *
 * What differs between architectures is a switch: where norms stand, fused matrices, biases, windows,
 * caps, factors. Grouped query heads; the head tied to the embedding or of its own. An encoder adds
 * before it normalizes and gives hidden states.
 * Inputs: "tokens" (T), "rope.freqs" and, where windowed layers rotate otherwise, "rope.freqs_local".
 * Output: "logits" (R, n_vocab), or "hidden" (R, n_embd). A part (struct nb_model_part) reads "hidden.in" (T, n_embd)
 * in place of embeddings, or gives "hidden" (T, n_embd) in place of what follows the blocks.
 */
#include "model/model_internal.h"

#include <math.h>
#include <stdio.h>

struct builder {
    const struct nb_hparams *hp;
    struct nb_graph *g;
    int32_t block;
    uint32_t tokens, table, table_local; /* inputs of all blocks; 0: none */
};

/* "blk.3.<what>", or what itself outside the blocks. */
static void full_name(const struct builder *b, char out[NB_NAME_BYTES], const char *what)
{
    if (b->block == NB_NO_BLOCK)
        (void)snprintf(out, NB_NAME_BYTES, "%s", what);
    else
        (void)snprintf(out, NB_NAME_BYTES, "blk.%d.%s", (int)b->block, what);
}

static uint32_t weight(const struct builder *b, const char *what, const char *suffix, uint64_t rows,
                       uint64_t cols)
{
    char stem[NB_NAME_BYTES], name[2 * NB_NAME_BYTES];
    full_name(b, stem, what);
    (void)snprintf(name, sizeof name, "%s.%s", stem, suffix);
    return nb_graph_weight(b->g, name, rows, cols, b->block);
}

/* One node named what, its output given back. */
static uint32_t node(const struct builder *b, struct nb_node_args args, const char *what)
{
    char name[NB_NAME_BYTES];
    full_name(b, name, what);
    args.block = b->block;
    args.name = name;
    return nb_graph_add(b->g, &args);
}

static uint32_t add_node(const struct builder *b, const struct nb_op *op, uint32_t x, uint32_t y,
                         const char *what)
{
    return node(b, (struct nb_node_args){.op = op, .in = {x, y}}, what);
}

/* An operator with one real attribute. */
static uint32_t real_node(const struct builder *b, const struct nb_op *op, uint32_t x,
                          const char *attr, float value, const char *what)
{
    const struct nb_attr attrs[] = {NB_ATTR_REAL(attr, value)};
    return node(b, (struct nb_node_args){.op = op, .in = {x}, .attrs = attrs, .n_attrs = 1}, what);
}

static uint32_t scaled(const struct builder *b, uint32_t x, float factor, const char *what)
{
    return factor == 1.0F ? x : real_node(b, &nb_op_scale, x, "factor", factor, what);
}

/* what: the stem of the weight; n: its length. */
static uint32_t norm(const struct builder *b, uint32_t x, uint64_t n, const char *what)
{
    const bool layer = b->hp->norm == NB_NORM_LAYER;
    const struct nb_attr attrs[] = {NB_ATTR_REAL("eps", b->hp->norm_eps)};
    const uint32_t w = weight(b, what, "weight", 0, n);
    const uint32_t bias = layer && b->hp->norm_bias ? weight(b, what, "bias", 0, n) : 0;
    return node(b,
                (struct nb_node_args){.op = layer ? &nb_op_layer_norm : &nb_op_rms_norm,
                                      .in = {x, w, bias},
                                      .attrs = attrs,
                                      .n_attrs = 1},
                what);
}

static uint32_t norm_if(const struct builder *b, unsigned which, uint32_t x, const char *what)
{
    return b->hp->norms & which ? norm(b, x, b->hp->n_embd, what) : x;
}

static uint32_t linear(const struct builder *b, uint32_t x, const char *what, uint64_t rows,
                       uint64_t cols, bool bias)
{
    const uint32_t w = weight(b, what, "weight", rows, cols);
    const uint32_t add = bias ? weight(b, what, "bias", 0, rows) : 0;
    return node(b, (struct nb_node_args){.op = &nb_op_linear, .in = {x, w, add}}, what);
}

static uint32_t columns(const struct builder *b, uint32_t x, uint64_t first, uint64_t count,
                        const char *what)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("first", first), NB_ATTR_INT("count", count)};
    return node(
        b, (struct nb_node_args){.op = &nb_op_columns, .in = {x}, .attrs = attrs, .n_attrs = 2},
        what);
}

/* ---- attention ---- */

static bool windowed(const struct builder *b)
{
    return b->hp->window > 0 && nb_layers_has(&b->hp->windowed, (uint32_t)b->block);
}

/* "halves" is set when the weights are known: it is a matter of the file they came from. A layer that
 * does not rotate still brings its pairs into place, for files hold them in two ways. */
static uint32_t rope(const struct builder *b, uint32_t x, uint32_t heads, const char *what)
{
    const bool local = b->table_local != 0 && nb_layers_has(&b->hp->windowed, (uint32_t)b->block);
    uint32_t table = local ? b->table_local : b->table;
    if (table == 0)
        return x;
    if (nb_layers_has(&b->hp->unrotated, (uint32_t)b->block))
        table = 0;
    const struct nb_attr attrs[] = {NB_ATTR_INT("heads", heads), NB_ATTR_INT("halves", 0)};
    return node(
        b, (struct nb_node_args){.op = &nb_op_rope, .in = {x, table}, .attrs = attrs, .n_attrs = 2},
        what);
}

static uint32_t cache(const struct builder *b, const char *what)
{
    const enum nb_sym positions = windowed(b) ? NB_SYM_WINDOW : NB_SYM_CACHE;
    char name[NB_NAME_BYTES];
    full_name(b, name, what);
    return nb_graph_value(b->g, &(struct nb_value){.name = name,
                                                   .kind = NB_VALUE_STATE,
                                                   .type = NB_VALUE_STORED,
                                                   .rank = 3,
                                                   .dim = {nb_dim_const(b->hp->n_kv_heads),
                                                           {.n = 1, .sym = positions},
                                                           nb_dim_const(b->hp->head_dim)},
                                                   .block = b->block});
}

struct qkv {
    uint32_t q, k, v;
};

static struct qkv project(const struct builder *b, uint32_t n)
{
    const struct nb_hparams *hp = b->hp;
    const uint64_t q = (uint64_t)hp->n_heads * hp->head_dim;
    const uint64_t kv = (uint64_t)hp->n_kv_heads * hp->head_dim;
    if (!hp->fused_qkv)
        return (struct qkv){linear(b, n, "attn_q", q, hp->n_embd, hp->bias_q),
                            linear(b, n, "attn_k", kv, hp->n_embd, hp->bias_k),
                            linear(b, n, "attn_v", kv, hp->n_embd, hp->bias_v)};
    const uint32_t all = linear(b, n, "attn_qkv", q + 2 * kv, hp->n_embd, hp->bias_q);
    return (struct qkv){columns(b, all, 0, q, "q"), columns(b, all, q, kv, "k"),
                        columns(b, all, q + kv, kv, "v")};
}

static void norm_qk(const struct builder *b, struct qkv *x)
{
    const struct nb_hparams *hp = b->hp;
    const bool heads = (hp->norms & NB_NORM_HEADS) != 0;
    if ((hp->norms & (NB_NORM_HEADS | NB_NORM_QK)) == 0)
        return;
    x->q = norm(b, x->q, hp->head_dim * (heads ? 1 : (uint64_t)hp->n_heads), "attn_q_norm");
    x->k = norm(b, x->k, hp->head_dim * (heads ? 1 : (uint64_t)hp->n_kv_heads), "attn_k_norm");
}

static uint32_t attend(const struct builder *b, uint32_t q, uint32_t keys, uint32_t values)
{
    const struct nb_hparams *hp = b->hp;
    const struct nb_attr attrs[] = {
        NB_ATTR_INT("heads", hp->n_heads),
        NB_ATTR_REAL("scale", hp->attn_scale > 0.0F ? (double)hp->attn_scale
                                                    : 1.0 / sqrt((double)hp->head_dim)),
        NB_ATTR_INT("window", windowed(b) ? hp->window : 0),
        NB_ATTR_REAL("softcap", hp->attn_softcap), NB_ATTR_INT("causal", !hp->encoder)};
    return node(b,
                (struct nb_node_args){.op = &nb_op_attention,
                                      .in = {q, keys, values},
                                      .attrs = attrs,
                                      .n_attrs = NB_COUNTOF(attrs)},
                "attn");
}

static uint32_t attention(const struct builder *b, uint32_t n)
{
    const struct nb_hparams *hp = b->hp;
    const uint64_t q_dim = (uint64_t)hp->n_heads * hp->head_dim;
    struct qkv x = project(b, n);
    norm_qk(b, &x);
    x.q = rope(b, x.q, hp->n_heads, "q_rope");
    x.k = rope(b, x.k, hp->n_kv_heads, "k_rope");
    const uint32_t keys = cache(b, "cache_k"), values = cache(b, "cache_v");
    (void)nb_graph_add(b->g, &(struct nb_node_args){.op = &nb_op_kv_store,
                                                    .in = {x.k, x.v},
                                                    .state = {keys, values},
                                                    .block = b->block});
    uint32_t y = attend(b, x.q, keys, values);
    if (hp->norms & NB_NORM_SUB)
        y = norm(b, y, q_dim, "attn_sub_norm");
    y = linear(b, y, "attn_output", hp->n_embd, q_dim, hp->bias_o);
    y = norm_if(b, NB_NORM_ATTN_POST, y, "post_attention_norm");
    return scaled(b, y, hp->residual_scale, "attn_scaled");
}

/* ---- feed-forward ---- */

static uint32_t activated(const struct builder *b, uint32_t gate, uint32_t up)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("act", b->hp->act)};
    return node(b,
                (struct nb_node_args){.op = up == 0 ? &nb_op_act : &nb_op_glu,
                                      .in = {gate, up},
                                      .attrs = attrs,
                                      .n_attrs = 1},
                "ffn_act");
}

static uint32_t experts(const struct builder *b, uint32_t x, uint32_t ids, const char *what,
                        uint64_t rows, uint64_t cols)
{
    char stem[NB_NAME_BYTES], name[2 * NB_NAME_BYTES];
    full_name(b, stem, what);
    (void)snprintf(name, sizeof name, "%s.weight", stem);
    const uint32_t w = nb_graph_experts(b->g, name, b->hp->n_experts, rows, cols, b->block);
    return node(b, (struct nb_node_args){.op = &nb_op_expert_linear, .in = {x, w, ids}}, what);
}

static uint32_t top_k(const struct builder *b, uint32_t logits, uint32_t k, uint32_t used,
                      enum nb_gate gate, bool normalize, const char *what)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("k", k), NB_ATTR_INT("used", used),
                                    NB_ATTR_INT("gate", gate), NB_ATTR_INT("normalize", normalize)};
    return node(
        b,
        (struct nb_node_args){
            .op = &nb_op_top_k, .in = {logits}, .attrs = attrs, .n_attrs = NB_COUNTOF(attrs)},
        what);
}

/* The feed-forward that all tokens meet, weighed by a sigmoid: a choice of one out of one. */
static uint32_t shared_expert(const struct builder *b, uint32_t n)
{
    const struct nb_hparams *hp = b->hp;
    const uint64_t ff = hp->n_ff_shared, embd = hp->n_embd;
    const uint32_t gate = linear(b, n, "ffn_gate_shexp", ff, embd, false);
    const uint32_t y = activated(b, gate, linear(b, n, "ffn_up_shexp", ff, embd, false));
    const uint32_t out = linear(b, y, "ffn_down_shexp", embd, ff, false);
    const uint32_t score = linear(b, n, "ffn_gate_inp_shexp", 0, embd, false);
    const uint32_t w = top_k(b, score, 1, 1, NB_GATE_SIGMOID, false, "ffn_shared_weight");
    return add_node(b, &nb_op_expert_sum, out, w, "ffn_shared");
}

static uint32_t mixture(const struct builder *b, uint32_t n)
{
    const struct nb_hparams *hp = b->hp;
    const uint64_t ff = hp->n_ff_expert, embd = hp->n_embd;
    const uint32_t scores = linear(b, n, "ffn_gate_inp", hp->n_experts, embd, false);
    const uint32_t k = hp->all_experts ? hp->n_experts : hp->n_experts_used;
    const uint32_t w =
        top_k(b, scores, k, hp->n_experts_used, hp->expert_gate, hp->expert_norm, "ffn_weights");
    const uint32_t ids = nb_graph_second(b->g, w);
    const uint32_t gate = experts(b, n, ids, "ffn_gate_exps", ff, embd);
    const uint32_t y = activated(b, gate, experts(b, n, ids, "ffn_up_exps", ff, embd));
    const uint32_t out = experts(b, y, ids, "ffn_down_exps", embd, ff);
    const uint32_t sum = add_node(b, &nb_op_expert_sum, out, w, "ffn_experts");
    if (hp->n_ff_shared == 0)
        return sum;
    return add_node(b, &nb_op_add, sum, shared_expert(b, n), "ffn_all");
}

static uint32_t dense_mlp(const struct builder *b, uint32_t n)
{
    const struct nb_hparams *hp = b->hp;
    const uint64_t ff = hp->n_ff, rows = hp->fused_gate_up ? 2 * ff : ff;
    const bool bias = hp->bias_mlp;
    uint32_t gate = 0;
    if (hp->gated && !hp->fused_gate_up)
        gate = linear(b, n, "ffn_gate", ff, hp->n_embd, bias);
    uint32_t up = linear(b, n, "ffn_up", rows, hp->n_embd, bias);
    if (hp->fused_gate_up) {
        gate = columns(b, up, 0, ff, "gate");
        up = columns(b, up, ff, ff, "up");
    }
    uint32_t y = hp->gated ? activated(b, gate, up) : activated(b, up, 0);
    if (hp->norms & NB_NORM_SUB)
        y = norm(b, y, ff, "ffn_sub_norm");
    return linear(b, y, "ffn_down", hp->n_embd, ff, bias);
}

static uint32_t mlp(const struct builder *b, uint32_t n)
{
    const struct nb_hparams *hp = b->hp;
    uint32_t y = nb_has_experts(hp, (uint32_t)b->block) ? mixture(b, n) : dense_mlp(b, n);
    y = norm_if(b, NB_NORM_FFN_POST, y, "post_ffw_norm");
    return scaled(b, y, hp->residual_scale, "ffn_scaled");
}

static uint32_t block(const struct builder *b, uint32_t h)
{
    const uint32_t n = norm_if(b, NB_NORM_ATTN, h, "attn_norm");
    const uint32_t a = attention(b, n);
    if (b->hp->parallel) { /* where it has no norm of its own feed-forward reads attention's */
        const bool own = (b->hp->norms & NB_NORM_FFN) != 0;
        const uint32_t f = mlp(b, own ? norm(b, h, b->hp->n_embd, "ffn_norm") : n);
        return add_node(b, &nb_op_add, add_node(b, &nb_op_add, h, a, "attn_res"), f, "ffn_res");
    }
    h = norm_if(b, NB_NORM_SUM, add_node(b, &nb_op_add, h, a, "attn_res"), "attn_output_norm");
    const uint32_t f = mlp(b, norm_if(b, NB_NORM_FFN, h, "ffn_norm"));
    return norm_if(b, NB_NORM_SUM, add_node(b, &nb_op_add, h, f, "ffn_res"), "layer_output_norm");
}

/* ---- before and behind the blocks ---- */

static uint32_t table(const struct builder *b, const struct nb_rope *r, const char *freqs,
                      const char *what)
{
    if (r->dim == 0)
        return 0;
    const uint32_t f = nb_graph_value(b->g, &(struct nb_value){.name = freqs,
                                                               .kind = NB_VALUE_INPUT,
                                                               .type = NB_VALUE_F64,
                                                               .rank = 1,
                                                               .dim = {nb_dim_const(r->dim / 2)},
                                                               .block = NB_NO_BLOCK});
    const struct nb_attr scale = NB_ATTR_REAL("scale", 1); /* the session knows it */
    return node(b,
                (struct nb_node_args){
                    .op = &nb_op_rope_table, .in = {b->tokens, f}, .attrs = &scale, .n_attrs = 1},
                what);
}

static uint32_t embed(const struct builder *b)
{
    const struct nb_hparams *hp = b->hp;
    const uint32_t w = weight(b, "token_embd", "weight", hp->n_vocab, hp->n_embd);
    uint32_t h = add_node(b, &nb_op_embed, b->tokens, w, "embd");
    h = scaled(b, h, hp->embd_scale, "embd_scaled");
    if (hp->n_token_types > 0)
        h = add_node(b, &nb_op_add_row, h,
                     weight(b, "token_types", "weight", hp->n_token_types, hp->n_embd),
                     "embd_type");
    if (hp->positions) {
        const uint32_t p = weight(b, "position_embd", "weight", hp->n_ctx_train, hp->n_embd);
        h = add_node(b, &nb_op_add, h, add_node(b, &nb_op_embed_position, b->tokens, p, "position"),
                     "embd_position");
    }
    return hp->embd_norm ? norm(b, h, hp->n_embd, "token_embd_norm") : h;
}

/* The rows that are wanted, as the head reads them. */
static uint32_t last(const struct builder *b, uint32_t h)
{
    h = add_node(b, &nb_op_tail, h, 0, "wanted");
    return b->hp->encoder ? h : norm(b, h, b->hp->n_embd, "output_norm");
}

static uint32_t head(const struct builder *b, uint32_t h)
{
    const struct nb_hparams *hp = b->hp;
    const uint32_t w =
        weight(b, hp->tied ? "token_embd" : "output", "weight", hp->n_vocab, hp->n_embd);
    const uint32_t bias = hp->bias_head ? weight(b, "output", "bias", 0, hp->n_vocab) : 0;
    uint32_t y = node(b, (struct nb_node_args){.op = &nb_op_linear, .in = {h, w, bias}}, "output");
    y = scaled(b, y, hp->logit_divides ? 1.0F / hp->logit_scale : hp->logit_scale, "logits_scaled");
    if (hp->logit_softcap > 0.0F)
        y = real_node(b, &nb_op_softcap, y, "cap", hp->logit_softcap, "logits_capped");
    return y;
}

/* ---- the whole ---- */

static enum nb_status check_rope(const struct nb_hparams *hp, const struct nb_rope *r,
                                 struct nb_error *err)
{
    if (r->dim % 2 != 0 || r->dim > hp->head_dim)
        NB_FAIL(err, NB_ERR_FORMAT,
                "%s: %u rotated dimensions; expected an even number up to the head dimension %u",
                hp->arch->name, r->dim, hp->head_dim);
    return NB_OK;
}

static enum nb_status check(const struct nb_hparams *hp, struct nb_error *err)
{
    if (hp->n_layers == 0 || hp->n_embd == 0 || hp->n_ff == 0 || hp->n_vocab == 0 ||
        hp->n_heads == 0 || hp->n_kv_heads == 0 || hp->head_dim == 0 ||
        hp->n_layers > NB_MAX_LAYERS)
        NB_FAIL(err, NB_ERR_FORMAT,
                "%s: layers %u, embedding %u, ff %u, vocabulary %u, heads %u, kv heads %u, head "
                "dimension %u: none may be 0",
                hp->arch->name, hp->n_layers, hp->n_embd, hp->n_ff, hp->n_vocab, hp->n_heads,
                hp->n_kv_heads, hp->head_dim);
    if (hp->n_heads % hp->n_kv_heads != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: %u heads are no multiple of %u kv heads", hp->arch->name,
                hp->n_heads, hp->n_kv_heads);
    NB_TRY(check_rope(hp, &hp->rope, err));
    NB_TRY(nb_experts_check(hp, hp->arch->name, err));
    return check_rope(hp, &hp->rope_local, err);
}

static enum nb_status check_part(const struct nb_hparams *hp, const struct nb_model_part *p,
                                 struct nb_error *err)
{
    const uint32_t n = hp->n_layers;
    if (!p->from_hidden && p->first_block != 0)
        NB_FAIL(err, NB_ERR_ARG, "%s: a part from block %u on needs hidden states, not tokens",
                hp->arch->name, p->first_block);
    if (p->first_block > n || (p->to_hidden && p->n_blocks > n - p->first_block))
        NB_FAIL(err, NB_ERR_ARG, "%s: %u blocks from block %u on; the model has %u", hp->arch->name,
                p->to_hidden ? p->n_blocks : 0, p->first_block, n);
    if (p->from_hidden && p->to_hidden && p->n_blocks == 0)
        NB_FAIL(err, NB_ERR_ARG, "%s: a part of no blocks from hidden to hidden states",
                hp->arch->name);
    return NB_OK;
}

static uint32_t input(const struct builder *b, const char *name, enum nb_value_type type,
                      uint64_t cols)
{
    return nb_graph_value(b->g, &(struct nb_value){.name = name,
                                                   .kind = NB_VALUE_INPUT,
                                                   .type = type,
                                                   .rank = cols ? 2 : 1,
                                                   .dim = {{.n = 1, .sym = NB_SYM_TOKENS},
                                                           nb_dim_const(cols ? cols : 1)},
                                                   .block = NB_NO_BLOCK});
}

enum nb_status nb_arch_build_part(const struct nb_hparams *hp, const struct nb_model_part *part,
                                  struct nb_graph *g, struct nb_error *err)
{
    struct builder b = {.hp = hp, .g = g, .block = NB_NO_BLOCK};
    NB_TRY(check(hp, err));
    NB_TRY(check_part(hp, part, err));
    const uint32_t first = part->first_block;
    const uint32_t n = part->to_hidden ? part->n_blocks : hp->n_layers - first;
    b.tokens = input(&b, "tokens", NB_VALUE_U32, 0);
    if (n > 0) {
        b.table = table(&b, &hp->rope, "rope.freqs", "rope_table");
        b.table_local = table(&b, &hp->rope_local, "rope.freqs_local", "rope_table_local");
    }
    uint32_t h = part->from_hidden ? input(&b, "hidden.in", NB_VALUE_F32, hp->n_embd) : embed(&b);
    for (uint32_t i = first; i < first + n && g->status == NB_OK; i++) {
        b.block = (int32_t)i;
        h = block(&b, h);
    }
    b.block = NB_NO_BLOCK;
    if (!part->to_hidden)
        h = last(&b, h);
    if (part->to_hidden || part->hidden || hp->encoder)
        nb_graph_output(g, h, "hidden");
    else
        nb_graph_output(g, head(&b, h), "logits");
    return nb_graph_check(g, err);
}

enum nb_status nb_arch_build(const struct nb_hparams *hp, bool hidden, struct nb_graph *g,
                             struct nb_error *err)
{
    const struct nb_model_part whole = {.hidden = hidden};
    return nb_arch_build_part(hp, &whole, g, err);
}
