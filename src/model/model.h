/* model/model.h: architectures: what a config means, which tensors there are, how the graph is built.
 *
 * One file per architecture, src/model/<id>.c, `const struct nb_arch nb_arch_<id>`, one line NB_ARCH(<id>)
 * in registry.inc: it reads a config into nb_hparams. From these numbers and switches alone decoder.c
 * names the tensors and decoder_graph.c builds the graph, for all architectures alike. Canonical tensor names, row order and metadata keys are GGUF's; the name of each
 * tensor in a Hugging Face checkpoint stands beside it. nb_weights is what a session runs on.
 */
#ifndef NB_MODEL_MODEL_H
#define NB_MODEL_MODEL_H

#include "base/base.h"
#include "container/container.h"
#include "graph/graph.h"
#include "numfmt/numfmt.h"
#include "tensor/tensor.h"

struct nb_arch;

/* How the hidden states of a text become one embedding; the values of <arch>.pooling_type in GGUF. */
enum nb_pooling { NB_POOLING_NONE, NB_POOLING_MEAN, NB_POOLING_CLS, NB_POOLING_LAST };

enum nb_rope_scaling {
    NB_ROPE_NONE,
    NB_ROPE_LINEAR,
    NB_ROPE_DYNAMIC,
    NB_ROPE_YARN,
    NB_ROPE_LLAMA3,
    NB_ROPE_LONGROPE,
    NB_N_ROPE_SCALINGS
};

#define NB_ROPE_MAX_PAIRS 128 /* of longrope's lists; every other rule knows no limit */

/* Rotary embedding: which part of a head turns, how fast (docs/architectures.md). A parameter that is 0
 * was not given: the rule says what holds then. Plain values; owns nothing. */
struct nb_rope {
    uint32_t dim; /* rotated dimensions of a head; 0: none */
    float base;
    enum nb_rope_scaling scaling;
    uint32_t ctx_train;         /* the context that the model is for                           */
    uint32_t ctx_orig;          /* the one it learnt first; 0: ctx_train; for llama3, 0: not known,
                                      the divisors came as a tensor                                */
    float factor;               /* yarn, longrope: 0: ctx_train / ctx_orig                     */
    float low_freq, high_freq;  /* llama3: the two bounds                                      */
    float attention;            /* factor of cosines and sines                                 */
    float beta_fast, beta_slow; /* yarn: rotations where the ramp begins and ends              */
    float mscale, mscale_all;   /* yarn: they make the attention factor                        */
    float short_mscale, long_mscale;       /* longrope: attention factors of the two sides       */
    bool ramp_exact;                       /* yarn: the ends of the ramp are not rounded         */
    float short_factor[NB_ROPE_MAX_PAIRS]; /* longrope: (dim / 2) divisors up to ctx_orig         */
    float long_factor[NB_ROPE_MAX_PAIRS];  /* and beyond it                                       */
};

/* How the files of an architecture speak of rotation. */
struct nb_rope_rules {
    const char *base_key; /* of config.json; NULL: "rope_theta"                                   */
    float base;           /* where config.json is silent; 0: 10000                                */
    const char *part_key; /* the share of a head that turns; NULL: "partial_rotary_factor"        */
    double part;          /* where config.json is silent; 0: 1                                    */
    bool partial;         /* may less than a whole head turn?                                     */
    bool local;           /* windowed layers turn by hp->rope_local                               */
    const char *local_base_key; /* of config.json; NULL: as base_key                              */
    float local_base;           /* where files are silent; 0: as base                             */
};

enum nb_norm_kind { NB_NORM_RMS, NB_NORM_LAYER };

/* Where a block has norms. */
enum nb_block_norms {
    NB_NORM_ATTN = 1,      /* attn_norm: what attention reads                               */
    NB_NORM_ATTN_POST = 2, /* post_attention_norm: what attention gives, before it is added */
    NB_NORM_FFN = 4,       /* ffn_norm                                                      */
    NB_NORM_FFN_POST = 8,  /* post_ffw_norm                                                 */
    NB_NORM_HEADS = 16,    /* attn_q_norm, attn_k_norm: each head, before rotation          */
    NB_NORM_QK = 32,       /* the same names: all heads of a position at once               */
    NB_NORM_SUB = 64,      /* attn_sub_norm, ffn_sub_norm: what the last products read      */
    NB_NORM_SUM = 128      /* attn_output_norm, layer_output_norm: the sum itself (BERT)    */
};

