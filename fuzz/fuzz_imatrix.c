/* fuzz/fuzz_imatrix.c: any bytes as a file of importance, GGUF or .dat, and as one of statistics: read, averaged,
 * merged with itself. */
#include <stdlib.h>
#include <string.h>

#include "calib/calib.h"
#include "calib/stats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void walk(const struct nb_calib *c, const struct nb_moment *m)
{
    float first, last;
    const struct nb_shape shape = nb_shape_2(1, m->n_mat * m->cols);
    require(nb_calib_find(c, m->name) == m);
    require(m->n_mat > 0 && m->cols > 0);
    nb_moment_means(m, 0, 1, &first);
    nb_moment_means(m, m->n_mat * m->cols - 1, 1, &last);
    require(first >= 0.0F && last >= 0.0F); /* also: no NaN */
    require(nb_moment_check(m, &shape, NULL) == NB_OK || m->n_mat > 1);
}

#define MAX_COLS                                                                                   \
    128 /* of an edge whose pivots are looked for: the time they take grows with the cube */

static void read_stats(const uint8_t *data, size_t size)
{
    struct nb_stats *s, *same;
    struct nb_error err = {0};
    const enum nb_status st = nb_stats_read_bytes(&s, data, size, NULL, &err);
    if (st != NB_OK) {
        require(s == NULL && err.status == st && err.message[0] != '\0');
        return;
    }
    require(nb_stats_n_edges(s) > 0);
    for (size_t i = 0; i < nb_stats_n_edges(s); i++) {
        struct nb_stats_summary sum;
        require(nb_stats_summarize(s, i, false, NULL, &sum, &err) == NB_OK);
        require(sum.n_weights > 0 && nb_stats_edge_of(s, sum.weight) == i);
        if (sum.cols <= MAX_COLS)
            require(nb_stats_summarize(s, i, true, NULL, &sum, &err) == NB_OK);
    }
    require(nb_stats_read_bytes(&same, data, size, NULL, &err) == NB_OK);
    const enum nb_status merged = nb_stats_merge(s, same, &err); /* not if counts grow too large */
    require(merged == NB_OK || (merged == NB_ERR_FORMAT && err.message[0] != '\0'));
    nb_stats_destroy(same);
    nb_stats_destroy(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_stats(data, size);
    struct nb_calib *c, *sum;
    struct nb_error err = {0};
    const enum nb_status st = nb_calib_read_bytes(&c, data, size, NULL, &err);
    if (st != NB_OK) {
        require(c == NULL && err.status == st && err.message[0] != '\0');
        require(memchr(err.message, '\0', sizeof err.message) != NULL);
        return 0;
    }
    require(c->n > 0 && c->chunk_size > 0);
    for (size_t i = 0; i < c->n; i++)
        walk(c, &c->items[i]);
    if (nb_calib_create(&sum, NULL, NULL) == NB_OK) {
        for (int twice = 0; twice < 2; twice++)
            require(nb_calib_merge(sum, c, &err) == NB_OK);
        require(sum->n == c->n);
        nb_calib_destroy(sum);
    }
    nb_calib_destroy(c);
    return 0;
}
