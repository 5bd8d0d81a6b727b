/* kernels/avx2/u8.c: 8-bit integers of nets on AVX2. Two taps of a channel lie side by side in 16 bits, so that
 * vpmaddwd adds their products. */
#include "kernels/avx2/v16.h"

#include <stdbool.h>

static inline __m128i bytes(const void *p)
{
    return _mm_loadu_si128(p);
}

static inline struct v16 v16_of_u8(const uint8_t *p)
{
    const __m128i v = bytes(p);
    return (struct v16){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v)),
                        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(v, v)))};
}

static inline __m256i eight(const int32_t *p)
{
    return _mm256_loadu_si256((const void *)p);
}

static inline struct v16 v16_of_sum(const int32_t *a, const int32_t *b)
{
    return (struct v16){_mm256_cvtepi32_ps(_mm256_add_epi32(eight(a), eight(b))),
                        _mm256_cvtepi32_ps(_mm256_add_epi32(eight(a + 8), eight(b + 8)))};
}

/* v + zero needs 9 bits and a sign at most; packing goes by halves of a register, a permutation undoes that. */
static inline void put_codes(uint8_t *y, struct v16 v, int32_t zero)
{
    const __m256i both = _mm256_packs_epi32(_mm256_cvtps_epi32(v.a), _mm256_cvtps_epi32(v.b));
    const __m256i u = _mm256_add_epi16(both, _mm256_set1_epi16((int16_t)zero));
    const __m256i low = _mm256_and_si256(u, _mm256_set1_epi16(0xff));
    const __m256i codes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, low),
                                                      _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5));
    _mm_storeu_si128((void *)y, _mm256_castsi256_si128(codes));
}

struct sum16 {
    __m256i a, b;
};

struct taps16 {
    __m256i a, b;
};

static inline struct sum16 sum16_zero(void)
{
    return (struct sum16){_mm256_setzero_si256(), _mm256_setzero_si256()};
}

static inline void sum16_store(int32_t *y, const struct sum16 *s)
{
    _mm256_storeu_si256((void *)y, s->a);
    _mm256_storeu_si256((void *)(y + 8), s->b);
}

typedef __m128i b16;

static inline b16 b16_load(const void *p)
{
    return bytes(p);
}

static inline b16 b16_pair(const void *p, const void *q)
{
    return _mm_unpacklo_epi64(_mm_loadl_epi64(p), _mm_loadl_epi64(q));
}

static inline b16 b16_zero(void)
{
    return _mm_setzero_si128();
}

static inline struct taps16 taps16_of(b16 w, b16 v)
{
    return (struct taps16){_mm256_cvtepi8_epi16(_mm_unpacklo_epi8(w, v)),
                           _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(w, v))};
}

static inline void sum16_add(struct sum16 *s, b16 x, b16 z, const struct taps16 *w)
{
    const __m256i a = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(x, z));
    const __m256i b = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(x, z));
    s->a = _mm256_add_epi32(s->a, _mm256_madd_epi16(a, w->a));
    s->b = _mm256_add_epi32(s->b, _mm256_madd_epi16(b, w->b));
}

#define NB_FN(op) nb_##op##_avx2
#include "kernels/u8.tmpl.h"
#include "kernels/dwconv_u8.tmpl.h"

/* A shuffle finds a byte in a row of sixteen, and gives 0 where bit 7 is set: row k counts where x - 16 k is below 16, that
 * is where adding 112 does not reach bit 7. */
void nb_table_u8_u8_avx2(uint8_t *y, const uint8_t *x, size_t n, const uint8_t *table)
{
    const __m256i bias = _mm256_set1_epi8(112), step = _mm256_set1_epi8(16);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i u = _mm256_loadu_si256((const void *)(x + i)), v = _mm256_setzero_si256();
        for (size_t k = 0; k < 16; k++) {
            const __m256i row = _mm256_broadcastsi128_si256(bytes(table + 16 * k));
            v = _mm256_or_si256(v, _mm256_shuffle_epi8(row, _mm256_adds_epu8(u, bias)));
            u = _mm256_sub_epi8(u, step);
        }
        _mm256_storeu_si256((void *)(y + i), v);
    }
    for (; i < n; i++)
        y[i] = table[x[i]];
}
