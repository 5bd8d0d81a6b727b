/* api/convert_net.c: nb_convert_net: a net in TFLite as one in ONNX, operator by operator, weights unchanged. */
#include "api/net.h"

enum nb_status nb_convert_net(nb_context *ctx, const char *path, const char *out, int32_t overwrite,
                              struct nb_error *err)
{
    struct nb_onnx_write_options o;
    struct nb_net_source source;
    nb_error_clear(err);
    if (ctx == NULL || path == NULL || out == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_convert_net: an argument is NULL");
    const struct nb_allocator a = ctx->allocator;
    enum nb_status st = nb_net_source_open(&source, path, &a, err);
    if (st != NB_OK)
        return nb_error_prefix(err, st, "%s", path);
    nb_onnx_write_options_init(&o);
    if (overwrite)
        o.out_flags = NB_OUT_OVERWRITE;
    st = nb_onnx_write(out, nb_net_source_model(&source), &o, &a, err);
    nb_net_source_close(&source);
    return st;
}
