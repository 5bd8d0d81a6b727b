/* fuzz/fuzz_config.c: any bytes as a config.json, for every architecture: parameters, metadata and back,
 * through a config.json of ours, the list of tensors, rotary divisors, and for small networks the graph. */
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MANY_LAYERS 64 /* above it only the parameters are looked at: time, not memory, is short */
#define FEW_LAYERS  3

static void require(bool ok)
{
    if (!ok)
        abort();
}

static enum nb_status count_spec(void *ctx, const struct nb_tensor_spec *spec)
{
    size_t *n = ctx;
    uint64_t elements;
    require(memchr(spec->name, '\0', sizeof spec->name) != NULL && spec->name[0] != '\0');
    require(memchr(spec->hf, '\0', sizeof spec->hf) != NULL);
    require(nb_shape_count(&spec->shape, &elements) && elements > 0);
    require(spec->form != NB_HF_PAIRS || spec->shape.dim[0] % (2 * (uint64_t)spec->heads) == 0);
    ++*n;
    return NB_OK;
}

/* Every accepted rule turns every pair, at any length of context. */
static void walk_frequencies(const struct nb_rope *r)
{
    const uint32_t contexts[] = {1, r->ctx_orig, r->ctx_train, INT32_MAX};
    const size_t n = r->dim / 2;
    double *freq = calloc(n == 0 ? 1 : n, sizeof *freq);
    for (size_t k = 0; freq != NULL && k < NB_COUNTOF(contexts); k++) {
        const double scale = nb_rope_table_scale(r, contexts[k]);
        require(scale > 0.0 && scale < 1e9);
        nb_rope_frequencies(r, contexts[k], freq);
        for (size_t i = 0; i < n; i++)
            require(freq[i] > 0.0 && freq[i] <= 1001.0);
    }
    free(freq);
}

static void walk_divisors(const struct nb_hparams *hp)
{
    static struct nb_hparams back; /* large for a stack */
    const size_t n = hp->rope.dim / 2;
    float *d = calloc(n == 0 ? 1 : n, sizeof *d);
    if (d == NULL)
        return;
    back = *hp;
    nb_rope_divisors(hp, d);
    for (size_t i = 0; i < n; i++)
        require(d[i] > 0.0f); /* also: no NaN */
    walk_frequencies(&hp->rope);
    walk_frequencies(&hp->rope_local);
    if (hp->rope.scaling == NB_ROPE_LLAMA3)
        (void)nb_rope_from_divisors(&back, d);
    free(d);
}

static void walk_graph(const struct nb_hparams *hp)
{
    struct nb_graph g;
    struct nb_error err = {0};
    nb_graph_init(&g, NULL);
    require(nb_arch_build(hp, false, &g, &err) == NB_OK);
    require(nb_graph_check(&g, &err) == NB_OK);
    require(nb_graph_sort(&g, &err) == NB_OK);
    nb_graph_fini(&g);
}

/* Rules with keys of their own come back whole but for longrope's lists, which are tensors. */
static void same_rule(struct nb_rope *back, const struct nb_rope *r)
{
    if (r->scaling != NB_ROPE_DYNAMIC && r->scaling != NB_ROPE_YARN &&
        r->scaling != NB_ROPE_LONGROPE)
        return;
    memcpy(back->long_factor, r->long_factor, sizeof back->long_factor);
    memcpy(back->short_factor, r->short_factor, sizeof back->short_factor);
    require(memcmp(back, r, sizeof *r) == 0);
}

/* Parameters that were accepted hold through metadata. */
static void walk_meta(const struct nb_hparams *hp)
{
    struct nb_meta meta;
    static struct nb_hparams back;
    struct nb_error err = {0};
    nb_meta_init(&meta, NULL);
    if (nb_arch_to_meta(hp, &meta, &err) == NB_OK) {
        require(nb_arch_from_meta(hp->arch, &back, &meta, &err) == NB_OK);
        require(back.n_layers == hp->n_layers && back.n_embd == hp->n_embd &&
                back.n_ff == hp->n_ff);
        require(back.n_heads == hp->n_heads && back.n_kv_heads == hp->n_kv_heads);
        require(back.head_dim == hp->head_dim && back.n_vocab == hp->n_vocab);
        require(back.norm_eps == hp->norm_eps && back.rope.base == hp->rope.base);
        require(back.rope.dim == hp->rope.dim);
        same_rule(&back.rope, &hp->rope);
    }
    nb_meta_fini(&meta);
}

/* What a config.json of ours says is read back as it was, bit for bit. */
static void walk_config(const struct nb_hparams *hp)
{
    static struct nb_hparams back;
    struct nb_str text;
    struct nb_error err = {0};
    nb_json *root = NULL;
    nb_str_init(&text, NULL);
    nb_str_puts(&text, "{");
    if (hp->arch->to_hf(hp, &text, &err) == NB_OK) {
        nb_str_puts(&text, "\"\": 0}");
        require(text.data != NULL);
        require(nb_json_parse(&root, text.data, text.len, "config.json", &err) == NB_OK);
        require(nb_arch_from_hf(hp->arch, &back, root, &err) == NB_OK);
        require(memcmp(&back, hp, sizeof back) == 0);
    }
    nb_json_free(root);
    nb_str_fini(&text);
}

static void walk(const struct nb_hparams *hp)
{
    size_t n = 0;
    require(hp->n_layers > 0 && hp->n_embd > 0 && hp->n_ff > 0 && hp->n_vocab > 0);
    require(hp->n_kv_heads > 0 && hp->n_heads % hp->n_kv_heads == 0 && hp->head_dim > 0);
    walk_meta(hp);
    walk_config(hp);
    walk_divisors(hp);
    if (hp->n_layers > MANY_LAYERS)
        return;
    require(nb_arch_tensors(hp, count_spec, &n) == NB_OK && n > hp->n_layers);
    if (hp->n_layers <= FEW_LAYERS)
        walk_graph(hp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nb_json *root = NULL;
    struct nb_error err = {0};
    size_t n_archs;
    const struct nb_arch *const *archs = nb_arch_all(&n_archs);
    if (nb_json_parse(&root, (const char *)data, size, "config.json", &err) != NB_OK)
        return 0;
    const char *name = nb_json_string(nb_json_at(nb_json_get(root, "architectures"), 0), NULL);
    if (name != NULL)
        (void)nb_arch_by_hf(name);
    for (size_t i = 0; i < n_archs; i++) {
        static struct nb_hparams hp;
        const enum nb_status st = nb_arch_from_hf(archs[i], &hp, root, &err);
        require(st == NB_OK || (err.status == st && err.message[0] != '\0'));
        if (st == NB_OK)
            walk(&hp);
    }
    nb_json_free(root);
    return 0;
}
