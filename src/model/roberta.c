/* model/roberta.c: RoBERTa and XLM-RoBERTa: sentence encoders such as bge-m3, multilingual E5, all-roberta (Liu
 * et al. 2019, arXiv:1907.11692; Conneau et al. 2019, arXiv:1911.02116).
 *
 * BERT, but for its positions: they begin behind the padding token's number. GGUF files hold the rows from
 * there on and are BERT's; so is a folder made of one.
 */
#include "model/model_internal.h"

#define SKIP 2 /* of all published models, whose padding token is 1 */

static enum nb_status from_hf(struct nb_hparams *hp, const nb_json *config, struct nb_error *err)
{
    static const struct nb_hparam_field pad = {.hf = "pad_token_id", .max = 254, .optional = true};
    uint32_t first = SKIP - 1;
    int64_t v;
    if (nb_json_int(nb_json_get(config, pad.hf), &v)) {
        if (v < 0 || v > (int64_t)pad.max)
            NB_FAIL(err, NB_ERR_FORMAT, "config.json: %s is %lld, expected 0..%u", pad.hf,
                    (long long)v, pad.max);
        first = (uint32_t)v;
    }
    hp->n_token_types = 1;
    NB_TRY(nb_bert_from_hf(hp, config, err));
    hp->position_skip = (uint8_t)(first + 1);
    if (hp->n_ctx_train <= hp->position_skip)
        NB_FAIL(err, NB_ERR_FORMAT,
                "config.json: max_position_embeddings is %u, expected more than pad_token_id + 1",
                hp->n_ctx_train);
    hp->n_ctx_train -= hp->position_skip;
    return NB_OK;
}

static enum nb_status to_hf(const struct nb_hparams *hp, struct nb_str *s, struct nb_error *err)
{
    struct nb_hparams wide = *hp;
    if (hp->position_skip != SKIP) /* the tokenizer says which token pads */
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "positions begin behind row %u: config.json is written for a padding token of %d",
                (unsigned)hp->position_skip, SKIP - 1);
    wide.n_ctx_train += hp->position_skip;
    nb_bert_to_hf(&wide, "RobertaModel", "roberta", s);
    return NB_OK;
}

static const char *const hf_classes[] = {"RobertaModel",    "RobertaForMaskedLM",
                                         "XLMRobertaModel", "XLMRobertaForMaskedLM",
                                         "CamembertModel",  NULL};
static const char *const hf_roots[] = {"", "roberta.", NULL};
static const char *const ignored[] = {".position_ids", NULL};
static const char *const ignored_roots[] = {"pooler.", "roberta.pooler.", "lm_head.", NULL};

const struct nb_arch nb_arch_roberta = {
    .name = "bert",
    .summary = "RoBERTa, XLM-RoBERTa, bge-m3: BERT with positions behind the padding token",
    .hf_classes = hf_classes,
    .ignored = ignored,
    .hf_roots = hf_roots,
    .ignored_roots = ignored_roots,
    .hf_names = nb_bert_hf_names,
    .rope_halves_gguf = true,
    .init = nb_bert_init,
    .from_hf = from_hf,
    .to_hf = to_hf,
    .to_meta = nb_bert_to_meta,
};
