/* fuzz/fuzz_tflite.c: any bytes, opened as a TFLite model; all that was read is walked, options by number. */
#include <stdlib.h>
#include <string.h>

#include "container/tflite.h"

#define FIELDS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A broken promise, as opposed to a memory error: stop where the fuzzer sees it. */
static void require(bool ok)
{
    if (!ok)
        abort();
}

static uint64_t walk_bytes(const uint8_t *data, uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += data[i];
    return sum;
}

/* Every field as everything it might be. */
static uint64_t walk_options(const struct nb_fb *fb, const struct nb_fb_table *t)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < FIELDS; i++) {
        struct nb_fb_vector v;
        struct nb_fb_table sub;
        const char *text;
        int32_t number;
        uint64_t wide;
        float f;
        bool b;
        sum += nb_fb_i32(fb, t, i, 1, &number, NULL) == NB_OK ? (uint32_t)number : 0;
        sum += nb_fb_u64(fb, t, i, 1, &wide, NULL) == NB_OK ? wide : 0;
        sum += nb_fb_bool(fb, t, i, true, &b, NULL) == NB_OK ? b : 0;
        sum += nb_fb_f32(fb, t, i, 0.5f, &f, NULL) == NB_OK && f > 0;
        if (nb_fb_text(fb, t, i, &text, NULL) == NB_OK && text != NULL)
            sum += strlen(text);
        if (nb_fb_list(fb, t, i, 8, &v, NULL) == NB_OK)
            sum += walk_bytes(fb->data + v.at, 8 * (uint64_t)v.n);
        if (nb_fb_list(fb, t, i, 4, &v, NULL) == NB_OK && v.n > 0 &&
            nb_fb_item(fb, &v, v.n - 1, &sub, NULL) == NB_OK)
            sum += sub.at;
        if (nb_fb_sub(fb, t, i, &sub, NULL) == NB_OK)
            sum += nb_fb_bool(fb, &sub, 0, false, &b, NULL) == NB_OK;
    }
    return sum;
}

static uint64_t walk_graph(const struct nb_tflite_model *m, const struct nb_tflite_graph *g)
{
    uint64_t sum = g->name != NULL ? strlen(g->name) : 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct nb_tflite_tensor *t = &g->tensors[i];
        sum += strlen(t->name) + walk_bytes(t->data, t->bytes);
        for (size_t k = 0; k < t->rank; k++) {
            require(t->dims[k] >= -1 && t->signature[k] >= -1);
            sum += (uint64_t)(t->dims[k] + t->signature[k] + 2);
        }
        for (size_t k = 0; k < t->quant.n; k++)
            sum += (t->quant.scales[k] > 0) + (uint64_t)t->quant.zero_points[k];
    }
    for (size_t i = 0; i < g->n_ops; i++) {
        const struct nb_tflite_op *op = &g->ops[i];
        for (size_t k = 0; k < op->n_inputs; k++)
            require(op->inputs[k] >= -1 && op->inputs[k] < (int64_t)g->n_tensors);
        for (size_t k = 0; k < op->n_outputs; k++)
            require(op->outputs[k] >= -1 && op->outputs[k] < (int64_t)g->n_tensors);
        sum += strlen(op->name) + walk_bytes(op->custom, op->custom_bytes);
        if (i < 64)
            sum += walk_options(&m->fb, &op->options) + walk_options(&m->fb, &op->options2);
    }
    for (size_t i = 0; i < g->n_inputs; i++)
        sum += g->tensors[g->inputs[i]].bytes;
    for (size_t i = 0; i < g->n_outputs; i++)
        sum += g->tensors[g->outputs[i]].bytes;
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nb_tflite *t;
    struct nb_error err = {0};
    const enum nb_status st = nb_tflite_open_bytes(&t, data, size, NULL, &err);
    if (st != NB_OK) {
        require(err.status == st && err.message[0] != '\0');
        require(memchr(err.message, '\0', sizeof err.message) != NULL);
        return 0;
    }
    const struct nb_tflite_model *m = nb_tflite_model(t);
    uint64_t sum = 0;
    for (size_t i = 0; i < m->n_graphs && i < 64; i++)
        sum += walk_graph(m, &m->graphs[i]);
    for (size_t i = 0; i < m->n_meta; i++)
        sum += walk_bytes(m->meta[i].data, m->meta[i].bytes) + strlen(m->meta[i].name);
    for (size_t i = 0; i < m->n_signatures; i++)
        sum += strlen(m->signatures[i].key) + m->signatures[i].n_inputs;
    volatile uint64_t sink = sum;
    (void)sink;
    nb_tflite_close(t);
    return 0;
}
