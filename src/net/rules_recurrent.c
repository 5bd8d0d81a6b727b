/* net/rules_recurrent.c: RNN, GRU, LSTM; their argument is the number of gates. */
#include "net/net_internal.h"

#include <string.h>

#define MOST_FUNCTIONS 6U

/* takes: how many of alpha and beta a function takes from the lists, and what they are without. */
static const struct function {
    const char *name;
    enum nb_recurrent_act act;
    uint32_t takes;
    float alpha, beta;
} functions[] = {{"Tanh", NB_RECURRENT_TANH, 0, 0.0F, 0.0F},
                 {"Sigmoid", NB_RECURRENT_SIGMOID, 0, 0.0F, 0.0F},
                 {"Relu", NB_RECURRENT_RELU, 0, 0.0F, 0.0F},
                 {"Affine", NB_RECURRENT_AFFINE, 2, 1.0F, 0.0F},
                 {"LeakyRelu", NB_RECURRENT_LEAKY_RELU, 1, 0.01F, 0.0F},
                 {"ThresholdedRelu", NB_RECURRENT_THRESHOLDED_RELU, 1, 1.0F, 0.0F},
                 {"ScaledTanh", NB_RECURRENT_SCALED_TANH, 2, 1.0F, 1.0F},
                 {"HardSigmoid", NB_RECURRENT_HARD_SIGMOID, 2, 0.2F, 0.5F},
                 {"Elu", NB_RECURRENT_ELU, 1, 1.0F, 0.0F},
                 {"Softsign", NB_RECURRENT_SOFTSIGN, 0, 0.0F, 0.0F},
                 {"Softplus", NB_RECURRENT_SOFTPLUS, 0, 0.0F, 0.0F}};

struct acts {
    int64_t id[MOST_FUNCTIONS];
    float *numbers; /* (n, 2), of the graph's arena */
    uint64_t n;
};

static const struct function *function_of(const char *name, size_t len)
{
    for (size_t i = 0; i < NB_COUNTOF(functions); i++)
        if (strlen(functions[i].name) == len && memcmp(functions[i].name, name, len) == 0)
            return &functions[i];
    return NULL;
}

/* each: functions of a direction. The first of all layers but RNN is a sigmoid by default, the others tanh. */
static enum nb_status read_acts(struct nb_net_node *n, uint64_t directions, uint64_t each,
                                struct acts *out, struct nb_error *err)
{
    const struct nb_onnx_attr *names = nb_onnx_find_attr(n->n, "activations");
    size_t n_alpha, n_beta, alpha = 0, beta = 0;
    const float *alphas = nb_net_floats(n, "activation_alpha", &n_alpha);
    const float *betas = nb_net_floats(n, "activation_beta", &n_beta);
    out->n = directions * each;
    out->numbers = nb_arena_alloc(&n->g->arena, (size_t)out->n * 2, sizeof(float));
    if (out->numbers == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    if (names != NULL && names->type == NB_ONNX_ATTR_STRINGS && names->n != out->n)
        NB_FAIL(err, NB_ERR_FORMAT, "%zu activation functions, expected %llu", names->n,
                (unsigned long long)out->n);
    for (size_t i = 0; i < out->n; i++) {
        const bool given = names != NULL && names->type == NB_ONNX_ATTR_STRINGS;
        const struct function *f = &functions[each > 1 && i % each == 0 ? 1 : 0];
        if (given)
            f = function_of((const char *)names->strings[i].s, names->strings[i].n);
        if (f == NULL)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "activation function '%.*s'", (int)names->strings[i].n,
                    (const char *)names->strings[i].s);
        out->id[i] = f->act;
        out->numbers[2 * i] = f->takes > 0 && alpha < n_alpha ? alphas[alpha++] : f->alpha;
        out->numbers[2 * i + 1] = f->takes > 1 && beta < n_beta ? betas[beta++] : f->beta;
    }
    return NB_OK;
}

