/* model/experts.c: the numbers of a mixture of experts, in and out of config.json and GGUF metadata.
 *
 * GGUF leaves to the architecture which gate makes scores weights and whether these are normalized; where a
 * model differs, expert_gating_func (1 softmax, 2 sigmoid) and expert_weights_norm say so.
 */
#include "model/model_internal.h"

#include <stdio.h>

#define MAX_EXPERTS 4096
#define MAX_WIDTH   (1U << 24)

#define FIELD(member) offsetof(struct nb_hparams, member)
/* The second name is of other architectures. */
static const struct nb_hparam_field count[] = {
    {"num_experts", "expert_count", FIELD(n_experts), 0, MAX_EXPERTS, true},
    {"num_local_experts", "expert_count", FIELD(n_experts), 0, MAX_EXPERTS, true},
};
static const struct nb_hparam_field used = {
    "num_experts_per_tok", "expert_used_count", FIELD(n_experts_used), 0, MAX_EXPERTS, true};
/* Where they are absent, the architecture has said what they are. */
static const struct nb_hparam_field widths[] = {
    {NULL, "expert_feed_forward_length", FIELD(n_ff_expert), 0, MAX_WIDTH, true},
    {NULL, "expert_shared_feed_forward_length", FIELD(n_ff_shared), 0, MAX_WIDTH, true},
};

enum nb_status nb_experts_check(const struct nb_hparams *hp, const char *where,
                                struct nb_error *err)
{
    if (hp->n_experts == 0)
        return NB_OK;
    if (hp->n_experts > MAX_EXPERTS || hp->n_experts_used == 0 ||
        hp->n_experts_used > hp->n_experts || hp->n_ff_expert == 0)
        NB_FAIL(err, NB_ERR_FORMAT,
                "%s: %u of %u experts of width %u; expected 1 to %u of at most %d, none empty",
                where, hp->n_experts_used, hp->n_experts, hp->n_ff_expert, hp->n_experts,
                MAX_EXPERTS);
    return NB_OK;
}

/* ---- config.json ---- */

enum nb_status nb_experts_from_hf(struct nb_hparams *hp, const nb_json *config,
                                  struct nb_error *err)
{
    NB_TRY(nb_hparams_read_hf(hp, config, count, NB_COUNTOF(count), err));
    NB_TRY(nb_hparams_read_hf(hp, config, &used, 1, err));
    if (hp->n_experts == 0)
        NB_FAIL(err, NB_ERR_FORMAT,
                "config.json: num_experts (or num_local_experts) is missing or 0, expected the "
                "number of experts");
    return nb_experts_check(hp, "config.json", err);
}

void nb_experts_to_hf(const struct nb_hparams *hp, const char *key, struct nb_str *s)
{
    nb_config_put_u32(s, key, hp->n_experts);
    nb_config_put_u32(s, "num_experts_per_tok", hp->n_experts_used);
}

/* ---- GGUF ---- */

/* What the architecture takes for granted. */
static struct nb_hparams defaults(const struct nb_hparams *hp)
{
    struct nb_hparams d = {.arch = hp->arch, .n_ff = hp->n_ff};
    if (hp->arch->init != NULL)
        hp->arch->init(&d);
    return d;
}

enum nb_status nb_experts_from_meta(struct nb_hparams *hp, const struct nb_meta *meta,
                                    struct nb_error *err)
{
    char key[NB_KEY_BYTES];
    uint32_t gate = 0;
    NB_TRY(nb_hparams_read_meta(hp, meta, count, 1, err));
    NB_TRY(nb_hparams_read_meta(hp, meta, &used, 1, err));
    NB_TRY(nb_hparams_read_meta(hp, meta, widths, NB_COUNTOF(widths), err));
    if (hp->n_ff_expert == 0)
        hp->n_ff_expert = hp->n_ff;
    if (nb_meta_u32(meta, nb_meta_key(key, hp->arch->name, "expert_gating_func"), &gate)) {
        if (gate > 2)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "metadata: %s is %u, expected 1 (softmax) or 2", key,
                    gate);
        if (gate > 0)
            hp->expert_gate = gate == 2 ? NB_GATE_SIGMOID : NB_GATE_SOFTMAX;
    }
    (void)nb_meta_bool(meta, nb_meta_key(key, hp->arch->name, "expert_weights_norm"),
                       &hp->expert_norm);
    return nb_experts_check(hp, "metadata", err);
}

enum nb_status nb_experts_to_meta(const struct nb_hparams *hp, struct nb_meta *meta)
{
    const char *arch = hp->arch->name;
    const struct nb_hparams d = defaults(hp);
    char key[NB_KEY_BYTES];
    if (hp->n_experts == 0)
        return NB_OK;
    NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, arch, "expert_count"), hp->n_experts));
    NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, arch, used.suffix), hp->n_experts_used));
    if (hp->n_ff_expert != hp->n_ff)
        NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, arch, widths[0].suffix), hp->n_ff_expert));
    if (hp->n_ff_shared > 0)
        NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, arch, widths[1].suffix), hp->n_ff_shared));
    if (hp->expert_gate != d.expert_gate)
        NB_TRY(nb_meta_set_u32(meta, nb_meta_key(key, arch, "expert_gating_func"),
                               hp->expert_gate == NB_GATE_SIGMOID ? 2 : 1));
    if (hp->expert_norm != d.expert_norm)
        NB_TRY(
            nb_meta_set_bool(meta, nb_meta_key(key, arch, "expert_weights_norm"), hp->expert_norm));
    return NB_OK;
}

void nb_experts_detect(struct nb_hparams *hp, nb_has_fn *has, void *ctx)
{
    char name[NB_NAME_BYTES];
    for (uint32_t i = 0; hp->n_experts > 0 && i < hp->n_layers; i++) {
        (void)snprintf(name, sizeof name, "blk.%u.ffn_gate_inp.weight", i);
        if (!has(ctx, name))
            nb_layers_add(&hp->dense, i);
    }
}
