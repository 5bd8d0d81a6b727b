/* f16 and bf16: every code back and forth, rounding against the definition. */
#include "support/nbtest.h"

#include <math.h>

static void test_f16_every_code(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        const float f = nb_f16_to_f32((uint16_t)h);
        const uint32_t e = h >> 10 & 31, m = h & 1023;
        if (e == 31 && m != 0) { /* NaN: stays one, quiet, its sign and payload kept */
            if (!isnan(f) || nb_f32_to_f16(f) != (h | 0x200))
                fail_msg("NaN %04x", (unsigned)h);
            continue;
        }
        const float want = e == 31  ? INFINITY
                           : e == 0 ? ldexpf((float)m, -24)
                                    : ldexpf((float)(1024 + m), (int)e - 25);
        if (f != want * (h >> 15 ? -1.0F : 1.0F) || (signbit(f) != 0) != (h >> 15 != 0) ||
            nb_f32_to_f16(f) != h)
            fail_msg("%04x", (unsigned)h);
    }
}

/* The nearest of all f16, ties to the even code: found by the halfway points. */
static void test_f16_rounding(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        const double lo = (double)nb_f16_to_f32((uint16_t)h);
        const double hi = h == 0x7bff ? 65536.0 : (double)nb_f16_to_f32((uint16_t)(h + 1));
        const float mid = (float)((lo + hi) / 2); /* exact in f32 */
        const uint32_t even = h % 2 == 0 ? h : h + 1;
        if (nb_f32_to_f16(mid) != even || nb_f32_to_f16(nextafterf(mid, 0)) != h ||
            nb_f32_to_f16(nextafterf(mid, INFINITY)) != h + 1 ||
            nb_f32_to_f16(-mid) != (even | 0x8000))
            fail_msg("between %04x and the next", (unsigned)h);
    }
    assert_int_equal(nb_f32_to_f16(3e38F), 0x7c00);
    assert_int_equal(nb_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(nb_f32_to_f16(1e-45F), 0);
    assert_int_equal(nb_f32_to_f16(-1e-45F), 0x8000);
    assert_int_equal(nb_f32_to_f16(65519.996F), 0x7bff);
    assert_int_equal(nb_f32_to_f16(65520.0F), 0x7c00);
}

static void test_bf16(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        const float f = nb_bf16_to_f32((uint16_t)h);
        const uint32_t want = isnan(f) ? h | 0x40 : h;
        if (nb_f32_bits(f) != h << 16 || nb_f32_to_bf16(f) != want)
            fail_msg("%04x", (unsigned)h);
        if ((h & 0x7fff) >= 0x7f80)
            continue;
        const uint32_t even = h % 2 == 0 ? h : h + 1;
        if (nb_f32_to_bf16(nb_f32_from_bits(h << 16 | 0x8000)) != even ||
            nb_f32_to_bf16(nb_f32_from_bits(h << 16 | 0x7fff)) != h ||
            nb_f32_to_bf16(nb_f32_from_bits(h << 16 | 0x8001)) != h + 1)
            fail_msg("between %04x and the next", (unsigned)h);
    }
    assert_int_equal(nb_f32_to_bf16(nb_f32_from_bits(0x7f800001)), 0x7fc0); /* stays NaN */
    assert_int_equal(nb_f32_to_bf16(nb_f32_from_bits(0xffffffff)), 0xffff);
}

NB_TEST_MAIN(cmocka_unit_test(test_f16_every_code), cmocka_unit_test(test_f16_rounding),
             cmocka_unit_test(test_bf16))
