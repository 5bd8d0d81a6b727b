/* net/rules_conv.c: convolutions and pools. Automatic padding becomes numbers here. */
#include <math.h>
#include <string.h>

#include "net/net_internal.h"

#define DIMS NB_NET_WINDOW_DIMS

static enum nb_status list_of(const struct nb_net_node *n, const char *name, size_t want,
                              int64_t otherwise, int64_t *to, struct nb_error *err)
{
    size_t len;
    const int64_t *list = nb_net_ints(n, name, &len);
    if (list != NULL && len != want)
        NB_FAIL(err, NB_ERR_FORMAT, "%s has %zu entries, expected %zu", name, len, want);
    for (size_t i = 0; i < want; i++) {
        to[i] = list != NULL ? list[i] : otherwise;
        if (to[i] < 0 || to[i] > INT32_MAX)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s has the entry %lld", name, (long long)to[i]);
    }
    return NB_OK;
}

/* kernel: of the weights, if the file does not say. */
static enum nb_status read_window(const struct nb_net_node *n, const struct nb_value *w,
                                  struct nb_net_window *out, struct nb_error *err)
{
    size_t len;
    const struct nb_value *x = nb_net_in(n, 0);
    *out = (struct nb_net_window){.x = x, .dims = x->rank - 2};
    if (x->rank < 3 || x->rank > 2 + DIMS)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%u dimensions; 3 to 5 are possible", x->rank);
    if (w != NULL && w->rank != x->rank)
        NB_FAIL(err, NB_ERR_FORMAT, "weights of %u dimensions for %u", w->rank, x->rank);
    if (w == NULL && nb_net_ints(n, "kernel_shape", &len) == NULL)
        NB_FAIL(err, NB_ERR_FORMAT, "no kernel_shape");
    NB_TRY(list_of(n, "kernel_shape", out->dims, 1, out->kernel, err));
    for (uint32_t i = 0; w != NULL && i < out->dims; i++)
        out->kernel[i] = (int64_t)w->dim[2 + i].n;
    NB_TRY(list_of(n, "strides", out->dims, 1, out->stride, err));
    NB_TRY(list_of(n, "dilations", out->dims, 1, out->dilation, err));
    for (uint32_t i = 0; i < out->dims; i++)
        if (out->stride[i] == 0 || out->dilation[i] == 0 || out->kernel[i] == 0)
            NB_FAIL(err, NB_ERR_FORMAT, "a stride, dilation or kernel of 0");
    return list_of(n, "pads", 2 * (size_t)out->dims, 0, out->pads, err);
}

static int64_t extent(const struct nb_net_window *w, uint32_t i)
{
    return (w->kernel[i] - 1) * w->dilation[i] + 1;
}

/* auto_pad: SAME gives as many outputs as strides fit into the input; the odd one goes behind (UPPER) or before. */
static enum nb_status auto_pad(const struct nb_net_node *n, struct nb_net_window *w,
                               struct nb_error *err)
{
    const bool upper = nb_net_is(n, "auto_pad", "SAME_UPPER", "NOTSET");
    if (nb_net_is(n, "auto_pad", "NOTSET", "NOTSET") || nb_net_is(n, "auto_pad", "", "NOTSET"))
        return NB_OK;
    if (nb_net_is(n, "auto_pad", "VALID", "NOTSET")) {
        memset(w->pads, 0, sizeof w->pads);
        return NB_OK;
    }
    if (!upper && !nb_net_is(n, "auto_pad", "SAME_LOWER", "NOTSET"))
        NB_FAIL(err, NB_ERR_FORMAT, "an unknown auto_pad");
    for (uint32_t i = 0; i < w->dims; i++) {
        const int64_t in = (int64_t)w->x->dim[2 + i].n;
        const int64_t outs = (in + w->stride[i] - 1) / w->stride[i];
        const int64_t total = NB_MAX((outs - 1) * w->stride[i] + extent(w, i) - in, (int64_t)0);
        w->pads[i] = upper ? total / 2 : total - total / 2;
        w->pads[w->dims + i] = total - w->pads[i];
    }
    return NB_OK;
}

enum nb_status nb_net_window_of(const struct nb_net_node *n, const struct nb_value *w,
                                struct nb_net_window *out, struct nb_error *err)
{
    NB_TRY(read_window(n, w, out, err));
    return auto_pad(n, out, err);
}

enum nb_status nb_net_rule_conv(struct nb_net_node *n, struct nb_error *err)
{
    struct nb_net_window w;
    NB_TRY(nb_net_need(n, 2, err));
    NB_TRY(nb_net_window_of(n, nb_net_in(n, 1), &w, err));
    const struct nb_attr attrs[] = {
        NB_NET_WINDOW_ATTRS(w),   NB_ATTR_INT("groups", nb_net_int(n, "group", 1)),
        NB_ATTR_INT("last", 0),   NB_ATTR_INT("act", NB_CONV_NONE),
        NB_ATTR_REAL("low", 0.0), NB_ATTR_REAL("high", 0.0)};
    return nb_net_give(
        n,
        &(struct nb_node_args){.op = &nb_op_conv,
                               .in = {n->in[0], n->in[1], n->n_in > 2 ? n->in[2] : 0},
                               .attrs = attrs,
                               .n_attrs = NB_COUNTOF(attrs)},
        err);
}

