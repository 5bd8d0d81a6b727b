/* model/distilbert.c: DistilBERT (Sanh et al. 2019, arXiv:1910.01108): BERT without token types, under other
 * names. GGUF files are BERT's (bert.c).
 */
#include "model/model_internal.h"

static void init(struct nb_hparams *hp)
{
    nb_bert_init(hp);
    hp->n_token_types = 0;
}

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    NB_TRY(nb_sizes_from_hf(hp, config, err));
    return nb_act_read_hf(hp, config, "activation", err);
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    NB_TRY(nb_sizes_sayable(hp, err));
    nb_sizes_to_hf(hp, "DistilBertModel", "distilbert", s);
    nb_str_printf(s, "  \"activation\": \"%s\",\n", nb_act_hf_name(hp->act));
    return NB_OK;
}

#define LAYER "transformer.layer.{}."
static const struct nb_hf_name hf_names[] = {
    {"token_embd", "embeddings.word_embeddings", NB_HF_PLAIN},
    {"position_embd", "embeddings.position_embeddings", NB_HF_PLAIN},
    {"token_embd_norm", "embeddings.LayerNorm", NB_HF_PLAIN},
    {"attn_q", LAYER "attention.q_lin", NB_HF_PLAIN},
    {"attn_k", LAYER "attention.k_lin", NB_HF_PLAIN},
    {"attn_v", LAYER "attention.v_lin", NB_HF_PLAIN},
    {"attn_output", LAYER "attention.out_lin", NB_HF_PLAIN},
    {"attn_output_norm", LAYER "sa_layer_norm", NB_HF_PLAIN},
    {"ffn_up", LAYER "ffn.lin1", NB_HF_PLAIN},
    {"ffn_down", LAYER "ffn.lin2", NB_HF_PLAIN},
    {"layer_output_norm", LAYER "output_layer_norm", NB_HF_PLAIN},
    {NULL, NULL, NB_HF_PLAIN},
};
static const struct nb_hf_key hf_keys[] = {
    {"num_hidden_layers", "n_layers"},
    {"hidden_size", "dim"},
    {"intermediate_size", "hidden_dim"},
    {"num_attention_heads", "n_heads"},
    {"num_key_value_heads", NULL},
    {"head_dim", NULL},
    {NULL, NULL},
};
static const char *const hf_classes[] = {"DistilBertModel", "DistilBertForMaskedLM", NULL};
static const char *const hf_roots[] = {"", "distilbert.", NULL};
static const char *const ignored[] = {".position_ids", NULL};
static const char *const ignored_roots[] = {"vocab_transform.", "vocab_layer_norm.",
                                            "vocab_projector.", NULL};

const struct nb_arch nb_arch_distilbert = {
    .name = "bert",
    .summary = "DistilBERT: BERT without token types",
    .hf_classes = hf_classes,
    .ignored = ignored,
    .hf_roots = hf_roots,
    .ignored_roots = ignored_roots,
    .hf_names = hf_names,
    .hf_keys = hf_keys,
    .rope_halves_gguf = true,
    .init = init,
    .from_hf = from_hf,
    .to_hf = to_hf,
    .to_meta = nb_bert_to_meta,
};
