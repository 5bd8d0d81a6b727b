/* net/rules_resize.c: Resize and Upsample.
 *
 * What a file says by scales or by sizes, of all dimensions or of some, becomes a scale and a size of each. Of integers and
 * doubles only nearest neighbours are picked as they are; they are interpolated as F32.
 */
#include <math.h>
#include <string.h>

#include "net/net_internal.h"

struct resize {
    uint32_t rank, n_axes;
    uint32_t axes[NB_VALUE_DIMS]; /* (n_axes) that sizes, scales and roi speak of */
    int64_t dims[NB_VALUE_DIMS];  /* of the input, then of the output */
    double scales[NB_VALUE_DIMS], roi[2 * NB_VALUE_DIMS];
    enum nb_resize mode;
    enum nb_resize_place place;
    enum nb_resize_round round;
};

/* Which of the names the attribute has; `otherwise` if there is none. */
static enum nb_status choose(const struct nb_net_node *n, const char *attr,
                             const char *const *names, int n_names, const char *otherwise, int *out,
                             struct nb_error *err)
{
    for (*out = 0; *out < n_names; (*out)++)
        if (names[*out] != NULL && nb_net_is(n, attr, names[*out], otherwise))
            return NB_OK;
    NB_FAIL(err, NB_ERR_UNSUPPORTED, "a %s that nibble does not know", attr);
}

static enum nb_status modes_of(const struct nb_net_node *n, struct resize *r, struct nb_error *err)
{
    static const char *const modes[] = {[NB_RESIZE_NEAREST] = "nearest",
                                        [NB_RESIZE_LINEAR] = "linear",
                                        [NB_RESIZE_CUBIC] = "cubic"};
    static const char *const places[] = {
        [NB_PLACE_HALF_PIXEL] = "half_pixel",
        [NB_PLACE_HALF_PIXEL_SYMMETRIC] = "half_pixel_symmetric",
        [NB_PLACE_PYTORCH_HALF_PIXEL] = "pytorch_half_pixel",
        [NB_PLACE_TF_HALF_PIXEL_FOR_NN] = "tf_half_pixel_for_nn",
        [NB_PLACE_ALIGN_CORNERS] = "align_corners",
        [NB_PLACE_ASYMMETRIC] = "asymmetric",
        [NB_PLACE_CROP] = "tf_crop_and_resize",
    };
    static const char *const rounds[] = {[NB_ROUND_PREFER_FLOOR] = "round_prefer_floor",
                                         [NB_ROUND_PREFER_CEIL] = "round_prefer_ceil",
                                         [NB_ROUND_FLOOR] = "floor",
                                         [NB_ROUND_CEIL] = "ceil"};
    int mode, place, round;
    if (nb_net_is(n, "mode", "bilinear", "")) { /* Upsample before opset 7 */
        mode = NB_RESIZE_LINEAR;
    } else {
        NB_TRY(choose(n, "mode", modes, (int)NB_COUNTOF(modes), "nearest", &mode, err));
    }
    NB_TRY(choose(n, "coordinate_transformation_mode", places, (int)NB_COUNTOF(places),
                  "half_pixel", &place, err));
    NB_TRY(choose(n, "nearest_mode", rounds, (int)NB_COUNTOF(rounds), "round_prefer_floor", &round,
                  err));
    r->mode = (enum nb_resize)mode;
    r->place = (enum nb_resize_place)place;
    r->round = (enum nb_resize_round)round;
    if (n->opset < 11 || n->arg != 0) { /* when only this one way was there */
        r->place = NB_PLACE_ASYMMETRIC;
        r->round = NB_ROUND_OUTWARD;
    }
    return NB_OK;
}

/* Input i as doubles: (len); absent or empty: len 0. */
static enum nb_status known_reals(struct nb_net_node *n, size_t i, const double **list, size_t *len,
                                  struct nb_error *err)
{
    const struct nb_value *v = nb_net_in(n, i);
    *list = NULL;
    *len = 0;
    if (v == NULL)
        return NB_OK;
    if (v->kind != NB_VALUE_CONST)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "input %zu ('%s') depends on data; it must be known when the net is opened", i,
                v->name);
    const uint32_t wide = nb_net_cast(n, n->in[i], NB_VALUE_F64);
    if (wide == 0)
        return NB_OK; /* the graph says why */
    *list = n->g->values[wide].data;
    *len = (size_t)nb_value_count(&n->g->values[wide]);
    return NB_OK;
}

