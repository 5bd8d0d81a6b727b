/* model/model.h: architectures: what a config means, which tensors there are, how the graph is built.
 *
 * One file per architecture, src/model/<id>.c, `const struct nb_arch nb_arch_<id>`, one line NB_ARCH(<id>)
 * in registry.inc. Canonical tensor names, row order and metadata keys are GGUF's; the name of each
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

enum nb_rope_scaling { NB_ROPE_NONE, NB_ROPE_LINEAR, NB_ROPE_LLAMA3 };

/* Rotary embedding: which part of a head turns, how fast (docs/architectures.md). */
struct nb_rope {
    uint32_t dim; /* rotated dimensions of a head */
    float base;
    enum nb_rope_scaling scaling;
    float factor, low_freq,
        high_freq;     /* llama3: the two bounds                                    */
    uint32_t ctx_orig; /* llama3: original context; 0: unknown, the divisors came as a tensor */
};

/* Plain values; owns nothing. */
struct nb_hparams {
    const struct nb_arch *arch;
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx_train;
    float norm_eps;
    struct nb_rope rope;
    bool tied; /* the head is the embedding  */
    bool bias_q, bias_k, bias_v, bias_o, bias_mlp;
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
    NB_ROLE_ROPE
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
    bool quantizable;    /* a matrix of a linear layer, an embedding or a head                 */
    uint32_t perm_heads; /* > 0: rows of each of so many heads are interleaved pairs in GGUF,
                                 halves in Hugging Face (docs/formats/gguf.md)                            */
};

typedef enum nb_status nb_spec_fn(void *ctx, const struct nb_tensor_spec *spec);
/* Is a tensor of this canonical name in the file? */
typedef bool nb_has_fn(void *ctx, const char *name);

struct nb_arch {
    const char *name;              /* general.architecture: "llama"                            */
    const char *summary;           /* for `nibble list architectures`                          */
    const char *const *hf_classes; /* NULL-terminated: "LlamaForCausalLM", ...        */
    const char *const *ignored;    /* NULL-terminated ends of names of harmless tensors:
                                      buffers that a checkpoint stores and nobody needs */
    bool rope_halves_gguf;         /* GGUF files of this arch keep HF's pairing (qwen2: true) */
    enum nb_status (*from_hf)(struct nb_hparams *hp, const nb_json *config, struct nb_error *err);
    enum nb_status (*from_meta)(struct nb_hparams *hp, const struct nb_meta *meta,
                                struct nb_error *err);
    enum nb_status (*to_meta)(const struct nb_hparams *hp, struct nb_meta *meta,
                              struct nb_error *err);
    enum nb_status (*to_hf)(const struct nb_hparams *hp, struct nb_str *config_json,
                            struct nb_error *err);
    /* What a GGUF file says by the tensors it has: biases, a head of its own, rotary divisors. */
    void (*detect)(struct nb_hparams *hp, nb_has_fn *has, void *ctx);
    /* Every tensor in GGUF's usual order: rope_freqs (llama3 scaling only), token_embd, blk.0...,
     * output_norm, output. */
    enum nb_status (*tensors)(const struct nb_hparams *hp, nb_spec_fn *emit, void *ctx);
    /* Fills g: one decoder step over a symbolic number of tokens. Weights are named values. */
    enum nb_status (*build)(const struct nb_hparams *hp, struct nb_graph *g, struct nb_error *err);
};

#define NB_ARCH(id) extern const struct nb_arch nb_arch_##id;
#include "model/registry.inc"
#undef NB_ARCH
const struct nb_arch *const *nb_arch_all(size_t *n);
const struct nb_arch *nb_arch_by_name(const char *gguf_name); /* NULL: none */
const struct nb_arch *nb_arch_by_hf(const char *class_name);  /* NULL: none */

/* Divisors of the rotary base frequencies, (rope_dim / 2): all 1 without scaling, all the factor with
 * linear scaling, those of docs/formats/gguf.md with llama3's. */
void nb_rope_divisors(const struct nb_hparams *hp, float *out);
/* The llama3 parameters that give these divisors (rope_dim / 2); false: there are none. */
bool nb_rope_from_divisors(struct nb_hparams *hp, const float *divisors);
#define NB_ROPE_DIVISORS_NAME "rope_freqs.weight"

/* What a session runs on, whatever file it came from. Borrows: everything (the dialect's nb_model owns
 * it). Tensors are canonical by name; rows of perm_heads tensors lie as rope_halves says. */
struct nb_weight {
    struct nb_tensor_spec spec;
    struct nb_tensor t;
};

struct nb_weights {
    struct nb_hparams hp;
    const struct nb_weight *items;
    size_t n;
    const struct nb_map *names; /* canonical name -> index */
    bool rope_halves;           /* Q/K rows as in Hugging Face files */
    const float *rope_divisors; /* (rope_dim / 2) */
};

const struct nb_weight *nb_weights_find(const struct nb_weights *w,
                                        const char *name); /* NULL: none */

#endif