#define NB_MAX_LAYERS 1024
/* A set of layers. */
struct nb_layers {
    uint64_t bits[NB_MAX_LAYERS / 64];
};
static inline bool nb_layers_has(const struct nb_layers *s, uint32_t layer)
{
    return layer < NB_MAX_LAYERS && (s->bits[layer / 64] >> layer % 64 & 1U) != 0;
}
static inline void nb_layers_add(struct nb_layers *s, uint32_t layer)
{
    s->bits[layer / 64] |= (uint64_t)1 << layer % 64;
}

/* A transformer by its numbers and switches. Plain values; owns nothing. */
struct nb_hparams {
    const struct nb_arch *arch;
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx_train;
    struct nb_rope rope;
    struct nb_rope rope_local;  /* of windowed layers; dim == 0: as the others                */
    struct nb_layers windowed;  /* layers that see `window` positions, their own included     */
    struct nb_layers unrotated; /* layers without rotary embedding                            */
    uint32_t window;            /* 0: none                                                    */
    enum nb_norm_kind norm;
    unsigned norms; /* enum nb_block_norms */
    float norm_eps;
    enum nb_act act;
    float embd_scale, residual_scale, logit_scale; /* factors; 1: none                     */
    float attn_scale;                              /* of q . k; 0: 1 / sqrt(head_dim)       */
    float attn_softcap, logit_softcap;             /* cap * tanh(x / cap); 0: none          */
    uint32_t n_experts;       /* matrices a feed-forward chooses from; 0: one, of all tokens  */
    uint32_t n_experts_used;  /* chosen for a token                                           */
    uint32_t n_ff_expert;     /* width of each                                                */
    uint32_t n_ff_shared;     /* of the one that all tokens meet besides; 0: none             */
    struct nb_layers dense;   /* layers without experts                                       */
    enum nb_gate expert_gate; /* what makes scores weights ...                                */
    bool expert_norm;         /* ... and whether they then sum to 1                           */
    bool all_experts;         /* calibration: all are computed, those not chosen count 0      */
    enum nb_pooling pooling;  /* NB_POOLING_NONE: the model does not say */
    uint32_t n_token_types;   /* BERT; 0: none                         */
    bool logit_divides;       /* logits are divided by logit_scale (Granite)                     */
    bool gated;               /* act(gate) * up; otherwise act(up)                               */
    bool parallel;  /* attention and feed-forward read the same sum, or norm (GPT-NeoX)         */
    bool encoder;   /* every token sees every other; no logits but hidden states       */
    bool embd_norm; /* token_embd_norm follows the embeddings (BERT)                   */
    bool positions; /* learned positions, (n_ctx_train, n_embd); then none rotate      */
    uint8_t position_skip; /* rows before them in Hugging Face files (RoBERTa)                */
    bool fused_qkv;        /* attn_qkv: the rows of q, of k, of v                             */
    bool fused_gate_up;    /* ffn_up: the rows of gate, of up                                 */
    bool norm_bias;        /* norms have one                                                  */
    bool norm_minus_one;   /* Hugging Face files hold a norm's weight less one (Gemma)        */
    bool tied;             /* the head is the embedding                                       */
    bool bias_q, bias_k, bias_v, bias_o, bias_mlp, bias_head;
};

enum nb_role {
    NB_ROLE_EMBED,
    NB_ROLE_HEAD,
    NB_ROLE_NORM,
    NB_ROLE_ATTN_Q,
    NB_ROLE_ATTN_K,
    NB_ROLE_ATTN_V,
    NB_ROLE_ATTN_OUT,
    NB_ROLE_FFN_GATE,
    NB_ROLE_FFN_UP,
    NB_ROLE_FFN_DOWN,
    NB_ROLE_BIAS,
    NB_ROLE_ROPE,
    NB_ROLE_ATTN_QKV,
    NB_ROLE_POSITION, /* learned positions, token types */
    NB_ROLE_OTHER,    /* of an architecture that nibble does not know */
    NB_ROLE_ROUTER,   /* scores of experts              */
    NB_N_ROLES
};

/* How a Hugging Face file holds what is canonical in GGUF. */
enum nb_hf_form {
    NB_HF_PLAIN, /* the same                                                              */
    NB_HF_PAIRS, /* rows of a head as halves; canonical: interleaved pairs (docs/formats/gguf.md) */
    NB_HF_QKV,   /* rows of q, k, v of each head in turn; canonical: all q, all k, all v  */
    NB_HF_TRANSPOSED, /* (in, out): GPT-2's Conv1D                                             */
    NB_HF_MINUS_ONE,  /* the values less one                                                   */
    NB_HF_ROW,        /* (1, n) for a vector of n                                              */
    NB_HF_EXPERTS,    /* a tensor for each expert, its number in place of {}; canonical: (E, ..) */
    NB_HF_GATE_HALF,  /* (E, 2 n, ..): the first n rows of each expert ...                     */
    NB_HF_UP_HALF,    /* ... and the last                                                      */
    NB_HF_TAIL,       /* rows behind some that nobody reads: RoBERTa's positions               */
    NB_HF_TERNARY     /* only as nb_weight.stored: BitNet's weights, worked out as they are read */
};