/* The size of the output is given, follows from the input (SAME), or from the pads. */
static enum nb_status transposed_size(const struct nb_net_node *n, struct nb_net_window *w,
                                      int64_t *size, struct nb_error *err)
{
    int64_t more[DIMS], asked[DIMS];
    size_t len;
    const bool given = nb_net_ints(n, "output_shape", &len) != NULL;
    const bool upper = nb_net_is(n, "auto_pad", "SAME_UPPER", "NOTSET");
    const bool same = upper || nb_net_is(n, "auto_pad", "SAME_LOWER", "NOTSET");
    NB_TRY(list_of(n, "output_padding", w->dims, 0, more, err));
    NB_TRY(list_of(n, "output_shape", w->dims, 0, asked, err));
    if (nb_net_is(n, "auto_pad", "VALID", "NOTSET"))
        memset(w->pads, 0, sizeof w->pads);
    for (uint32_t i = 0; i < w->dims; i++) {
        const int64_t in = (int64_t)w->x->dim[2 + i].n;
        const int64_t whole = w->stride[i] * (in - 1) + more[i] + extent(w, i);
        if (!given && !same) {
            size[i] = whole - w->pads[i] - w->pads[w->dims + i];
            continue;
        }
        size[i] = given ? asked[i] : in * w->stride[i];
        const int64_t total = NB_MAX(whole - size[i], (int64_t)0);
        w->pads[i] = upper ? total / 2 : total - total / 2;
    }
    memset(w->pads + w->dims, 0, w->dims * sizeof *w->pads);
    return NB_OK;
}

enum nb_status nb_net_rule_conv_transpose(struct nb_net_node *n, struct nb_error *err)
{
    struct nb_net_window w;
    int64_t size[DIMS];
    NB_TRY(nb_net_need(n, 2, err));
    NB_TRY(read_window(n, nb_net_in(n, 1), &w, err));
    NB_TRY(transposed_size(n, &w, size, err));
    const struct nb_attr attrs[] = {NB_NET_WINDOW_ATTRS(w),
                                    NB_ATTR_INT("groups", nb_net_int(n, "group", 1)),
                                    NB_ATTR_INT("last", 0), NB_ATTR_LIST("size", size, w.dims)};
    return nb_net_give(
        n,
        &(struct nb_node_args){.op = &nb_op_conv_transpose,
                               .in = {n->in[0], n->in[1], n->n_in > 2 ? n->in[2] : 0},
                               .attrs = attrs,
                               .n_attrs = NB_COUNTOF(attrs)},
        err);
}

static enum nb_status give_pool(struct nb_net_node *n, const struct nb_net_window *w, int64_t p,
                                struct nb_error *err)
{
    const struct nb_attr attrs[] = {NB_NET_WINDOW_ATTRS(*w),
                                    NB_ATTR_INT("kind", n->arg),
                                    NB_ATTR_INT("ceil", nb_net_int(n, "ceil_mode", 0)),
                                    NB_ATTR_INT("count_pad", nb_net_int(n, "count_include_pad", 0)),
                                    NB_ATTR_INT("p", p),
                                    NB_ATTR_INT("last", 0)};
    return nb_net_give(
        n,
        &(struct nb_node_args){
            .op = &nb_op_pool, .in = {n->in[0]}, .attrs = attrs, .n_attrs = NB_COUNTOF(attrs)},
        err);
}

static enum nb_status give_indices(struct nb_net_node *n, const struct nb_net_window *w,
                                   struct nb_error *err)
{
    const struct nb_attr attrs[] = {NB_NET_WINDOW_ATTRS(*w),
                                    NB_ATTR_INT("ceil", nb_net_int(n, "ceil_mode", 0)),
                                    NB_ATTR_INT("columns", nb_net_int(n, "storage_order", 0))};
    const uint32_t y = nb_net_add(n, &(struct nb_node_args){.op = &nb_op_max_pool_index,
                                                            .in = {n->in[0]},
                                                            .attrs = attrs,
                                                            .n_attrs = NB_COUNTOF(attrs)});
    NB_TRY(nb_net_out(n, 0, y, err));
    return nb_net_out(n, 1, y ? y + 1 : 0, err);
}

enum nb_status nb_net_rule_pool(struct nb_net_node *n, struct nb_error *err)
{
    struct nb_net_window w;
    NB_TRY(nb_net_need(n, 1, err));
    NB_TRY(nb_net_window_of(n, NULL, &w, err));
    if (n->n->n_outputs > 1 && n->n->outputs[1][0] != '\0')
        return give_indices(n, &w, err);
    return give_pool(n, &w, nb_net_int(n, "p", 2), err);
}

/* A window as large as the image. */
enum nb_status nb_net_rule_global_pool(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 1, err));
    const struct nb_value *x = nb_net_in(n, 0);
    struct nb_net_window w = {.x = x, .dims = x->rank - 2};
    if (x->rank < 3 || x->rank > 2 + DIMS)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%u dimensions; 3 to 5 are possible", x->rank);
    for (uint32_t i = 0; i < w.dims; i++) {
        w.kernel[i] = (int64_t)x->dim[2 + i].n;
        w.stride[i] = w.dilation[i] = 1;
    }
    return give_pool(n, &w, nb_net_int(n, "p", 2), err);
}
