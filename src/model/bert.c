/* model/bert.c: BERT and the sentence encoders of its shape: MiniLM, BGE, E5, GTE (Devlin et al. 2018,
 * arXiv:1810.04805; Reimers and Gurevych 2019 for the pooling).
 *
 * An encoder: every token sees every other, norms follow the sums, the result is hidden states. Of the
 * token types the first is used, as for a single text. Left out: heads for other tasks.
 */
#include "model/model_internal.h"

#define FIELD(member) offsetof(struct nb_hparams, member)
static const struct nb_hparam_field types = {
    "type_vocab_size", "token_type_count", FIELD(n_token_types), 1, 65536, true};

void nb_bert_init(struct nb_hparams *hp)
{
    hp->encoder = hp->positions = hp->embd_norm = hp->norm_bias = true;
    hp->norm = NB_NORM_LAYER;
    hp->norms = NB_NORM_SUM;
    hp->norm_eps = 1e-12F;
    hp->act = NB_ACT_GELU;
    hp->gated = false;
    hp->n_token_types = 2;
    hp->bias_q = hp->bias_k = hp->bias_v = hp->bias_o = hp->bias_mlp = true;
}

enum nb_status nb_bert_from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    char quote[64];
    size_t n;
    const char *positions = nb_json_string(nb_json_get(config, "position_embedding_type"), &n);
    if (positions != NULL && strcmp(positions, "absolute") != 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "config.json: position_embedding_type is '%s', expected 'absolute'",
                nb_printable(quote, sizeof quote, positions, n));
    NB_TRY(nb_sizes_from_hf(hp, config, err));
    NB_TRY(nb_config_real(config, "layer_norm_eps", 0.0, 1.0, &hp->norm_eps, err));
    NB_TRY(nb_hparams_read_hf(hp, config, &types, 1, err));
    return nb_act_read_hf(hp, config, "hidden_act", err);
}

void nb_bert_to_hf(const struct nb_hparams *hp, const char *class_name, const char *model_type,
                   struct nb_str *s)
{
    nb_sizes_to_hf(hp, class_name, model_type, s);
    nb_config_put_real(s, "layer_norm_eps", hp->norm_eps);
    nb_config_put_u32(s, "type_vocab_size", hp->n_token_types);
    nb_str_printf(s, "  \"position_embedding_type\": \"absolute\",\n  \"hidden_act\": \"%s\",\n",
                  nb_act_hf_name(hp->act));
}

/* Other engines want one type where there is none, too. */
enum nb_status nb_bert_to_meta(const struct nb_hparams *hp, struct nb_meta *meta)
{
    NB_TRY(nb_meta_set_bool(meta, "bert.attention.causal", false));
    return nb_meta_set_u32(meta, "tokenizer.ggml.token_type_count", NB_MAX(hp->n_token_types, 1U));
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    (void)err;
    nb_bert_to_hf(hp, "BertModel", "bert", s);
    return NB_OK;
}

/* Without token types it is a DistilBERT, which GGUF files do not name. RoBERTa's files are BERT's. */
static void detect(struct nb_hparams *hp, nb_has_fn *has, void *ctx)
{
    if (has(ctx, "token_types.weight"))
        return;
    hp->arch = &nb_arch_distilbert;
    hp->n_token_types = 0;
}

#define LAYER "encoder.layer.{}."
const struct nb_hf_name nb_bert_hf_names[] = {
    {"token_embd", "embeddings.word_embeddings", NB_HF_PLAIN},
    {"position_embd", "embeddings.position_embeddings", NB_HF_PLAIN},
    {"token_types", "embeddings.token_type_embeddings", NB_HF_PLAIN},
    {"token_embd_norm", "embeddings.LayerNorm", NB_HF_PLAIN},
    {"attn_q", LAYER "attention.self.query", NB_HF_PLAIN},
    {"attn_k", LAYER "attention.self.key", NB_HF_PLAIN},
    {"attn_v", LAYER "attention.self.value", NB_HF_PLAIN},
    {"attn_output", LAYER "attention.output.dense", NB_HF_PLAIN},
    {"attn_output_norm", LAYER "attention.output.LayerNorm", NB_HF_PLAIN},
    {"ffn_up", LAYER "intermediate.dense", NB_HF_PLAIN},
    {"ffn_down", LAYER "output.dense", NB_HF_PLAIN},
    {"layer_output_norm", LAYER "output.LayerNorm", NB_HF_PLAIN},
    {NULL, NULL, NB_HF_PLAIN},
};
static const char *const hf_classes[] = {"BertModel", "BertForMaskedLM", NULL};
static const char *const hf_roots[] = {"", "bert.", NULL};
static const char *const ignored[] = {".position_ids", NULL};
static const char *const ignored_roots[] = {"pooler.", "bert.pooler.", "cls.", NULL};

const struct nb_arch nb_arch_bert = {
    .name = "bert",
    .summary = "BERT, MiniLM, BGE: an encoder whose result is an embedding of the text",
    .hf_classes = hf_classes,
    .ignored = ignored,
    .hf_roots = hf_roots,
    .ignored_roots = ignored_roots,
    .hf_names = nb_bert_hf_names,
    .rope_halves_gguf = true,
    .init = nb_bert_init,
    .detect = detect,
    .from_hf = nb_bert_from_hf,
    .to_hf = to_hf,
    .to_meta = nb_bert_to_meta,
};
