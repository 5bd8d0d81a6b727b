/* Every node test of ONNX whose operators nibble imports: a model, inputs, outputs (Debian's
 * libonnx-testdata; skipped without it), as the file says and after all passes. Inputs that a rule must know
 * beforehand are fixed to their data. NB_ONNX_CASE: only cases with this in their name; NB_ONNX_DATA: a folder
 * of other cases, node/NAME/model.onnx and so on. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "net/net.h"
#include "run/net.h"
#include "support/nbtest.h"

#define ROOT      "/usr/share/libonnx-testdata/data"
#define MAX_PORTS 32

/* Cases of known operators that are none of nibble's business, and why. */
static const struct {
    const char *name, *why;
} outside[] = {
    {"test_cast_FLOAT_to_STRING", "text"},
    {"test_cast_STRING_to_FLOAT", "text"},
    {"test_castlike_FLOAT_to_STRING", "text"},
    {"test_castlike_STRING_to_FLOAT", "text"},
    {"test_equal_string", "text"},
    {"test_cast_BFLOAT16", "the file's input is called uint16, and its data are no bfloat16 of it"},
    {"test_cast_FLOAT_to_BFLOAT16", "likewise"},
    {"test_castlike_BFLOAT16", "likewise"},
    {"test_castlike_FLOAT_to_BFLOAT16", "likewise"},
    {"test_batchnorm_epsilon_training_mode", "training"},
    {"test_batchnorm_example_training_mode", "training"},
    {"test_training_dropout", "training"},
    {"test_blackmanwindow_expanded",
     "the data were made with 3.1415 for pi, the file has more of it"},
    {"test_blackmanwindow_symmetric_expanded", "likewise"},
    {"test_hammingwindow_expanded", "likewise"},
    {"test_hammingwindow_symmetric_expanded", "likewise"},
    {"test_hannwindow_expanded", "likewise"},
    {"test_hannwindow_symmetric_expanded", "likewise"},
};

static bool is_outside(const char *name)
{
    for (size_t i = 0; i < NB_COUNTOF(outside); i++)
        if (strncmp(name, outside[i].name, strlen(outside[i].name)) == 0)
            return true;
    return false;
}

/* ---- tensors: a TensorProto becomes the only initializer of a model ---- */

struct tensor {
    struct nb_onnx *file;
    const struct nb_onnx_tensor *t;
    void *data; /* as the graph holds it */
    enum nb_value_type type;
};

static size_t varint(uint8_t *to, uint64_t v)
{
    size_t n = 0;
    for (; v >= 128; v >>= 7)
        to[n++] = (uint8_t)(v | 128);
    to[n++] = (uint8_t)v;
    return n;
}

static uint8_t *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = NULL;
    if (f == NULL)
        return NULL;
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *n = (size_t)ftell(f);
    rewind(f);
    data = malloc(*n + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *n, f), *n);
    fclose(f);
    return data;
}

