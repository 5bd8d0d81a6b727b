/* model/llama_graph.c: the decoder of the Llama family as a graph (Touvron et al. 2023).
 *
 *   h += O(attention(rope(Q n), rope(K n), V n)),  n = norm1 h
 *   h += D(silu(G n) * (U n)),                     n = norm2 h
 *   logits = head(norm h)
 *
 * Grouped query heads, biases where hparams says so, head tied to the embedding or of its own.
 * Inputs: "tokens" (T) and "rope.freqs" (rope_dim / 2), angles per position. Output: "logits" (R, n_vocab).
 */
#include "model/llama.h"

#include <math.h>
#include <stdio.h>

struct builder {
    const struct nb_hparams *hp;
    struct nb_graph *g;
    int32_t block;
    uint32_t tokens, table; /* inputs of all blocks */
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

static uint32_t add_node(const struct builder *b, const struct nb_op *op, uint32_t x, uint32_t y,
                         const char *what)
{
    char name[NB_NAME_BYTES];
    full_name(b, name, what);
    return nb_graph_add(
        b->g, &(struct nb_node_args){.op = op, .in = {x, y}, .block = b->block, .name = name});
}

static uint32_t norm(const struct builder *b, uint32_t x, const char *what)
{
    char name[NB_NAME_BYTES];
    const struct nb_attr attrs[] = {NB_ATTR_REAL("eps", b->hp->norm_eps)};
    full_name(b, name, what);
    return nb_graph_add(
        b->g, &(struct nb_node_args){.op = &nb_op_rms_norm,
                                     .in = {x, weight(b, what, "weight", 0, b->hp->n_embd)},
                                     .attrs = attrs,
                                     .n_attrs = 1,
                                     .block = b->block,
                                     .name = name});
}

static uint32_t linear(const struct builder *b, uint32_t x, const char *what, uint64_t rows,
                       uint64_t cols, bool bias)
{
    char name[NB_NAME_BYTES];
    full_name(b, name, what);
    const uint32_t w = weight(b, what, "weight", rows, cols);
    const uint32_t add = bias ? weight(b, what, "bias", 0, rows) : 0;
    return nb_graph_add(
        b->g, &(struct nb_node_args){
                  .op = &nb_op_linear, .in = {x, w, add}, .block = b->block, .name = name});
}

/* "halves" is set when the weights are known: it is a matter of the file they came from. */
static uint32_t rope(const struct builder *b, uint32_t x, uint32_t heads, const char *what)
{
    char name[NB_NAME_BYTES];
    const struct nb_attr attrs[] = {NB_ATTR_INT("heads", heads), NB_ATTR_INT("halves", 0)};
    full_name(b, name, what);
    return nb_graph_add(b->g, &(struct nb_node_args){.op = &nb_op_rope,
                                                     .in = {x, b->table},
                                                     .attrs = attrs,
                                                     .n_attrs = 2,
                                                     .block = b->block,
                                                     .name = name});
}

static uint32_t cache(const struct builder *b, const char *what)
{
    char name[NB_NAME_BYTES];
    full_name(b, name, what);
    return nb_graph_value(b->g, &(struct nb_value){.name = name,
                                                   .kind = NB_VALUE_STATE,
                                                   .type = NB_VALUE_STORED,
                                                   .rank = 3,
                                                   .dim = {nb_dim_const(b->hp->n_kv_heads),
                                                           {.n = 1, .sym = NB_SYM_CACHE},
                                                           nb_dim_const(b->hp->head_dim)},
                                                   .block = b->block});
}

static uint32_t attention(const struct builder *b, uint32_t n)
{
    const struct nb_hparams *hp = b->hp;
    const uint64_t q_dim = (uint64_t)hp->n_heads * hp->head_dim;
    const uint64_t kv_dim = (uint64_t)hp->n_kv_heads * hp->head_dim;
    char name[NB_NAME_BYTES];
    const uint32_t q = linear(b, n, "attn_q", q_dim, hp->n_embd, hp->bias_q);
    const uint32_t k = linear(b, n, "attn_k", kv_dim, hp->n_embd, hp->bias_k);
    const uint32_t v = linear(b, n, "attn_v", kv_dim, hp->n_embd, hp->bias_v);
    const uint32_t rotated_q = rope(b, q, hp->n_heads, "q_rope");
    const uint32_t rotated_k = rope(b, k, hp->n_kv_heads, "k_rope");
    const uint32_t keys = cache(b, "cache_k"), values = cache(b, "cache_v");
    (void)nb_graph_add(b->g, &(struct nb_node_args){.op = &nb_op_kv_store,
                                                    .in = {rotated_k, v},
                                                    .state = {keys, values},
                                                    .block = b->block});
    const struct nb_attr attrs[] = {
        NB_ATTR_INT("heads", hp->n_heads), NB_ATTR_REAL("scale", 1.0 / sqrt((double)hp->head_dim)),
        NB_ATTR_INT("window", 0), NB_ATTR_REAL("softcap", 0.0), NB_ATTR_INT("causal", 1)};
    full_name(b, name, "attn");
    const uint32_t y = nb_graph_add(b->g, &(struct nb_node_args){.op = &nb_op_attention,
                                                                 .in = {rotated_q, keys, values},
                                                                 .attrs = attrs,
                                                                 .n_attrs = 5,
                                                                 .block = b->block,
                                                                 .name = name});
    return linear(b, y, "attn_output", hp->n_embd, q_dim, hp->bias_o);
}

static uint32_t mlp(const struct builder *b, uint32_t n)
{
    const struct nb_hparams *hp = b->hp;
    const uint32_t gate = linear(b, n, "ffn_gate", hp->n_ff, hp->n_embd, hp->bias_mlp);
    const uint32_t up = linear(b, n, "ffn_up", hp->n_ff, hp->n_embd, hp->bias_mlp);
    const struct nb_attr attrs[] = {NB_ATTR_INT("act", NB_ACT_SILU)};
    char name[NB_NAME_BYTES];
    full_name(b, name, "ffn_act");
    const uint32_t mid = nb_graph_add(b->g, &(struct nb_node_args){.op = &nb_op_glu,
                                                                   .in = {gate, up},
                                                                   .attrs = attrs,
                                                                   .n_attrs = 1,
                                                                   .block = b->block,
                                                                   .name = name});
    return linear(b, mid, "ffn_down", hp->n_embd, hp->n_ff, hp->bias_mlp);
}

static enum nb_status check(const struct nb_hparams *hp, struct nb_error *err)
{
    if (hp->n_layers == 0 || hp->n_embd == 0 || hp->n_ff == 0 || hp->n_vocab == 0 ||
        hp->n_heads == 0 || hp->n_kv_heads == 0 || hp->head_dim == 0 || hp->n_layers > INT32_MAX)
        NB_FAIL(err, NB_ERR_FORMAT,
                "llama: layers %u, embedding %u, ff %u, vocabulary %u, heads %u, kv heads %u, head "
                "dimension %u: none may be 0",
                hp->n_layers, hp->n_embd, hp->n_ff, hp->n_vocab, hp->n_heads, hp->n_kv_heads,
                hp->head_dim);
    if (hp->n_heads % hp->n_kv_heads != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "llama: %u heads are no multiple of %u kv heads", hp->n_heads,
                hp->n_kv_heads);
    if (hp->rope.dim == 0 || hp->rope.dim % 2 != 0 || hp->rope.dim > hp->head_dim)
        NB_FAIL(err, NB_ERR_FORMAT,
                "llama: %u rotated dimensions; expected an even number up to the head dimension %u",
                hp->rope.dim, hp->head_dim);
    return NB_OK;
}

enum nb_status nb_llama_build(const struct nb_hparams *hp, struct nb_graph *g, struct nb_error *err)
{
    struct builder b = {.hp = hp, .g = g, .block = NB_NO_BLOCK};
    NB_TRY(check(hp, err));
    b.tokens = nb_graph_value(g, &(struct nb_value){.name = "tokens",
                                                    .kind = NB_VALUE_INPUT,
                                                    .type = NB_VALUE_U32,
                                                    .rank = 1,
                                                    .dim = {{.n = 1, .sym = NB_SYM_TOKENS}},
                                                    .block = NB_NO_BLOCK});
    const uint32_t freqs =
        nb_graph_value(g, &(struct nb_value){.name = "rope.freqs",
                                             .kind = NB_VALUE_INPUT,
                                             .type = NB_VALUE_F64,
                                             .rank = 1,
                                             .dim = {nb_dim_const(hp->rope.dim / 2)},
                                             .block = NB_NO_BLOCK});
    const uint32_t embd = weight(&b, "token_embd", "weight", hp->n_vocab, hp->n_embd);
    b.table = add_node(&b, &nb_op_rope_table, b.tokens, freqs, "rope_table");
    uint32_t h = add_node(&b, &nb_op_embed, b.tokens, embd, "embd");
    for (uint32_t i = 0; i < hp->n_layers && g->status == NB_OK; i++) {
        b.block = (int32_t)i;
        h = add_node(&b, &nb_op_add, h, attention(&b, norm(&b, h, "attn_norm")), "attn_res");
        h = add_node(&b, &nb_op_add, h, mlp(&b, norm(&b, h, "ffn_norm")), "ffn_res");
    }
    b.block = NB_NO_BLOCK;
    h = norm(&b, add_node(&b, &nb_op_tail, h, 0, "wanted"), "output_norm");
    const uint32_t logits =
        linear(&b, h, hp->tied ? "token_embd" : "output", hp->n_vocab, hp->n_embd, false);
    nb_graph_output(g, logits, "logits");
    return nb_graph_check(g, err);
}
