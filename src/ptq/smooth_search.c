/* ptq/smooth_search.c: the alpha of least noise: the whole net is quantized with each of some, and the worst output's
 * noise over a few samples says which (the paper searches likewise, by accuracy). */
#include <math.h>

#include "ptq/ptq_internal.h"

#define SAMPLES 16

/* Noise over signal of the worst output. */
static double worst(const struct nb_ptq_error *errors, size_t n)
{
    double most = 0.0;
    for (size_t i = 0; i < n; i++)
        if (errors[i].of.signal > 0.0)
            most = NB_MAX(most, errors[i].of.noise / errors[i].of.signal);
    return most;
}

static enum nb_status try(double *noise, const struct nb_onnx_model *m,
                          const struct nb_net_options *net, const struct nb_ptq_options *o,
                          const struct nb_ptq_data *data, struct nb_pool *pool,
                          const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_ptq *p;
    struct nb_ptq_data some = *data;
    some.n_samples = NB_MIN(some.n_samples, (size_t)SAMPLES);
    some.labels = NULL;
    struct nb_ptq_error *errors = nb_alloc_zero(a, m->graph.n_outputs + 1, sizeof *errors);
    if (errors == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to smooth a net");
    enum nb_status st = nb_ptq_create(&p, m, net, o, data, pool, a, err);
    if (st == NB_OK)
        st = nb_ptq_measure(errors, m, nb_ptq_model(p), net, &some, pool, a, err);
    *noise = worst(errors, m->graph.n_outputs);
    nb_ptq_destroy(p);
    nb_free(a, errors);
    return st;
}

enum nb_status nb_ptq_find_alpha(double *alpha, const struct nb_onnx_model *m,
                                 const struct nb_net_options *net, const struct nb_ptq_options *o,
                                 const struct nb_ptq_data *data, struct nb_pool *pool,
                                 const struct nb_allocator *a, struct nb_error *err)
{
    static const double alphas[] = {0.35, 0.5, 0.65, 0.8};
    struct nb_ptq_options one = *o;
    double least = INFINITY, noise = 0.0;
    one.bounded = false;
    one.format = NB_PTQ_QDQ;
    one.encodings = NULL;
    *alpha = alphas[1];
    for (size_t i = 0; i < NB_COUNTOF(alphas); i++) {
        one.alpha = alphas[i];
        NB_TRY(try(&noise, m, net, &one, data, pool, a, err));
        if (noise < least) {
            least = noise;
            *alpha = alphas[i];
        }
    }
    return NB_OK;
}
