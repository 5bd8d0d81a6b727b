/* kernels/avx512vnni/u8.c: 8-bit integers of nets on AVX-512. Single channels are left to AVX2: here they take as many
 * steps to bring bytes into place, and were slower. */
#include "kernels/avx512vnni/v16.h"

#include <stdbool.h>

static inline __m128i bytes(const void *p)
{
    return _mm_loadu_si128(p);
}

static inline struct v16 v16_of_u8(const uint8_t *p)
{
    return (struct v16){_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes(p)))};
}

static inline struct v16 v16_of_sum(const int32_t *a, const int32_t *b)
{
    return (struct v16){
        _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_loadu_si512(a), _mm512_loadu_si512(b)))};
}

static inline void put_codes(uint8_t *y, struct v16 v, int32_t zero)
{
    const __m512i code = _mm512_add_epi32(_mm512_cvtps_epi32(v.v), _mm512_set1_epi32(zero));
    _mm_storeu_si128((void *)y, _mm512_cvtepi32_epi8(code));
}

#define NB_FN(op) nb_##op##_avx512vnni
#include "kernels/u8.tmpl.h"
