/* net/rules_tflite_nn.c: convolutions, pools and dense layers of TFLite, as nodes of ONNX.
 *
 * TFLite is channels last, ONNX channels first: transposes stand around each, and the layout pass takes them away
 * again (pass_layout.c). Weights are transposed constants, which import folds.
 */
#include "net/tflite_internal.h"

static const int64_t to_first[] = {0, 3, 1, 2}, to_last[] = {0, 2, 3, 1};

/* SAME and VALID, as numbers of rows and columns. */
struct window {
    int64_t size[2], stride[2], dilation[2], pads[4];
};

/* SAME: as many as there are strides, the odd one at the end. */
static enum nb_status place(struct window *w, int padding, const struct nb_tflite_tensor *x,
                            struct nb_error *err)
{
    for (int i = 0; i < 2; i++) {
        const int64_t n = x->dims[1 + i];
        if (w->stride[i] < 1 || w->dilation[i] < 1 || w->size[i] < 1 || n < 1)
            NB_FAIL(err, NB_ERR_FORMAT, "a window of %lld with stride %lld, dilation %lld, on %lld",
                    (long long)w->size[i], (long long)w->stride[i], (long long)w->dilation[i],
                    (long long)n);
        const int64_t reach = (w->size[i] - 1) * w->dilation[i] + 1;
        const int64_t steps = (n + w->stride[i] - 1) / w->stride[i];
        const int64_t all = padding == 0 ? NB_MAX((steps - 1) * w->stride[i] + reach - n, 0) : 0;
        w->pads[i] = all / 2;
        w->pads[i + 2] = all - all / 2;
    }
    return NB_OK;
}

static enum nb_status strides(const struct nb_tfl *t, struct window *w, int *padding,
                              struct nb_error *err)
{
    int32_t h, v;
    NB_TRY(nb_tfl_small(t, 0, padding, err));
    NB_TRY(nb_tfl_option(t, 1, 0, &h, err));
    NB_TRY(nb_tfl_option(t, 2, 0, &v, err));
    if (*padding != 0 && *padding != 1)
        NB_FAIL(err, NB_ERR_FORMAT, "padding %d, expected 0 or 1", *padding);
    w->stride[0] = v;
    w->stride[1] = h;
    w->dilation[0] = w->dilation[1] = 1;
    return NB_OK;
}

/* Weights (O, H, W, I), or (1, H, W, O) if deep. `dilation`: the field of its width. */
static enum nb_status convolve(struct nb_tfl *t, bool deep, unsigned dilation, unsigned fused,
                               struct nb_error *err)
{
    static const int64_t deep_first[] = {3, 0, 1, 2};
    struct window w;
    int32_t across, down;
    int padding, activation;
    NB_TRY(nb_tfl_need(t, 2, 4, err));
    const struct nb_tflite_tensor *x = nb_tfl_tensor(t, 0), *k = nb_tfl_tensor(t, 1);
    if (k->rank != 4 || k->dims[3] < 1 || x->dims[3] < 1)
        NB_FAIL(err, NB_ERR_FORMAT, "weights of %zu dimensions", k->rank);
    NB_TRY(strides(t, &w, &padding, err));
    NB_TRY(nb_tfl_small(t, fused, &activation, err));
    NB_TRY(nb_tfl_option(t, dilation, 1, &across, err));
    NB_TRY(nb_tfl_option(t, dilation + 1, 1, &down, err));
    w.dilation[0] = down;
    w.dilation[1] = across;
    w.size[0] = k->dims[1];
    w.size[1] = k->dims[2];
    NB_TRY(place(&w, padding, x, err));
    const int64_t group = deep ? x->dims[3] : x->dims[3] / k->dims[3];
    const struct nb_onnx_attr attrs[] = {
        NB_TFL_INTS("strides", w.stride, 2), NB_TFL_INTS("dilations", w.dilation, 2),
        NB_TFL_INTS("kernel_shape", w.size, 2), NB_TFL_INTS("pads", w.pads, 4),
        NB_TFL_INT("group", group)};
    const char *in[] = {nb_tfl_transpose(t, nb_tfl_in(t, 0), to_first, 4),
                        nb_tfl_transpose(t, nb_tfl_in(t, 1), deep ? deep_first : to_first, 4),
                        nb_tfl_in(t, 2)};
    const size_t n_in = nb_tfl_tensor(t, 2) != NULL ? 3 : 2;
    const char *y = nb_tfl_node(t, "Conv", NULL, n_in, in, NB_COUNTOF(attrs), attrs);
    NB_TRY(nb_tfl_activate(t, &y, activation, err)); /* next to the layer, as engines look for it */
    return nb_tfl_give(t, nb_tfl_transpose(t, y, to_last, 4), 0, err);
}

enum nb_status nb_tfl_rule_conv(struct nb_tfl *t, struct nb_error *err)
{
    return convolve(t, false, 4, 3, err);
}

enum nb_status nb_tfl_rule_depthwise(struct nb_tfl *t, struct nb_error *err)
{
    return convolve(t, true, 5, 4, err);
}

