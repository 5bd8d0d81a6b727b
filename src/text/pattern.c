/* text/pattern.c: searching short names by a pattern that a user gave: the regex engine's other door. */
#include "text/text_internal.h"

#include <string.h>

/* Owns: both. One thread at a time. */
struct nb_pattern {
    const struct nb_allocator *a;
    struct nb_regex *regex;
    struct nb_regex_run *run;
};

enum nb_status nb_pattern_create(struct nb_pattern **out, const char *pattern, size_t n,
                                 const struct nb_allocator *a, struct nb_error *err)
{
    *out = NULL;
    struct nb_pattern *p = nb_alloc_zero(a, 1, sizeof *p);
    if (p == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a pattern");
    p->a = a;
    enum nb_status st = nb_regex_create(&p->regex, (struct nb_text){pattern, n}, false, a, err);
    if (st == NB_OK) {
        p->run = nb_regex_run_create(a);
        if (p->run == NULL)
            st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory for a pattern");
    }
    if (st != NB_OK) {
        nb_pattern_destroy(p);
        return st;
    }
    *out = p;
    return NB_OK;
}

void nb_pattern_destroy(struct nb_pattern *p)
{
    if (p == NULL)
        return;
    nb_regex_run_destroy(p->run);
    nb_regex_destroy(p->regex);
    nb_free(p->a, p);
}

enum nb_status nb_pattern_search(const struct nb_pattern *p, const char *text, size_t n,
                                 bool *found, struct nb_error *err)
{
    struct nb_regex_match m;
    *found = false;
    NB_TRY(nb_regex_find(p->regex, p->run, (struct nb_text){text, n}, 0, false, &m, err));
    *found = m.found;
    return NB_OK;
}
