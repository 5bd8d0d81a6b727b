/* fuzz/fuzz_npy.c: any bytes, opened as an .npy file, walked, decoded, laid out again. */
#include "fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_container(data, size);
    return 0;
}
