/* calib/calib_internal.h: what the files of this room share. */
#ifndef NB_CALIB_CALIB_INTERNAL_H
#define NB_CALIB_CALIB_INTERNAL_H

#include "calib/calib.h"

#define NB_CALIB_CHUNK_SIZE                                                                        \
    512 /* tokens of a window where a file does not say: llama-imatrix's default */
#define NB_CALIB_MAX_NAME 255 /* bytes of an entry's name */

/* imatrix_gguf.c */
bool nb_imatrix_is_gguf(const void *data, size_t n);
NB_CHECKED enum nb_status nb_imatrix_read_gguf(struct nb_calib *c, const void *data, size_t n,
                                               struct nb_error *err);
NB_CHECKED enum nb_status nb_imatrix_write_gguf(const struct nb_calib *c, const char *path,
                                                unsigned out_flags, struct nb_error *err);
/* The parts of it, for a file that is more than an imatrix (stats_file.c). */
struct nb_meta;
struct nb_writer;
NB_CHECKED enum nb_status nb_imatrix_fill_meta(const struct nb_calib *c, struct nb_meta *meta,
                                               struct nb_error *err);
NB_CHECKED enum nb_status nb_imatrix_declare(const struct nb_calib *c, struct nb_writer *w,
                                             struct nb_error *err);
NB_CHECKED enum nb_status nb_imatrix_append(const struct nb_calib *c, struct nb_writer *w,
                                            struct nb_error *err);

/* imatrix_dat.c */
NB_CHECKED enum nb_status nb_imatrix_read_dat(struct nb_calib *c, const void *data, size_t n,
                                              struct nb_error *err);
NB_CHECKED enum nb_status nb_imatrix_write_dat(const struct nb_calib *c, const char *path,
                                               unsigned out_flags, struct nb_error *err);

/* Of one column, nb_moment_means says how. */
double nb_moment_mean(const struct nb_moment *m, size_t at);
/* A stored sum: finite and not negative. */
NB_CHECKED enum nb_status nb_imatrix_check_value(float v, const char *name, uint64_t i,
                                                 struct nb_error *err);
/* As an f32, NB_ERR_NUMERIC if it does not fit. */
NB_CHECKED enum nb_status nb_imatrix_to_f32(double v, const struct nb_moment *m, float *out,
                                            struct nb_error *err);

#endif
