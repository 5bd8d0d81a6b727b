/* onnx-copy: reads ONNX files and writes what was understood, for test_onnx_peer.py.
 * Pairs of paths come on standard input, one "IN<tab>OUT<tab>ABOVE" a line (ABOVE: bytes from which tensors
 * become external data; -1: none). Prints a line for each: "ok", or the error. */
#include "container/onnx.h"

#include <stdio.h>
#include <string.h>

static enum nb_status copy(const char *in, const char *out, int64_t above, struct nb_error *err)
{
    struct nb_onnx *o;
    struct nb_onnx_write_options wo;
    nb_onnx_write_options_init(&wo);
    wo.out_flags = NB_OUT_OVERWRITE;
    if (above >= 0)
        wo.external_above = (uint64_t)above;
    NB_TRY(nb_onnx_open(&o, in, 0, NULL, err));
    const enum nb_status st = nb_onnx_write(out, nb_onnx_model(o), &wo, NULL, err);
    nb_onnx_close(o);
    return st;
}

int main(void)
{
    char line[3072];
    while (fgets(line, sizeof line, stdin) != NULL) {
        struct nb_error err = {0};
        int64_t above;
        char *out, *number;
        line[strcspn(line, "\n")] = '\0';
        out = strchr(line, '\t');
        number = out != NULL ? strchr(out + 1, '\t') : NULL;
        if (number == NULL || !nb_parse_i64(number + 1, &above))
            return 2;
        *out++ = '\0';
        *number = '\0';
        if (copy(line, out, above, &err) == NB_OK)
            puts("ok");
        else
            puts(err.message);
        fflush(stdout);
    }
    return 0;
}