static enum nb_status axes_of(const struct nb_net_node *n, struct resize *r, struct nb_error *err)
{
    size_t len;
    const int64_t *axes = nb_net_ints(n, "axes", &len);
    r->n_axes = axes != NULL ? (uint32_t)NB_MIN(len, (size_t)NB_VALUE_DIMS + 1) : r->rank;
    if (r->n_axes > NB_VALUE_DIMS)
        NB_FAIL(err, NB_ERR_FORMAT, "%zu axes of %u dimensions", len, r->rank);
    for (uint32_t i = 0; i < r->n_axes; i++)
        NB_TRY(nb_net_axis(axes != NULL ? axes[i] : (int64_t)i, r->rank, &r->axes[i], err));
    return NB_OK;
}

static enum nb_status wrong_number(const char *what, size_t len, uint32_t want,
                                   struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_FORMAT, "%zu %s for %u dimensions", len, what, want);
}

/* The product in single precision, as other runtimes have it: 10 by 2.1 are 21. */
static enum nb_status by_scales(struct resize *r, const double *scales, size_t len,
                                struct nb_error *err)
{
    if (len != r->n_axes)
        return wrong_number("scales", len, r->n_axes, err);
    for (uint32_t i = 0; i < r->n_axes; i++) {
        const uint32_t axis = r->axes[i];
        const float size = (float)r->dims[axis] * (float)scales[i];
        if (!(scales[i] > 0.0) || !(size < 1e12F))
            NB_FAIL(err, NB_ERR_FORMAT, "scale %g", scales[i]);
        r->scales[axis] = scales[i];
        r->dims[axis] = (int64_t)size;
    }
    return NB_OK;
}

static enum nb_status by_sizes(const struct nb_net_node *n, struct resize *r, const int64_t *sizes,
                               size_t len, struct nb_error *err)
{
    const bool smaller = nb_net_is(n, "keep_aspect_ratio_policy", "not_larger", "stretch");
    const bool larger = nb_net_is(n, "keep_aspect_ratio_policy", "not_smaller", "stretch");
    double one = 0.0;
    if (len != r->n_axes)
        return wrong_number("sizes", len, r->n_axes, err);
    for (uint32_t i = 0; i < r->n_axes; i++) {
        const uint32_t axis = r->axes[i];
        if (sizes[i] < 0 || sizes[i] > INT64_C(1) << 40 || r->dims[axis] == 0)
            NB_FAIL(err, NB_ERR_FORMAT, "size %lld of dimension %u", (long long)sizes[i], axis);
        r->scales[axis] = (double)sizes[i] / (double)r->dims[axis];
        one = i == 0    ? r->scales[axis]
              : smaller ? NB_MIN(one, r->scales[axis])
                        : NB_MAX(one, r->scales[axis]);
    }
    for (uint32_t i = 0; i < r->n_axes; i++) {
        const uint32_t axis = r->axes[i];
        if (smaller || larger) {
            r->dims[axis] = (int64_t)floor(one * (double)r->dims[axis] + 0.5);
            r->scales[axis] = one;
        } else {
            r->dims[axis] = sizes[i];
        }
        if (r->dims[axis] == 0)
            r->scales[axis] = 1.0; /* nobody asks */
    }
    return NB_OK;
}

static enum nb_status find_roi(struct nb_net_node *n, struct resize *r, struct nb_error *err)
{
    const double *roi;
    size_t len;
    NB_TRY(known_reals(n, 1, &roi, &len, err));
    if (len != 2 * (size_t)r->n_axes)
        return wrong_number("bounds of the region", len, r->n_axes, err);
    for (uint32_t i = 0; i < r->n_axes; i++) {
        r->roi[r->axes[i]] = roi[i];
        r->roi[r->rank + r->axes[i]] = roi[r->n_axes + i];
    }
    return NB_OK;
}

