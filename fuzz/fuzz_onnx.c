/* fuzz/fuzz_onnx.c: any bytes, opened as an ONNX model, walked, written, and read back to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "container/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A broken promise, as opposed to a memory error: stop where the fuzzer sees it. */
static void require(bool ok)
{
    if (!ok)
        abort();
}

/* Every byte of a tensor is there. */
static uint64_t walk_tensor(const struct nb_onnx_tensor *t)
{
    uint64_t n, bytes, sum = 0;
    require(nb_onnx_count(&n, &bytes, t->type, t->dims, t->rank) && n == t->n && bytes == t->bytes);
    for (uint64_t i = 0; i < t->bytes; i++)
        sum += t->data[i];
    for (uint64_t i = 0; i < t->n && t->strings != NULL; i++)
        sum += t->strings[i].n;
    return sum;
}

static uint64_t walk_graph(const struct nb_onnx_graph *g)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < g->n_initializers; i++)
        sum += walk_tensor(&g->initializers[i]);
    for (size_t i = 0; i < g->n_inputs; i++)
        for (int32_t k = 0; k < g->inputs[i].rank; k++)
            sum += (uint64_t)g->inputs[i].dims[k].value;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct nb_onnx_node *n = &g->nodes[i];
        for (size_t k = 0; k < n->n_inputs; k++)
            sum += strlen(n->inputs[k]);
        for (size_t k = 0; k < n->n_attrs; k++) {
            const struct nb_onnx_attr *a = &n->attrs[k];
            require(nb_onnx_find_attr(n, a->name) != NULL);
            for (size_t j = 0; j < a->n && a->t != NULL; j++)
                sum += walk_tensor(&a->t[j]);
            for (size_t j = 0; j < a->n && a->g != NULL; j++)
                sum += walk_graph(&a->g[j]);
        }
    }
    return sum;
}

/* What was understood, as bytes. */
static void pack(struct nb_str *s, const struct nb_onnx *o)
{
    struct nb_error err;
    nb_str_init(s, NULL);
    require(nb_onnx_pack(s, nb_onnx_model(o), NULL, &err) == NB_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nb_onnx *o, *again;
    struct nb_error err = {0};
    struct nb_str one, two;
    const enum nb_status st = nb_onnx_open_bytes(&o, data, size, NULL, 0, NULL, &err);
    if (st != NB_OK) {
        require(err.status == st && err.message[0] != '\0');
        require(memchr(err.message, '\0', sizeof err.message) != NULL);
        return 0;
    }
    volatile uint64_t sink = walk_graph(&nb_onnx_model(o)->graph);
    (void)sink;
    pack(&one, o);
    require(nb_onnx_open_bytes(&again, one.data, one.len, NULL, 0, NULL, &err) == NB_OK);
    pack(&two, again);
    require(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
    nb_onnx_close(again);
    nb_onnx_close(o);
    nb_str_fini(&one);
    nb_str_fini(&two);
    return 0;
}