static bool read_tensor(const char *path, struct tensor *out)
{
    static const uint8_t name[] = {8 << 3 | 2, 1, 't'};
    uint8_t head[64], graph[16];
    size_t n, at = 0, n_graph = 0;
    struct nb_error err;
    memset(out, 0, sizeof *out);
    uint8_t *data = read_file(path, &n);
    if (data == NULL)
        return false;
    n += sizeof name;              /* some have none */
    graph[n_graph++] = 5 << 3 | 2; /* initializer */
    n_graph += varint(graph + n_graph, n);
    memcpy(head, "\x08\x08\x42\x02\x10\x01\x3a", 7); /* ir_version 8, opset 1, graph */
    at = 7;
    at += varint(head + at, n_graph + n);
    memcpy(head + at, graph, n_graph);
    at += n_graph;
    uint8_t *all = malloc(at + n);
    assert_non_null(all);
    memcpy(all, head, at);
    memcpy(all + at, data, n - sizeof name);
    memcpy(all + at + n - sizeof name, name, sizeof name);
    free(data);
    const enum nb_status st = nb_onnx_open_bytes(&out->file, all, at + n, NULL, 0, NULL, &err);
    if (st != NB_OK || nb_onnx_model(out->file)->graph.n_initializers != 1) {
        if (st == NB_OK)
            nb_onnx_close(out->file);
        free(all);
        return false;
    }
    out->t = &nb_onnx_model(out->file)->graph.initializers[0];
    if (nb_net_type(out->t->type, &out->type)) {
        out->data = malloc((size_t)out->t->n * nb_value_item_bytes(out->type) + 1);
        assert_non_null(out->data);
        nb_net_decode(out->data, out->t);
    }
    /* the file borrows `all`: kept until the process ends would leak, so the tensor keeps only its copy */
    static struct nb_onnx_tensor kept[4 * MAX_PORTS];
    static int64_t dims[4 * MAX_PORTS][16];
    static size_t next;
    const size_t slot = next++ % (4 * MAX_PORTS);
    assert_true(out->t->rank <= 16);
    kept[slot] = *out->t;
    if (out->t->rank > 0)
        memcpy(dims[slot], out->t->dims, out->t->rank * sizeof(int64_t));
    kept[slot].dims = dims[slot];
    out->t = &kept[slot];
    nb_onnx_close(out->file);
    free(all);
    return out->data != NULL;
}

/* ---- one case ---- */

struct ports {
    struct tensor in[MAX_PORTS], out[MAX_PORTS];
    size_t n_in, n_out;
};

static void ports_fini(struct ports *p)
{
    for (size_t i = 0; i < p->n_in; i++)
        free(p->in[i].data);
    for (size_t i = 0; i < p->n_out; i++)
        free(p->out[i].data);
}

/* false: something in it is no tensor that nibble holds */
static bool read_ports(const char *folder, const struct nb_onnx_model *m, struct ports *p)
{
    char path[600];
    const size_t n_out = m->graph.n_outputs;
    memset(p, 0, sizeof *p);
    for (; p->n_in < MAX_PORTS; p->n_in++) {
        struct stat st;
        (void)snprintf(path, sizeof path, "%s/test_data_set_0/input_%zu.pb", folder, p->n_in);
        if (stat(path, &st) != 0)
            break;
        if (!read_tensor(path, &p->in[p->n_in]))
            return false;
    }
    for (; p->n_out < NB_MIN(n_out, (size_t)MAX_PORTS); p->n_out++) {
        (void)snprintf(path, sizeof path, "%s/test_data_set_0/output_%zu.pb", folder, p->n_out);
        if (!read_tensor(path, &p->out[p->n_out]))
            return false;
    }
    return true;
}

static double as_double(const void *data, enum nb_value_type type, size_t i)
{
    switch (type) {
    case NB_VALUE_F32:
        return (double)((const float *)data)[i];
    case NB_VALUE_F64:
        return ((const double *)data)[i];
    case NB_VALUE_I64:
        return (double)((const int64_t *)data)[i];
    case NB_VALUE_I32:
        return ((const int32_t *)data)[i];
    case NB_VALUE_U32:
        return ((const uint32_t *)data)[i];
    case NB_VALUE_I16:
        return ((const int16_t *)data)[i];
    case NB_VALUE_U16:
        return ((const uint16_t *)data)[i];
    case NB_VALUE_I8:
        return ((const int8_t *)data)[i];
    default:
        return ((const uint8_t *)data)[i];
    }
}

