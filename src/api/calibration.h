/* api/calibration.h: texts as windows of tokens for a quantization that calibrates. */
#ifndef NB_API_CALIBRATION_H
#define NB_API_CALIBRATION_H

#include "api/api.h"
#include "quant/quant.h"

/* Owns: tokens, held, text. */
struct nb_text_windows {
    const struct nb_allocator *a;
    struct nb_windows w;
    uint32_t *tokens;
    bool *held;
    size_t *text; /* (n) of o->calib_texts, ascending */
};

/* At most o->calib_tokens of o->calib_texts, spread evenly, every tenth window held out. */
NB_CHECKED enum nb_status nb_text_windows_read(struct nb_text_windows *out,
                                               const struct nb_model *m,
                                               const struct nb_quant_options *o,
                                               const struct nb_allocator *a, struct nb_error *err);
void nb_text_windows_fini(struct nb_text_windows *w);

/* Bits per byte of each text under the float model, on a few of its windows, and of all that was looked at.
 * texts (o->n_calib_texts): path is given, the rest filled; a text without a window has NaN, and so have all where
 * o->max_ram is too little. Warns of those that the model does not know (docs/calibrated.md, "Foreign text"). */
NB_CHECKED enum nb_status nb_text_windows_measure(const struct nb_text_windows *w,
                                                  const struct nb_model *m, nb_context *ctx,
                                                  const struct nb_quant_options *o,
                                                  struct nb_quant_text *texts, double *all,
                                                  struct nb_error *err);

#endif