/* arg 1: the largest; 0: the mean of what is no padding. */
enum nb_status nb_tfl_rule_pool(struct nb_tfl *t, struct nb_error *err)
{
    struct window w;
    int32_t across, down;
    int padding, activation;
    NB_TRY(nb_tfl_need(t, 1, 4, err));
    NB_TRY(strides(t, &w, &padding, err));
    NB_TRY(nb_tfl_option(t, 3, 0, &across, err));
    NB_TRY(nb_tfl_option(t, 4, 0, &down, err));
    NB_TRY(nb_tfl_small(t, 5, &activation, err));
    w.size[0] = down;
    w.size[1] = across;
    NB_TRY(place(&w, padding, nb_tfl_tensor(t, 0), err));
    const struct nb_onnx_attr attrs[] = {NB_TFL_INTS("kernel_shape", w.size, 2),
                                         NB_TFL_INTS("strides", w.stride, 2),
                                         NB_TFL_INTS("pads", w.pads, 4)};
    const char *x = nb_tfl_transpose(t, nb_tfl_in(t, 0), to_first, 4);
    const char *y = nb_tfl_node(t, t->arg == 1 ? "MaxPool" : "AveragePool", NULL, 1, &x,
                                NB_COUNTOF(attrs), attrs);
    NB_TRY(nb_tfl_activate(t, &y, activation, err)); /* next to the layer, as engines look for it */
    return nb_tfl_give(t, nb_tfl_transpose(t, y, to_last, 4), 0, err);
}

/* Weights (O, I); the input's elements in rows of I, whatever its dimensions. */
enum nb_status nb_tfl_rule_dense(struct nb_tfl *t, struct nb_error *err)
{
    int activation, layout;
    NB_TRY(nb_tfl_need(t, 2, 0, err));
    NB_TRY(nb_tfl_small(t, 0, &activation, err));
    NB_TRY(nb_tfl_small(t, 1, &layout, err));
    const struct nb_tflite_tensor *k = nb_tfl_tensor(t, 1), *y = nb_tfl_result(t);
    if (layout != 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "weights in layout %d", layout);
    if (k->rank != 2)
        NB_FAIL(err, NB_ERR_FORMAT, "weights of %zu dimensions", k->rank);
    const int64_t rows[] = {-1, k->dims[1]};
    const struct nb_onnx_attr attr = NB_TFL_INT("transB", 1);
    const char *x = nb_tfl_in(t, 0);
    if (nb_tfl_tensor(t, 0)->rank != 2 || nb_tfl_tensor(t, 0)->dims[1] != k->dims[1])
        x = nb_tfl_reshape(t, x, rows, 2);
    const char *in[] = {x, nb_tfl_in(t, 1), nb_tfl_in(t, 2)};
    const char *out =
        nb_tfl_node(t, "Gemm", NULL, nb_tfl_tensor(t, 2) != NULL ? 3 : 2, in, 1, &attr);
    if (y->rank != 2)
        out = nb_tfl_reshape(t, out, y->dims, y->rank);
    return nb_tfl_give(t, out, activation, err);
}

enum nb_status nb_tfl_rule_softmax(struct nb_tfl *t, struct nb_error *err)
{
    float beta;
    NB_TRY(nb_tfl_need(t, 1, 0, err));
    NB_TRY(nb_fb_f32(&t->m->fb, &t->op->options, 0, 0.0f, &beta, err));
    const struct nb_onnx_attr attr = NB_TFL_INT("axis", -1);
    const char *x = nb_tfl_in(t, 0);
    if (beta != 1.0f)
        x = nb_tfl_binary(t, "Mul", x, nb_tfl_const_float(t, beta));
    return nb_tfl_give(t, nb_tfl_node(t, "Softmax", NULL, 1, &x, 1, &attr), 0, err);
}

enum nb_status nb_tfl_rule_resize(struct nb_tfl *t, struct nb_error *err)
{
    bool corners, half;
    NB_TRY(nb_tfl_need(t, 2, 4, err));
    NB_TRY(nb_tfl_flag(t, 2, &corners, err));
    NB_TRY(nb_tfl_flag(t, 3, &half, err));
    const struct nb_tflite_tensor *y = nb_tfl_result(t);
    if (y->rank != 4)
        NB_FAIL(err, NB_ERR_FORMAT, "a result of %zu dimensions", y->rank);
    const int64_t sizes[] = {y->dims[0], y->dims[3], y->dims[1], y->dims[2]};
    const struct nb_onnx_attr mode = NB_TFL_TEXT("mode", "linear");
    const struct nb_onnx_attr at[] = {
        NB_TFL_TEXT("coordinate_transformation_mode", "asymmetric"),
        NB_TFL_TEXT("coordinate_transformation_mode", "half_pixel"),
        NB_TFL_TEXT("coordinate_transformation_mode", "align_corners")};
    const struct nb_onnx_attr attrs[] = {mode, at[corners ? 2 : half ? 1 : 0]};
    const char *in[] = {nb_tfl_transpose(t, nb_tfl_in(t, 0), to_first, 4), "", "",
                        nb_tfl_const_ints(t, sizes, 4)};
    const char *out = nb_tfl_node(t, "Resize", NULL, 4, in, 2, attrs);
    return nb_tfl_give(t, nb_tfl_transpose(t, out, to_last, 4), 0, err);
}
