/* quant/transform_sites.c: which edges of a model can be scaled, and what takes up the inverse.
 *
 * From struct nb_hparams and the names of tensors alone, the way decoder_graph.c reads them, so that an
 * architecture that is only numbers and switches has its sites at once.
 *
 *   norm -> q, k, v      norm -> gate, up (router, experts)      norm -> head
 *   v -> o, through attention, whose weights sum to 1: heads that share v share scales
 *   up -> down, through act(gate) * up; without a gate only where act lets a factor pass (ReLU)
 */
#include "quant/transform.h"

#include <stdio.h>
#include <string.h>

struct lister {
    const struct nb_weights *w;
    struct nb_site *sites;
    size_t n;
    int32_t block;
};

static const struct nb_weight *find(const struct lister *l, const char *stem, const char *suffix,
                                    size_t *index)
{
    char name[2 * NB_NAME_BYTES];
    if (l->block < 0)
        (void)snprintf(name, sizeof name, "%s.%s", stem, suffix);
    else
        (void)snprintf(name, sizeof name, "blk.%d.%s.%s", (int)l->block, stem, suffix);
    const struct nb_weight *w = nb_weights_find(l->w, name);
    *index = w == NULL ? NB_NO_WEIGHT : (size_t)(w - l->w->items);
    return w;
}

/* ---- building one ---- */

static struct nb_site *begin(struct lister *l, enum nb_site_kind kind)
{
    struct nb_site *s = &l->sites[l->n];
    *s = (struct nb_site){.kind = kind,
                          .block = l->block,
                          .n_mat = 1,
                          .share = 1,
                          .producer = NB_NO_WEIGHT,
                          .producer_bias = NB_NO_WEIGHT};
    return s;
}

static void read_by(const struct lister *l, struct nb_site *s, const char *stem)
{
    size_t i;
    const struct nb_weight *w = find(l, stem, "weight", &i);
    if (w == NULL)
        return;
    if (s->n_readers == 0)
        s->n = s->n_scales = (size_t)nb_shape_cols(&w->t.shape);
    s->readers[s->n_readers++] = i;
}

static void refuse(struct nb_site *s, const char *why)
{
    (void)snprintf(s->refusal, sizeof s->refusal, "%s", why);
}

static void produce(const struct lister *l, struct nb_site *s, const char *stem, bool norm)
{
    (void)find(l, stem, "weight", &s->producer);
    (void)find(l, stem, "bias", &s->producer_bias);
    s->norm = norm;
    if (s->producer == NB_NO_WEIGHT)
        refuse(s, "the layer before is not in the file");
}

/* A site without readers is none. */
static void end(struct lister *l, const struct nb_site *s)
{
    l->n += s->n_readers > 0;
}

/* ---- attention ---- */

static void after_norm(const struct lister *l, struct nb_site *s, unsigned which, const char *stem)
{
    const unsigned norms = l->w->hp.norms;
    if (norms & which)
        produce(l, s, stem, true);
    else if (norms & NB_NORM_SUM)
        refuse(s, "the norm before it is also what the residual sum goes on with");
    else
        refuse(s, "no norm stands between it and the residual stream, which others read too");
}

static void feed_forward_readers(const struct lister *l, struct nb_site *s)
{
    static const char *const stems[] = {"ffn_gate",       "ffn_up",      "ffn_gate_inp",
                                        "ffn_gate_exps",  "ffn_up_exps", "ffn_gate_inp_shexp",
                                        "ffn_gate_shexp", "ffn_up_shexp"};
    for (size_t i = 0; i < NB_COUNTOF(stems); i++)
        read_by(l, s, stems[i]);
}

/* Feed-forward reads what attention reads. */
static bool shares_norm(const struct nb_hparams *hp)
{
    return hp->parallel && !(hp->norms & NB_NORM_FFN);
}

static void attention_in(struct lister *l)
{
    struct nb_site *s = begin(l, NB_SITE_ATTN_IN);
    read_by(l, s, "attn_q");
    read_by(l, s, "attn_k");
    read_by(l, s, "attn_v");
    read_by(l, s, "attn_qkv");
    if (shares_norm(&l->w->hp))
        feed_forward_readers(l, s);
    after_norm(l, s, NB_NORM_ATTN, "attn_norm");
    end(l, s);
}

