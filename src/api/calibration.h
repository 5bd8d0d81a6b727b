/* api/calibration.h: texts as windows of tokens for a quantization that calibrates. */
#ifndef NB_API_CALIBRATION_H
#define NB_API_CALIBRATION_H

#include "api/api.h"
#include "quant/quant.h"

/* Owns: tokens, held. */
struct nb_text_windows {
    const struct nb_allocator *a;
    struct nb_windows w;
    uint32_t *tokens;
    bool *held;
};

/* At most o->calib_tokens of o->calib_texts, spread evenly, every tenth window held out. */
NB_CHECKED enum nb_status nb_text_windows_read(struct nb_text_windows *out,
                                               const struct nb_model *m,
                                               const struct nb_quant_options *o,
                                               const struct nb_allocator *a, struct nb_error *err);
void nb_text_windows_fini(struct nb_text_windows *w);

#endif
