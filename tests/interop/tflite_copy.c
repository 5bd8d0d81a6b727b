/* tests/interop/tflite_copy.c: tflite-copy IN.tflite OUT.onnx: a TFLite net as nibble translates it, for another
 * runtime to judge. */
#include <stdio.h>

#include "net/tflite.h"

int main(int argc, char **argv)
{
    struct nb_net_tflite *t;
    struct nb_error err;
    struct nb_onnx_write_options o;
    if (argc != 3)
        return 2;
    nb_onnx_write_options_init(&o);
    o.out_flags = NB_OUT_OVERWRITE;
    enum nb_status st = nb_net_tflite_open(&t, argv[1], NULL, &err);
    if (st == NB_OK) {
        st = nb_onnx_write(argv[2], nb_net_tflite_model(t), &o, NULL, &err);
        nb_net_tflite_close(t);
    }
    if (st != NB_OK)
        fprintf(stderr, "%s\n", err.message);
    return st == NB_OK ? 0 : 1;
}