#define NB_NAME_BYTES 128
/* One tensor the architecture has. */
struct nb_tensor_spec {
    char name
        [NB_NAME_BYTES];    /* canonical (GGUF): "blk.3.attn_q.weight"                            */
    char hf[NB_NAME_BYTES]; /* "model.layers.3.self_attn.q_proj.weight"; empty: not in HF files   */
    enum nb_role role;
    int32_t block; /* decoder block, -1 outside                                          */
    struct nb_shape shape;
    bool required;
    bool quantizable;     /* a matrix of a linear layer, an embedding or a head                 */
    enum nb_hf_form form; /* of the tensor `hf` */
    uint32_t heads;       /* NB_HF_PAIRS, NB_HF_QKV: how many; NB_HF_TAIL: rows before these   */
};

typedef enum nb_status nb_spec_fn(void *ctx, const struct nb_tensor_spec *spec);
/* Is a tensor of this canonical name in the file? */
typedef bool nb_has_fn(void *ctx, const char *name);

/* The name of a tensor in Hugging Face files, without ".weight" or ".bias"; {} is the block, a second one
 * the expert (NB_HF_EXPERTS). */
struct nb_hf_name {
    const char *stem; /* "attn_q" */
    const char *hf;   /* "model.layers.{}.self_attn.q_proj" */
    enum nb_hf_form form;
};

/* A key of config.json that an architecture calls by a name of its own. */
struct nb_hf_key {
    const char *usual; /* "hidden_size" */
    const char *own;   /* "n_embd"; NULL: it has no such key */
};

struct nb_arch {
    const char *name;              /* general.architecture: "llama"                            */
    const char *summary;           /* for `nibble list architectures`                          */
    const char *const *hf_classes; /* NULL-terminated: "LlamaForCausalLM", ...                 */
    const char *const *ignored;    /* NULL-terminated ends of names of harmless tensors:
                                      buffers that a checkpoint stores and nobody needs        */
    /* NULL-terminated: what the first part of Hugging Face names may be instead of hf_roots[0]
     * ("model."); NULL: nothing else. Tensors under `ignored_roots` are of other parts (a vision
     * tower) and left out; NULL: none. */
    const char *const *hf_roots;
    const char *const *ignored_roots;
    const struct nb_hf_name *hf_names; /* up to stem == NULL; before those all share; NULL: none */
    const struct nb_hf_key *hf_keys;   /* up to usual == NULL; NULL: the usual names             */
    bool rope_halves_gguf;             /* GGUF files of this arch keep HF's pairing (qwen2: true) */
    bool
        rope_pairs_hf; /* and Hugging Face files GGUF's: heads turn in neighbouring pairs (Cohere) */
    uint32_t
        window_period; /* every so manieth layer sees all positions; 0: none does (window.c)   */
    const struct nb_rope_rules *rope; /* NULL: rope_theta, whole heads, one table for all layers */
    void (*init)(struct nb_hparams *hp); /* what holds for every model of it                     */
    /* Factors and caps that follow from the sizes where a file is silent; NULL: none do. */
    void (*defaults)(struct nb_hparams *hp);
    /* What only the tensors of a GGUF file tell, beyond what nb_arch_detect looks for; NULL: nothing. */
    void (*detect)(struct nb_hparams *hp, nb_has_fn *has, void *ctx);
    enum nb_status (*from_hf)(struct nb_hparams *hp, const nb_json *config, struct nb_error *err);
    enum nb_status (*to_hf)(const struct nb_hparams *hp, struct nb_str *config_json,
                            struct nb_error *err);
    /* What it has in metadata beyond what all have; NULL: nothing. to_meta: NB_ERR_NOMEM only. */
    enum nb_status (*from_meta)(struct nb_hparams *hp, const struct nb_meta *meta,
                                struct nb_error *err);
    enum nb_status (*to_meta)(const struct nb_hparams *hp, struct nb_meta *meta);
};

/* hparams from config.json, from GGUF metadata, and back. */
NB_CHECKED enum nb_status nb_arch_from_hf(const struct nb_arch *arch, struct nb_hparams *hp,
                                          const nb_json *config, struct nb_error *err);
NB_CHECKED enum nb_status nb_arch_from_meta(const struct nb_arch *arch, struct nb_hparams *hp,
                                            const struct nb_meta *meta, struct nb_error *err);
NB_CHECKED enum nb_status nb_arch_to_meta(const struct nb_hparams *hp, struct nb_meta *meta,
                                          struct nb_error *err);
