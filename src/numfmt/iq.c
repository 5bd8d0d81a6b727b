/* numfmt/iq.c: rounding to a code word, decoding and repacking of the codebook formats. */
#include "numfmt/iq.h"

uint32_t nb_iq_index_of(const struct nb_iq_grid *grid, const int8_t *codes)
{
    int8_t magnitude[NB_IQ_MAX_DIM];
    for (uint32_t j = 0; j < grid->dim; j++)
        magnitude[j] = (int8_t)(codes[j] < 0 ? -codes[j] : codes[j]);
    const int32_t index = nb_iq_index(grid, magnitude);
    nb_assert(index >= 0);
    return (uint32_t)(index < 0 ? 0 : index);
}

void nb_iq_round(const struct nb_iq_book *b, const struct nb_grid *g, uint32_t i, const float *x,
                 const float *w, int8_t *codes, float *values)
{
    const float scale = g->scale[i / b->sub];
    const float inv = nb_inverse(scale);
    int8_t row[NB_IQ_ROW];
    float xs[NB_IQ_ROW] = {0.0F};
    float ws[NB_IQ_ROW] = {0.0F};
    for (uint32_t j = 0; j < b->word; j++) {
        xs[j] = x[j];
        ws[j] = w != NULL ? w[j] : 1.0F;
    }
    nb_kernels_get()->round_iq_f32(row, b->grid, xs, ws, &inv, 1);
    for (uint32_t j = 0; j < b->word; j++) {
        codes[j] = row[j];
        values[j] = scale * (float)row[j];
    }
}

void nb_iq_round_block(const struct nb_iq_book *b, const float *scale, const float *x,
                       const float *w, int8_t *codes)
{
    float inv[NB_IQ_ROWS];
    for (uint32_t i = 0; i < NB_IQ_ROWS; i++)
        inv[i] = nb_inverse(scale[i * NB_IQ_ROW / b->sub]);
    nb_kernels_get()->round_iq_f32(codes, b->grid, x, w, inv, NB_IQ_ROWS);
}

void nb_iq_encode(const struct nb_numfmt *f, const struct nb_iq_book *b, void *dst,
                  const float *src, const float *importance, size_t n)
{
    uint8_t *out = dst;
    for (size_t at = 0; at < n; at += f->block, out += f->block_bytes) {
        struct nb_grid g;
        float w[NB_NUMFMT_MAX_BLOCK];
        int8_t codes[NB_NUMFMT_MAX_BLOCK];
        nb_iq_weights(w, importance == NULL ? NULL : importance + at);
        nb_iq_fit(b, &g, src + at, importance == NULL ? NULL : importance + at);
        nb_iq_round_block(b, g.scale, src + at, w, codes);
        f->pack(out, &g, codes);
    }
}

void nb_iq_weights(float *w, const float *importance)
{
    if (importance != NULL)
        nb_numfmt_weights(w, importance, NB_NUMFMT_MAX_BLOCK);
    for (uint32_t i = 0; importance == NULL && i < NB_NUMFMT_MAX_BLOCK; i++)
        w[i] = 1.0F;
}

void nb_iq_decode(const struct nb_numfmt *f, const void *src, float *dst, size_t n)
{
    const uint8_t *p = src;
    for (size_t at = 0; at < n; at += f->block, p += f->block_bytes) {
        struct nb_grid g;
        int8_t codes[NB_NUMFMT_MAX_BLOCK];
        f->unpack(&g, codes, p);
        for (size_t s = 0; s < f->block / f->sub; s++)
            for (size_t i = s * f->sub; i < (s + 1) * f->sub; i++)
                dst[at + i] = g.scale[s] * (float)codes[i];
    }
}

void nb_iq_expand(const struct nb_numfmt *f, const void *src, size_t n, int8_t *codes, float *scale)
{
    const uint8_t *p = src;
    const size_t subs = f->block / f->sub;
    for (size_t b = 0; b < n / f->block; b++, p += f->block_bytes) {
        struct nb_grid g;
        f->unpack(&g, codes + b * f->block, p);
        memcpy(scale + b * subs, g.scale, subs * sizeof(float));
    }
}