/* Upsample 7 has an attribute, 9 and Resize 10 an input 1, later ones inputs 2 and 3. */
static enum nb_status find_sizes(struct nb_net_node *n, struct resize *r, struct nb_error *err)
{
    double attr[NB_VALUE_DIMS];
    const double *scales;
    const int64_t *sizes;
    size_t len;
    const float *narrow = nb_net_floats(n, "scales", &len);
    const bool old = n->arg != 0 || n->opset < 11;
    if (narrow != NULL) {
        for (size_t i = 0; i < len && i < NB_VALUE_DIMS; i++)
            attr[i] = (double)narrow[i];
        return by_scales(r, attr, len, err);
    }
    if (!old) {
        if (r->place == NB_PLACE_CROP)
            NB_TRY(find_roi(n, r, err));
        NB_TRY(nb_net_known(n, 3, &sizes, &len, err));
        if (len > 0)
            return by_sizes(n, r, sizes, len, err);
    }
    NB_TRY(known_reals(n, old ? 1 : 2, &scales, &len, err));
    return by_scales(r, scales, len, err);
}

static uint32_t reals(struct nb_net_node *n, const double *values, uint64_t len)
{
    double *data = nb_arena_alloc(&n->g->arena, (size_t)len + 1, sizeof *data);
    if (data == NULL) {
        n->g->status = NB_ERROR(&n->g->error, NB_ERR_NOMEM, "graph: out of memory");
        return 0;
    }
    memcpy(data, values, (size_t)len * sizeof *data);
    return nb_graph_const(n->g, NULL, NB_VALUE_F64, &len, 1, data);
}

static uint32_t add(struct nb_net_node *n, const struct resize *r, uint32_t x)
{
    const uint32_t scales = reals(n, r->scales, r->rank);
    const uint32_t roi = r->place == NB_PLACE_CROP ? reals(n, r->roi, 2 * (uint64_t)r->rank) : 0;
    const struct nb_attr attrs[] = {
        NB_ATTR_INT("mode", r->mode),
        NB_ATTR_INT("place", r->place),
        NB_ATTR_INT("round", r->round),
        NB_ATTR_LIST("dims", r->dims, r->rank),
        NB_ATTR_INT("exclude", nb_net_int(n, "exclude_outside", 0) != 0),
        NB_ATTR_INT("antialias", nb_net_int(n, "antialias", 0) != 0),
        NB_ATTR_REAL("cubic_a", nb_net_real(n, "cubic_coeff_a", -0.75)),
        NB_ATTR_REAL("beyond", nb_net_real(n, "extrapolation_value", 0.0)),
        NB_ATTR_INT("last", 0),
    };
    return nb_net_add(n, &(struct nb_node_args){.op = &nb_op_resize,
                                                .in = {x, scales, roi},
                                                .attrs = attrs,
                                                .n_attrs = NB_COUNTOF(attrs)});
}

/* arg: 1 for Upsample. */
enum nb_status nb_net_rule_resize(struct nb_net_node *n, struct nb_error *err)
{
    struct resize r = {.rank = 0};
    NB_TRY(nb_net_need(n, 1, err));
    const struct nb_value *x = nb_net_in(n, 0);
    const enum nb_value_type type = x->type;
    r.rank = x->rank;
    for (uint32_t i = 0; i < r.rank; i++) {
        r.dims[i] = (int64_t)x->dim[i].n;
        r.scales[i] = r.roi[r.rank + i] = 1.0;
    }
    NB_TRY(modes_of(n, &r, err));
    NB_TRY(axes_of(n, &r, err));
    NB_TRY(find_sizes(n, &r, err));
    const bool as_is = r.mode == NB_RESIZE_NEAREST && r.place != NB_PLACE_CROP;
    const uint32_t v = add(n, &r, as_is ? n->in[0] : nb_net_cast(n, n->in[0], NB_VALUE_F32));
    return nb_net_out(n, 0, v != 0 ? nb_net_cast(n, v, type) : 0, err);
}