static enum nb_status direction_of(const struct nb_net_node *n, int64_t *out, struct nb_error *err)
{
    static const char *const names[] = {"forward", "reverse", "bidirectional"};
    *out = 0;
    for (int64_t i = 0; i < 3; i++)
        if (nb_net_is(n, "direction", names[i], names[0])) {
            *out = i;
            return NB_OK;
        }
    NB_FAIL(err, NB_ERR_FORMAT, "the direction is none of three");
}

/* The inputs in the operator's order; with layout 1 the batch comes first in the file. */
static enum nb_status take_inputs(struct nb_net_node *n, const struct acts *acts, bool batch_first,
                                  uint32_t in[NB_NODE_INPUTS], struct nb_error *err)
{
    static const int64_t swap[] = {1, 0, 2};
    const uint64_t dims[] = {acts->n, 2};
    NB_TRY(nb_net_need(n, 3, err));
    for (size_t i = 0; i < n->n_in && i < 3; i++)
        if (nb_net_in(n, i)->rank != 3)
            NB_FAIL(err, NB_ERR_FORMAT, "input %zu has %u dimensions", i, nb_net_in(n, i)->rank);
    for (size_t i = 0; i < 6 && i < n->n_in; i++)
        in[i] = n->in[i];
    in[6] = nb_graph_const(n->g, NULL, NB_VALUE_F32, dims, 2, acts->numbers);
    if (n->arg == 4) {
        in[7] = n->n_in > 6 ? n->in[6] : 0;
        in[8] = n->n_in > 7 ? n->in[7] : 0;
    }
    in[4] = nb_net_cast(n, in[4], NB_VALUE_I32);
    if (!batch_first)
        return NB_OK;
    static const uint32_t turned[] = {0, 5, 7};
    for (size_t i = 0; i < NB_COUNTOF(turned); i++)
        if (in[turned[i]] != 0)
            in[turned[i]] = nb_net_transpose(n, in[turned[i]], swap, 3);
    return NB_OK;
}

static enum nb_status give_outputs(struct nb_net_node *n, uint32_t first, bool batch_first,
                                   struct nb_error *err)
{
    const size_t n_out = n->arg == 4 ? 3 : 2;
    for (size_t i = 0; first != 0 && i < n_out && i < n->n->n_outputs; i++) {
        uint32_t y = first + (uint32_t)i;
        if (n->n->outputs[i][0] == '\0')
            continue;
        if (batch_first && i == 0)
            y = nb_net_transpose(n, y, (int64_t[]){2, 0, 1, 3}, 4);
        else if (batch_first)
            y = nb_net_transpose(n, y, (int64_t[]){1, 0, 2}, 3);
        NB_TRY(nb_net_out(n, i, y, err));
    }
    return NB_OK;
}

enum nb_status nb_net_rule_recurrent(struct nb_net_node *n, struct nb_error *err)
{
    static const char *const own[] = {NULL, NULL, NULL, "reset_after", "input_forget"};
    const bool batch_first = nb_net_int(n, "layout", 0) != 0;
    uint32_t in[NB_NODE_INPUTS] = {0};
    struct acts acts = {.n = 0};
    int64_t direction;
    NB_TRY(direction_of(n, &direction, err));
    NB_TRY(
        read_acts(n, direction == 2 ? 2 : 1, n->arg == 1 ? 1 : (uint64_t)n->arg - 1, &acts, err));
    NB_TRY(take_inputs(n, &acts, batch_first, in, err));
    const int64_t flag =
        n->arg == 4 ? nb_net_int(n, "input_forget", 0) : nb_net_int(n, "linear_before_reset", 0);
    const struct nb_attr attrs[] = {
        NB_ATTR_INT("direction", direction), NB_ATTR_REAL("clip", nb_net_real(n, "clip", 0.0)),
        NB_ATTR_LIST("acts", acts.id, acts.n), NB_ATTR_INT(own[n->arg], flag != 0)};
    const struct nb_op *op = n->arg == 4 ? &nb_op_lstm : n->arg == 3 ? &nb_op_gru : &nb_op_rnn;
    struct nb_node_args args = {.op = op, .attrs = attrs, .n_attrs = n->arg == 1 ? 3 : 4};
    memcpy(args.in, in, sizeof in);
    return give_outputs(n, nb_net_add(n, &args), batch_first, err);
}