static bool same(const struct tensor *want, const struct nb_value *v, const void *have, char *why,
                 size_t room)
{
    const bool half = want->t->type == NB_ONNX_FLOAT16 || want->t->type == NB_ONNX_BFLOAT16;
    const double relative = half ? 1e-2 : 1e-4;
    if (v->type != want->type || v->rank != want->t->rank) {
        (void)snprintf(why, room, "type %d rank %u, expected %d rank %zu", (int)v->type, v->rank,
                       (int)want->type, want->t->rank);
        return false;
    }
    for (uint32_t i = 0; i < v->rank; i++)
        if (v->dim[i].n != (uint64_t)want->t->dims[i]) {
            (void)snprintf(why, room, "dimension %u is %llu, expected %lld", i,
                           (unsigned long long)v->dim[i].n, (long long)want->t->dims[i]);
            return false;
        }
    for (size_t i = 0; i < want->t->n; i++) {
        const double a = as_double(want->data, want->type, i), b = as_double(have, v->type, i);
        const bool real = want->type == NB_VALUE_F32 || want->type == NB_VALUE_F64;
        const double most = real ? relative * fabs(a) + 2e-6 : 0.0;
        if (!(fabs(a - b) <= most || a == b || (isnan(a) && isnan(b)))) {
            (void)snprintf(why, room, "element %zu is %.9g, expected %.9g", i, b, a);
            return false;
        }
    }
    return true;
}

static bool known_ops(const struct nb_onnx_graph *g, const char **missing)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct nb_onnx_node *n = &g->nodes[i];
        if (!nb_net_knows(n)) {
            *missing = n->op_type;
            return false;
        }
    }
    return true;
}

/* fix: 0 nothing, 1 all but a float input 0, 2 everything. */
static enum nb_status open_net(struct nb_net **net, const struct nb_onnx_model *m,
                               const struct ports *p, int fix, struct nb_error *err)
{
    struct nb_net_shape shapes[MAX_PORTS];
    struct nb_net_fixed fixed[MAX_PORTS];
    struct nb_net_options o = {.shapes = shapes, .fixed = fixed};
    for (size_t i = 0; i < p->n_in && i < m->graph.n_inputs; i++) {
        shapes[o.n_shapes++] = (struct nb_net_shape){
            .input = m->graph.inputs[i].name, .dims = p->in[i].t->dims, .rank = p->in[i].t->rank};
        if (fix == 2 || (fix == 1 && (i > 0 || p->in[i].type != NB_VALUE_F32)))
            fixed[o.n_fixed++] =
                (struct nb_net_fixed){.input = m->graph.inputs[i].name, .data = p->in[i].data};
    }
    return nb_net_import(net, m, &o, NULL, err);
}

static size_t value_bytes(const struct nb_graph *g, uint32_t v)
{
    const uint64_t sym[NB_N_SYMS] = {1, 1, 1, 1, 1};
    uint64_t bytes = 0;
    assert_true(nb_value_bytes(&g->values[v], sym, &bytes));
    return (size_t)bytes;
}

static bool run_net(struct nb_net *net, const struct nb_onnx_model *m, const struct ports *p,
                    char *why, size_t room)
{
    const struct nb_net_ports ports = {&net->g, net->input_values, net->output_values,
                                       net->n_inputs, net->n_outputs};
    const void *in[MAX_PORTS];
    void *out[MAX_PORTS];
    struct nb_net_session *s;
    struct nb_error err;
    bool ok = true;
    assert_ok(nb_net_session_create(&s, &ports, NULL, NULL, &err), &err);
    for (size_t i = 0; i < net->n_inputs; i++)
        for (size_t k = 0; k < p->n_in; k++)
            if (strcmp(net->inputs[i].name, m->graph.inputs[k].name) == 0)
                in[i] = p->in[k].data;
    for (size_t i = 0; i < net->n_outputs; i++)
        out[i] = malloc(value_bytes(&net->g, net->output_values[i]) + 1);
    nb_net_session_run(s, in, out);
    for (size_t i = 0; i < net->n_outputs; i++)
        ok = ok && same(&p->out[i], &net->g.values[net->output_values[i]], out[i], why, room);
    for (size_t i = 0; i < net->n_outputs; i++)
        free(out[i]);
    nb_net_session_destroy(s);
    return ok;
}