/* What a GGUF file says by the tensors it has: biases, a head of its own, rotary divisors. */
void nb_arch_detect(struct nb_hparams *hp, nb_has_fn *has, void *ctx);
/* The name of a tensor outside the blocks in Hugging Face files, without ".weight"; NULL: nobody
 * names it. */
const char *nb_arch_hf_stem(const struct nb_arch *arch, const char *stem);
/* Every tensor in GGUF's usual order: rotary divisors if any, token_embd, blk.0...,
 * output_norm, output. */
NB_CHECKED enum nb_status nb_arch_tensors(const struct nb_hparams *hp, nb_spec_fn *emit, void *ctx);
/* Fills g: one step over a symbolic number of tokens. Weights are named values. hidden: the output is
 * "hidden" (R, n_embd), what the head would read, instead of "logits" (R, n_vocab); an encoder has no
 * head and gives it always. */
NB_CHECKED enum nb_status nb_arch_build(const struct nb_hparams *hp, bool hidden,
                                        struct nb_graph *g, struct nb_error *err);

/* A part of a transformer. Where parts meet flow hidden states: the sum that blocks read and add to, before
 * the last norm. All zero: the whole. */
struct nb_model_part {
    bool from_hidden;     /* reads them: input "hidden.in" (T, n_embd); "tokens" is only counted */
    bool to_hidden;       /* gives them: output "hidden" (T, n_embd)                             */
    bool hidden;          /* without to_hidden: as nb_arch_build                                 */
    uint32_t first_block; /* without from_hidden: 0                                          */
    uint32_t n_blocks;    /* without to_hidden: all from first_block on, whatever stands here   */
};
NB_CHECKED enum nb_status nb_arch_build_part(const struct nb_hparams *hp,
                                             const struct nb_model_part *part, struct nb_graph *g,
                                             struct nb_error *err);

#define NB_ARCH(id) extern const struct nb_arch nb_arch_##id;
#include "model/registry.inc"
#undef NB_ARCH
const struct nb_arch *const *nb_arch_all(size_t *n);
const struct nb_arch *nb_arch_by_name(const char *gguf_name); /* NULL: none */
const struct nb_arch *nb_arch_by_hf(const char *class_name);  /* NULL: none */

/* Angle per position of each pair, (dim / 2), in a session of n_ctx positions. Rotated keys lie in a cache,
 * so what depends on length (longrope's side, dynamic's base) is chosen once, by n_ctx. */
void nb_rope_frequencies(const struct nb_rope *r, uint32_t n_ctx, double *freq);
/* The factor of all cosines and sines; 1 for most rules. */
double nb_rope_table_scale(const struct nb_rope *r, uint32_t n_ctx);

/* What GGUF keeps as tensors. */
#define NB_ROPE_DIVISORS_NAME "rope_freqs.weight"         /* llama3 */
#define NB_ROPE_LONG_NAME     "rope_factors_long.weight"  /* longrope */
#define NB_ROPE_SHORT_NAME    "rope_factors_short.weight" /* longrope */
/* The values (dim / 2) of a tensor of these names. */
void nb_rope_tensor(const struct nb_rope *r, const char *name, float *out);
/* Divisors of the frequencies, (dim / 2): the factor with linear scaling, those of llama3's rule, else 1. */
void nb_rope_divisors(const struct nb_hparams *hp, float *out);
/* The llama3 parameters that give these divisors (dim / 2); false: there are none. */
bool nb_rope_from_divisors(struct nb_hparams *hp, const float *divisors);

/* What a session runs on, whatever file it came from. Borrows: everything (the dialect's nb_model owns
 * it). Tensors are canonical by name; rows of NB_HF_PAIRS tensors lie as rope_halves says. */
struct nb_weight {
    struct nb_tensor_spec spec;
    struct nb_tensor t;     /* canonical shape */
    enum nb_hf_form stored; /* how t's bytes lie; a session takes NB_HF_PLAIN and NB_HF_PAIRS */
};

struct nb_weights {
    struct nb_hparams hp;
    const struct nb_weight *items;
    size_t n;
    const struct nb_map *names; /* canonical name -> index */
    bool rope_halves;           /* Q/K rows as in Hugging Face files */
    const float
        *rope_divisors; /* (rope.dim / 2) of a tensor, in place of rope's scaling; NULL: none */
};

const struct nb_weight *nb_weights_find(const struct nb_weights *w,
                                        const char *name); /* NULL: none */
/* Of a layer whose weight this is: "x.weight" has "x.bias". NULL: none */
const struct nb_weight *nb_weights_bias(const struct nb_weights *w, const struct nb_weight *of);

#endif
