/* cli/json.h: writes JSON. One value at a time, indented; keys are NULL inside arrays. */
#ifndef NB_CLI_JSON_H
#define NB_CLI_JSON_H

#include <stdint.h>
#include <stdio.h>

struct nb_jw {
    FILE *f;
    int depth;
    uint64_t has; /* bit d: the container at depth d has a member already */
    uint64_t array;
};

void nb_jw_begin(struct nb_jw *w, FILE *f); /* the outermost object */
void nb_jw_finish(struct nb_jw *w);
void nb_jw_object(struct nb_jw *w, const char *key);
void nb_jw_array(struct nb_jw *w, const char *key);
void nb_jw_end(struct nb_jw *w);                                        /* of an object or array */
void nb_jw_string(struct nb_jw *w, const char *key, const char *value); /* NULL: null */
void nb_jw_text(struct nb_jw *w, const char *key, const char *value, size_t n);
void nb_jw_u64(struct nb_jw *w, const char *key, uint64_t value);
void nb_jw_i64(struct nb_jw *w, const char *key, int64_t value);
void nb_jw_real(struct nb_jw *w, const char *key, double value); /* NaN, infinity: null */
void nb_jw_bool(struct nb_jw *w, const char *key, int value);

#endif