static bool run_derived(const struct nb_net *net, const struct nb_onnx_model *m,
                        const struct ports *p, char *why, size_t room)
{
    struct nb_net *derived;
    struct nb_error err;
    char text[300] = "";
    assert_ok(nb_net_derive(&derived, net, NB_NET_ALL, &err), &err);
    const bool ok = run_net(derived, m, p, text, sizeof text);
    if (!ok)
        (void)snprintf(why, room, "after passes: %s", text);
    nb_net_close(derived);
    return ok;
}

enum result { PASSED, FAILED, UNKNOWN_OP, OUTSIDE };

static enum result run_case(const char *folder, const char *name, char *why, size_t room)
{
    char path[600];
    const char *missing = "";
    struct nb_error err;
    struct nb_onnx *file;
    struct nb_net *net;
    struct ports p;
    enum result result = UNKNOWN_OP;
    (void)snprintf(path, sizeof path, "%s/model.onnx", folder);
    assert_ok(nb_onnx_open(&file, path, 0, NULL, &err), &err);
    const struct nb_onnx_model *m = nb_onnx_model(file);
    if (!known_ops(&m->graph, &missing)) {
        (void)snprintf(why, room, "%s", missing);
    } else if (is_outside(name)) {
        result = OUTSIDE;
    } else if (!read_ports(folder, m, &p)) {
        ports_fini(&p);
        (void)snprintf(why, room, "data of a type without tensors");
        result = OUTSIDE;
    } else {
        enum nb_status st = NB_ERR_UNSUPPORTED;
        for (int fix = 0; fix <= 2 && st == NB_ERR_UNSUPPORTED &&
                          (fix == 0 || strstr(err.message, "depends on data") ||
                           strstr(err.message, "training"));
             fix++)
            st = open_net(&net, m, &p, fix, &err);
        result = st == NB_OK && run_net(net, m, &p, why, room) && run_derived(net, m, &p, why, room)
                     ? PASSED
                     : FAILED;
        if (st != NB_OK)
            (void)snprintf(why, room, "%s", err.message);
        else
            nb_net_close(net);
        ports_fini(&p);
    }
    nb_onnx_close(file);
    return result;
}

static void run_folder(const char *kind)
{
    const char *only = getenv("NB_ONNX_CASE"), *root = getenv("NB_ONNX_DATA");
    char folder[200], path[500], why[400];
    size_t count[4] = {0};
    (void)snprintf(folder, sizeof folder, "%s/%s", root != NULL ? root : ROOT, kind);
    DIR *d = opendir(folder);
    if (d == NULL) {
        print_message("skipped: no %s (Debian's libonnx-testdata)\n", folder);
        skip();
    }
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (e->d_name[0] == '.' || (only != NULL && strstr(e->d_name, only) == NULL))
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        why[0] = '\0';
        const enum result r = run_case(path, e->d_name, why, sizeof why);
        count[r]++;
        if (r == FAILED || only != NULL)
            print_message("%s: %s %s\n", e->d_name, r == FAILED ? "FAILED" : "", why);
    }
    closedir(d);
    print_message("%zu passed, %zu failed, %zu of operators that nibble has not, %zu outside\n",
                  count[PASSED], count[FAILED], count[UNKNOWN_OP], count[OUTSIDE]);
    assert_int_equal(count[FAILED], 0);
}

static void test_nodes(void **state)
{
    (void)state;
    run_folder("node");
}

static void test_operators(void **state)
{
    (void)state;
    run_folder("pytorch-operator");
}

static void test_converted(void **state)
{
    (void)state;
    run_folder("pytorch-converted");
}

static void test_simple(void **state)
{
    (void)state;
    run_folder("simple");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nodes), cmocka_unit_test(test_operators),
        cmocka_unit_test(test_converted), cmocka_unit_test(test_simple)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
