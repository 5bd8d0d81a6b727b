/* examples/classify.c: runs a net in ONNX with one input on an .npy file and prints the largest of its first output.
 *
 *     classify net.onnx input.npy
 *
 * Uses the public interface alone. The file's shape fixes the dimensions that the net leaves open.
 */
#include <nibble/net.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN 3

static int fail(const struct nb_error *err)
{
    fprintf(stderr, "classify: %s\n", err->message);
    return 1;
}

static void print_largest(const float *y, uint64_t n)
{
    uint64_t last = n;

    for (int k = 0; k < SHOWN && (uint64_t)k < n; k++) {
        uint64_t best = n;
        for (uint64_t i = 0; i < n; i++) {
            const int below =
                last == n || y[i] < y[last] || (y[i] == y[last] && i > last); /* not shown yet */
            if (below && (best == n || y[i] > y[best]))
                best = i;
        }
        if (best == n)
            return;
        printf("%llu %g\n", (unsigned long long)best, (double)y[best]);
        last = best;
    }
}

/* Memory for all outputs, the run, and the first of them. */
static int run(nb_executor *e, const struct nb_npy *x, struct nb_error *err)
{
    struct nb_executor_port in, out[16];
    const void *inputs[] = {x->data};
    void *outputs[16] = {NULL};
    size_t n = 0;
    int rc = 0;

    if (nb_executor_input(e, 1, &in) == NB_OK || nb_executor_input(e, 0, &in) != NB_OK ||
        strcmp(in.type, x->type) != 0) {
        fprintf(stderr, "classify: the net wants something else than one input of %s\n", x->type);
        return 1;
    }
    while (n < 16 && nb_executor_output(e, n, &out[n]) == NB_OK) {
        outputs[n] = malloc((size_t)out[n].bytes + 1);
        rc = outputs[n] == NULL ? 1 : rc;
        n++;
    }
    if (rc == 0 && nb_executor_run(e, inputs, outputs, err) != NB_OK)
        rc = fail(err);
    if (rc == 0 && strcmp(out[0].type, "float32") == 0)
        print_largest(outputs[0], out[0].elements);
    for (size_t i = 0; i < n; i++)
        free(outputs[i]);
    return rc;
}

static int open_and_run(nb_context *ctx, const char *net, const struct nb_npy *x,
                        struct nb_error *err)
{
    struct nb_net_info info;
    struct nb_executor_options o;
    nb_executor *e;

    if (nb_inspect_net(ctx, net, &info, err) != NB_OK)
        return fail(err);
    const struct nb_executor_shape shape = {
        .input = info.n_inputs > 0 ? info.inputs[0].name : "", .dims = x->dims, .rank = x->rank};
    nb_executor_options_init(&o);
    o.shapes = &shape;
    o.n_shapes = 1;
    const enum nb_status status = nb_executor_create(&e, ctx, net, &o, err);
    nb_net_info_free(&info);
    if (status != NB_OK)
        return fail(err);
    const int rc = run(e, x, err);
    nb_executor_destroy(e);
    return rc;
}

int main(int argc, char **argv)
{
    nb_context *ctx;
    struct nb_npy x;
    struct nb_error err;
    int rc;

    if (argc != 3) {
        fprintf(stderr, "usage: classify net.onnx input.npy\n");
        return 2;
    }
    if (nb_context_create(&ctx, NULL, &err) != NB_OK)
        return fail(&err);
    if (nb_npy_read(ctx, argv[2], &x, &err) != NB_OK) {
        rc = fail(&err);
    } else {
        rc = open_and_run(ctx, argv[1], &x, &err);
        nb_npy_free(&x);
    }
    nb_context_destroy(ctx);
    return rc;
}