static void attention_out(struct lister *l)
{
    const struct nb_hparams *hp = &l->w->hp;
    struct nb_site *s = begin(l, NB_SITE_ATTN_OUT);
    read_by(l, s, "attn_output");
    s->head_dim = hp->head_dim;
    if (hp->norms & NB_NORM_SUB) {
        produce(l, s, "attn_sub_norm", true);
    } else {
        produce(l, s, hp->fused_qkv ? "attn_qkv" : "attn_v", false);
        s->share = hp->n_heads / hp->n_kv_heads;
        s->n_scales = (size_t)hp->n_kv_heads * hp->head_dim;
        s->first_row = hp->fused_qkv ? ((size_t)hp->n_heads + hp->n_kv_heads) * hp->head_dim : 0;
    }
    end(l, s);
}

/* ---- feed-forward ---- */

static void feed_forward_in(struct lister *l)
{
    struct nb_site *s = begin(l, NB_SITE_FFN_IN);
    if (shares_norm(&l->w->hp))
        return;
    feed_forward_readers(l, s);
    after_norm(l, s, NB_NORM_FFN, "ffn_norm");
    end(l, s);
}

static void after_up(const struct lister *l, struct nb_site *s, const char *up)
{
    const struct nb_hparams *hp = &l->w->hp;
    produce(l, s, up, false);
    if (hp->gated || hp->act == NB_ACT_RELU)
        return;
    s->squared = hp->act == NB_ACT_RELU2;
    if (!s->squared)
        refuse(s, "its input is an activation that lets no factor pass (GELU, SiLU) and no gate");
}

static void feed_forward_out(struct lister *l)
{
    const struct nb_hparams *hp = &l->w->hp;
    struct nb_site *s = begin(l, NB_SITE_FFN_DOWN);
    read_by(l, s, "ffn_down");
    if (hp->norms & NB_NORM_SUB)
        produce(l, s, "ffn_sub_norm", true);
    else
        after_up(l, s, "ffn_up");
    s->first_row = hp->fused_gate_up && !s->norm ? hp->n_ff : 0;
    end(l, s);
    s = begin(l, NB_SITE_EXPERT_DOWN);
    read_by(l, s, "ffn_down_exps");
    s->n_mat = hp->n_experts;
    after_up(l, s, "ffn_up_exps");
    end(l, s);
    s = begin(l, NB_SITE_SHARED_DOWN);
    read_by(l, s, "ffn_down_shexp");
    after_up(l, s, "ffn_up_shexp");
    end(l, s);
}

/* ---- the whole ---- */

static void head(struct lister *l)
{
    const struct nb_hparams *hp = &l->w->hp;
    struct nb_site *s = begin(l, NB_SITE_HEAD);
    if (hp->encoder)
        return;
    read_by(l, s, hp->tied ? "token_embd" : "output");
    produce(l, s, "output_norm", true);
    if (hp->tied)
        refuse(s, "the head is the embedding, whose columns the residual stream carries on");
    end(l, s);
}

enum nb_status nb_sites_list(const struct nb_weights *w, struct nb_site **sites, size_t *n,
                             struct nb_arena *arena, struct nb_error *err)
{
    const size_t most = (size_t)w->hp.n_layers * (NB_N_SITE_KINDS - 1) + 1;
    struct lister l = {.w = w};
    *n = 0;
    if (w->hp.n_kv_heads == 0) /* of an architecture that nibble does not know */
        return NB_OK;
    l.sites = nb_arena_alloc(arena, most, sizeof *l.sites);
    if (l.sites == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu sites", most);
    for (uint32_t i = 0; i < w->hp.n_layers; i++) {
        l.block = (int32_t)i;
        attention_in(&l);
        attention_out(&l);
        feed_forward_in(&l);
        feed_forward_out(&l);
    }
    l.block = -1;
    head(&l);
    *sites = l.sites;
    *n = l.n;
    return NB_OK;
}

const char *nb_site_name(const struct nb_weights *w, const struct nb_site *s,
                         char dst[NB_NAME_BYTES])
{
    const char *name = w->items[s->readers[0]].spec.name;
    const char *dot = strrchr(name, '.');
    (void)snprintf(dst, NB_NAME_BYTES, "%.*s", dot == NULL ? NB_NAME_BYTES - 1 : (int)(dot - name),
                   name);
    return dst;
}
