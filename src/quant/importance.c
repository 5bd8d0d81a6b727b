/* quant/importance.c: which weights are rounded with importance, and what the output says about it.
 *
 * An entry that belongs to no weight is passed over: a file of statistics may be of a larger family. One
 * whose length does not fit is refused: it is of another model.
 */
#include "quant/quant_internal.h"

#include <string.h>

#define KEY_FILE    "quantize.imatrix.file"
#define KEY_DATASET "quantize.imatrix.dataset"
#define KEY_ENTRIES "quantize.imatrix.entries_count"
#define KEY_CHUNKS  "quantize.imatrix.chunks_count"

#define FEW_BITS 3.0 /* a weight: below, rounding without importance does visible harm */

/* A recipe that names its importance is only the same recipe with it. */
static enum nb_status check_recipe(const struct nb_quant_plan *p, struct nb_error *err)
{
    const char *want = p->settings.recipe->imatrix;
    char have[NB_HASH_HEX_BYTES] = "none";
    if (p->settings.imatrix != NULL)
        nb_hash_hex(p->settings.imatrix->hash, have);
    if (want != NULL && strcmp(want, have) != 0)
        NB_FAIL(
            err, NB_ERR_ARG,
            "the recipe was made with importance of hash %.40s, given is %s; give that imatrix, "
            "or delete \"imatrix\" from the recipe",
            want, have);
    return NB_OK;
}

static bool is_rounded(const struct nb_plan_tensor *t)
{
    return t->stored && t->weight->spec.quantizable && t->type->kind >= NB_NUMFMT_BLOCK &&
           t->type != t->weight->t.type;
}

static void say_missing(const struct nb_quant_plan *p)
{
    const struct nb_log *log = p->settings.log;
    const struct nb_plan_tensor *low = NULL;
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct nb_plan_tensor *t = &p->tensors[i];
        if (!is_rounded(t) || t->importance != NULL || nb_numfmt_bpw(t->type) >= FEW_BITS ||
            t->weight->spec.role == NB_ROLE_EMBED)
            continue;
        low = low == NULL ? t : low;
        n++;
    }
    if (p->settings.imatrix != NULL && p->n_unweighted > 0)
        nb_log_msg(log, NB_LOG_INFO, "%zu tensors have no entry in the imatrix, %zu have",
                   p->n_unweighted, p->n_weighted);
    if (low != NULL && p->settings.windows == NULL)
        nb_log_msg(log, NB_LOG_WARN,
                   "%zu tensors get less than 3 bits a weight without importance ('%s': %s); "
                   "quality suffers badly: make an imatrix with 'nibble calibrate' and give it "
                   "with --imatrix",
                   n, low->weight->spec.name, low->type->name);
}

/* Experts that the text did not reach, and what becomes of them. */
static void say_unseen(const struct nb_quant_plan *p)
{
    const struct nb_plan_tensor *first = NULL;
    size_t unseen = 0, few = 0, tensors = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct nb_moment *m = p->tensors[i].importance;
        size_t here = 0;
        for (size_t k = 0; m != NULL && m->n_mat > 1 && k < m->n_mat; k++) {
            here += m->count[k] < NB_CALIB_FEW_TOKENS;
            unseen += m->count[k] <= 0.0;
        }
        first = first == NULL && here > 0 ? &p->tensors[i] : first;
        tensors += here > 0;
        few += here;
    }
    if (few > 0)
        nb_log_msg(
            p->settings.log, NB_LOG_WARN,
            "importance: %zu matrices of experts in %zu tensors ('%s' ...) met fewer than %d "
            "tokens, %zu of them none: the mean over the experts of their layer stands in; "
            "a longer text, or calibrate --all-experts, reaches them",
            few, tensors, first->weight->spec.name, NB_CALIB_FEW_TOKENS, unseen);
}

enum nb_status nb_quant_weigh(struct nb_quant_plan *p, struct nb_error *err)
{
    const struct nb_calib *imatrix = p->settings.imatrix;
    NB_TRY(check_recipe(p, err));
    for (size_t i = 0; i < p->n; i++) {
        struct nb_plan_tensor *t = &p->tensors[i];
        if (imatrix != NULL && t->weight->t.shape.n >= 2)
            t->importance = nb_calib_find(imatrix, t->weight->spec.name);
        if (t->importance != NULL)
            NB_TRY(nb_moment_check(t->importance, &t->weight->t.shape, err));
        if (!is_rounded(t))
            t->importance = NULL;
        else if (t->importance != NULL)
            p->n_weighted++;
        else
            p->n_unweighted++;
    }
    if (imatrix != NULL && p->n_weighted == 0 && p->n_unweighted > 0)
        NB_FAIL(
            err, NB_ERR_ARG,
            "the imatrix has no entry for any tensor to be rounded (its first is '%.80s'): it is "
            "of another model",
            imatrix->n > 0 ? imatrix->items[0].name : "");
    say_missing(p);
    say_unseen(p);
    return NB_OK;
}

enum nb_status nb_quant_describe_imatrix(const struct nb_quant_settings *s, struct nb_meta *meta)
{
    const struct nb_calib *c = s->imatrix;
    const char *name = s->imatrix_name != NULL ? s->imatrix_name : "";
    if (c == NULL)
        return NB_OK;
    const char *dataset = c->n_datasets > 0 ? c->datasets[0] : "";
    const uint32_t chunks = (uint32_t)NB_MIN(c->chunk_count, (uint64_t)UINT32_MAX);
    NB_TRY(nb_meta_set_text(meta, KEY_FILE, name, strlen(name)));
    NB_TRY(nb_meta_set_text(meta, KEY_DATASET, dataset, strlen(dataset)));
    NB_TRY(nb_meta_set_u32(meta, KEY_ENTRIES, (uint32_t)NB_MIN(c->n, (size_t)UINT32_MAX)));
    return nb_meta_set_u32(meta, KEY_CHUNKS, chunks);
}
