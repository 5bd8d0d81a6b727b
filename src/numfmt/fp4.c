/* numfmt/fp4.c: what mxfp4 and nvfp4 share: E2M1 nibbles (kernels/fp4.h). A code is the doubled value, so
 * that value = scale * code as in the uniform formats; a stored -0 becomes 0.
 */
#include "numfmt/fp4.h"

static uint8_t nibble_of(int8_t code)
{
    const int a = code < 0 ? -code : code;
    const int place = a < 5 ? a : a == 6 ? 5 : a == 8 ? 6 : 7;
    return (uint8_t)(place | (code < 0 ? 8 : 0));
}

void nb_fp4_read(int8_t *codes, const uint8_t *qs, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        codes[i] = nb_fp4_values[qs[i] & 15];
        codes[i + n / 2] = nb_fp4_values[qs[i] >> 4];
    }
}

void nb_fp4_write(uint8_t *qs, const int8_t *codes, size_t n)
{
    for (size_t i = 0; i < n / 2; i++)
        qs[i] = (uint8_t)(nibble_of(codes[i]) | nibble_of(codes[i + n / 2]) << 4);
}

int32_t nb_fp4_code(float t)
{
    const int32_t a = (int32_t)nb_fp4_round(t < 0.0F ? -t : t);
    return t < 0.0F ? -a : a;
}
