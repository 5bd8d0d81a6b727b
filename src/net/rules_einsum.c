/* net/rules_einsum.c: Einsum of one or two operands.
 *
 * A letter that an operand has twice is its diagonal: a slice of the two dimensions as one. A letter that one operand
 * has alone and the result has not is summed: a product with ones. What is left are letters of both that stay
 * (batches), letters of both that go (summed), and letters of one: a product of matrices, between transposes. Letters
 * are handled as numbers: 0 .. 51 of the alphabet, from 52 on the dimensions that an ellipsis stands for, counted
 * from its right end.
 */
#include "net/net_internal.h"

#include <string.h>

#define LETTERS  52U
#define ELLIPSIS LETTERS
#define N_LABELS (LETTERS + NB_VALUE_DIMS)

struct term {
    uint8_t label[NB_VALUE_DIMS];
    uint32_t n;
    uint32_t value; /* 0: the result */
};

struct einsum {
    struct nb_net_node *n;
    struct term in[2], out;
    uint32_t n_in;
    int64_t size[N_LABELS]; /* 0: not there */
};

static int position(const struct term *t, uint8_t label)
{
    for (uint32_t i = 0; i < t->n; i++)
        if (t->label[i] == label)
            return (int)i;
    return -1;
}

static bool has(const struct term *t, uint8_t label)
{
    return position(t, label) >= 0;
}

/* ---- reading ---- */

static int letter(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : -1;
}

/* rank: of the operand, or of the result: the letters and `dots` dimensions. */
static enum nb_status read_term(const char *s, size_t len, uint32_t dots, struct term *t,
                                struct nb_error *err)
{
    bool seen = false;
    t->n = 0;
    for (size_t i = 0; i < len; i++) {
        const int l = letter(s[i]);
        if (s[i] == ' ')
            continue;
        if (l < 0 && (seen || len - i < 3 || memcmp(s + i, "...", 3) != 0))
            NB_FAIL(err, NB_ERR_FORMAT, "'%c' at %zu of '%.*s'", s[i], i, (int)len, s);
        const uint32_t add = l >= 0 ? 1 : dots;
        if (t->n + add > NB_VALUE_DIMS)
            NB_FAIL(err, NB_ERR_FORMAT, "'%.*s' names more dimensions than there are", (int)len, s);
        for (uint32_t k = 0; k < add; k++)
            t->label[t->n++] = (uint8_t)(l >= 0 ? (uint32_t)l : ELLIPSIS + dots - 1 - k);
        if (l < 0) {
            seen = true;
            i += 2;
        }
    }
    return NB_OK;
}

static uint32_t count_letters(const char *s, size_t len)
{
    uint32_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += letter(s[i]) >= 0;
    return n;
}

static enum nb_status read_operand(struct einsum *e, const char *s, size_t len, uint32_t *most_dots,
                                   struct nb_error *err)
{
    const struct nb_value *v = nb_net_in(e->n, e->n_in);
    const uint32_t letters = count_letters(s, len);
    struct term *t = &e->in[e->n_in];
    if (letters > v->rank)
        NB_FAIL(err, NB_ERR_FORMAT, "'%.*s' for %u dimensions", (int)len, s, v->rank);
    NB_TRY(read_term(s, len, v->rank - letters, t, err));
    if (t->n != v->rank)
        NB_FAIL(err, NB_ERR_FORMAT, "'%.*s' for %u dimensions", (int)len, s, v->rank);
    t->value = e->n->in[e->n_in++];
    for (uint32_t i = 0; i < t->n; i++) {
        const int64_t have = (int64_t)v->dim[i].n;
        int64_t *size = &e->size[t->label[i]];
        if (*size > 1 && have > 1 && *size != have)
            NB_FAIL(err, NB_ERR_FORMAT, "a letter stands for %lld and %lld", (long long)*size,
                    (long long)have);
        *size = NB_MAX(*size, have);
        if (have == 0)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "an empty operand");
        if (t->label[i] >= ELLIPSIS)
            *most_dots = NB_MAX(*most_dots, t->label[i] - ELLIPSIS + 1);
    }
    return NB_OK;
}

/* Without an arrow: the ellipsis, then letters that are there once, in their order. */
static void implied_result(struct einsum *e, uint32_t dots)
{
    uint32_t seen[LETTERS] = {0};
    e->out.n = 0;
    for (uint32_t i = 0; i < e->n_in; i++)
        for (uint32_t k = 0; k < e->in[i].n; k++)
            if (e->in[i].label[k] < LETTERS)
                seen[e->in[i].label[k]]++;
    for (uint32_t k = 0; k < dots; k++)
        e->out.label[e->out.n++] = (uint8_t)(ELLIPSIS + dots - 1 - k);
    for (uint32_t l = 0; l < LETTERS && e->out.n < NB_VALUE_DIMS; l++)
        if (seen[l] == 1)
            e->out.label[e->out.n++] = (uint8_t)l;
}

static enum nb_status check_result(const struct einsum *e, struct nb_error *err)
{
    uint32_t seen[N_LABELS] = {0};
    for (uint32_t i = 0; i < e->out.n; i++) {
        const uint8_t l = e->out.label[i];
        if (e->size[l] == 0 || seen[l]++)
            NB_FAIL(err, NB_ERR_FORMAT, "the result names a letter twice, or one of no operand");
    }
    return NB_OK;
}

static enum nb_status read_equation(struct einsum *e, struct nb_error *err)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(e->n->n, "equation");
    if (a == NULL || a->type != NB_ONNX_ATTR_STRING)
        NB_FAIL(err, NB_ERR_FORMAT, "no equation");
    const char *s = (const char *)a->s.s;
    size_t len = a->s.n, arrow = len;
    uint32_t dots = 0;
    for (size_t i = 0; i + 1 < len && arrow == len; i++)
        if (s[i] == '-' && s[i + 1] == '>')
            arrow = i;
    for (size_t i = 0, from = 0; i <= arrow; i++) {
        if (i < arrow && s[i] != ',')
            continue;
        if (e->n_in >= e->n->n_in)
            NB_FAIL(err, NB_ERR_FORMAT, "the equation has more operands than there are");
        NB_TRY(read_operand(e, s + from, i - from, &dots, err));
        from = i + 1;
    }
    if (e->n_in != e->n->n_in)
        NB_FAIL(err, NB_ERR_FORMAT, "the equation has %u operands, the node %zu", e->n_in,
                e->n->n_in);
    if (arrow == len)
        implied_result(e, dots);
    else
        NB_TRY(read_term(s + arrow + 2, len - arrow - 2, dots, &e->out, err));
    return check_result(e, err);
}

/* ---- one operand ---- */

static int64_t dim_of(const struct einsum *e, const struct term *t, uint32_t i)
{
    return t->value != 0 ? (int64_t)e->n->g->values[t->value].dim[i].n : 0;
}

/* Dimensions in the order of `label`; those it has not are 1. */
static void arrange(struct einsum *e, struct term *t, const uint8_t *label, uint32_t n)
{
    int64_t perm[NB_VALUE_DIMS], dims[NB_VALUE_DIMS];
    uint32_t at = 0;
    bool same = true;
    for (uint32_t i = 0; i < n; i++) {
        const int from = position(t, label[i]);
        dims[i] = from < 0 ? 1 : dim_of(e, t, (uint32_t)from);
        if (from >= 0) {
            same = same && from == (int)at;
            perm[at++] = from;
        }
    }
    if (!same)
        t->value = nb_net_transpose(e->n, t->value, perm, at);
    if (at != n)
        t->value = nb_net_reshape(e->n, t->value, dims, n);
    memcpy(t->label, label, n);
    t->n = n;
}

/* The last two dimensions, of one letter, become one. */
static void diagonal(struct einsum *e, struct term *t)
{
    const uint32_t n = t->n - 1;
    int64_t dims[NB_VALUE_DIMS], start[NB_VALUE_DIMS] = {0}, step[NB_VALUE_DIMS];
    for (uint32_t i = 0; i < n; i++) {
        dims[i] = dim_of(e, t, i);
        step[i] = 1;
    }
    const int64_t size = dims[n - 1];
    dims[n - 1] = size * size;
    step[n - 1] = size == 1 ? 1 : size + 1;
    t->value = nb_net_reshape(e->n, t->value, dims, n);
    dims[n - 1] = size;
    const struct nb_attr attrs[] = {NB_ATTR_LIST("start", start, n), NB_ATTR_LIST("step", step, n),
                                    NB_ATTR_LIST("dims", dims, n)};
    t->value = nb_net_add(
        e->n,
        &(struct nb_node_args){.op = &nb_op_slice, .in = {t->value}, .attrs = attrs, .n_attrs = 3});
    t->n = n;
}

static enum nb_status diagonals(struct einsum *e, struct term *t, struct nb_error *err)
{
    for (uint32_t i = 0; i < t->n; i++)
        for (uint32_t k = i + 1; k < t->n; k++) {
            int64_t perm[NB_VALUE_DIMS];
            uint8_t label[NB_VALUE_DIMS];
            uint32_t at = 0;
            if (t->label[i] != t->label[k])
                continue;
            if (dim_of(e, t, i) != dim_of(e, t, k))
                NB_FAIL(err, NB_ERR_FORMAT, "a letter stands for %lld and %lld",
                        (long long)dim_of(e, t, i), (long long)dim_of(e, t, k));
            for (uint32_t j = 0; j < t->n; j++)
                if (j != i && j != k)
                    perm[at++] = j;
            perm[at++] = i;
            perm[at++] = k;
            for (uint32_t j = 0; j < t->n; j++)
                label[j] = t->label[perm[j]];
            t->value = nb_net_transpose(e->n, t->value, perm, t->n);
            memcpy(t->label, label, t->n);
            diagonal(e, t);
            return diagonals(e, t, err);
        }
    return NB_OK;
}

/* Sums what neither the result nor `other` (which may be NULL) has. */
static void sum_own(struct einsum *e, struct term *t, const struct term *other)
{
    uint8_t label[NB_VALUE_DIMS];
    int64_t dims[NB_VALUE_DIMS], rows = 1, cols = 1;
    uint32_t kept = 0, at;
    for (uint32_t i = 0; i < t->n; i++)
        if (has(&e->out, t->label[i]) || (other && has(other, t->label[i])))
            label[kept++] = t->label[i];
    at = kept;
    for (uint32_t i = 0; i < t->n; i++)
        if (!has(&e->out, t->label[i]) && !(other && has(other, t->label[i])))
            label[at++] = t->label[i];
    if (kept == t->n)
        return;
    arrange(e, t, label, t->n);
    for (uint32_t i = 0; i < t->n; i++) {
        dims[i] = dim_of(e, t, i);
        *(i < kept ? &rows : &cols) *= dims[i];
    }
    const enum nb_value_type type = e->n->g->values[t->value].type;
    const uint32_t matrix = nb_net_reshape(e->n, t->value, (int64_t[]){rows, cols}, 2);
    const uint32_t one = nb_net_reshape(e->n, nb_net_scalar(e->n, type, 1.0), (int64_t[]){1, 1}, 2);
    const struct nb_attr to = NB_ATTR_LIST("dims", ((int64_t[]){cols, 1}), 2);
    const uint32_t ones = nb_net_add(
        e->n, &(struct nb_node_args){.op = &nb_op_expand, .in = {one}, .attrs = &to, .n_attrs = 1});
    t->value = nb_net_reshape(e->n, nb_net_matmul(e->n, matrix, ones), dims, kept);
    t->n = kept;
}

/* ---- two operands ---- */

/* Appends the letters of t that `in_a` and `in_out` say. */
static uint32_t pick(uint8_t *label, uint32_t at, const struct term *t, const struct term *other,
                     const struct term *out, bool in_other, bool in_out)
{
    for (uint32_t i = 0; i < t->n && at < NB_VALUE_DIMS; i++)
        if (has(other, t->label[i]) == in_other && has(out, t->label[i]) == in_out)
            label[at++] = t->label[i];
    return at;
}

/* The letters from `first` on become one dimension, after them those from `second` on. */
static void as_matrix(struct einsum *e, struct term *t, uint32_t first, uint32_t second)
{
    int64_t dims[NB_VALUE_DIMS] = {0};
    for (uint32_t i = 0; i < first; i++)
        dims[i] = dim_of(e, t, i);
    dims[first] = dims[first + 1] = 1;
    for (uint32_t i = first; i < t->n; i++)
        dims[first + (i >= second)] *= dim_of(e, t, i);
    t->value = nb_net_reshape(e->n, t->value, dims, first + 2);
}

static enum nb_status product(struct einsum *e, struct nb_error *err)
{
    struct term *a = &e->in[0], *b = &e->in[1];
    uint8_t batch[NB_VALUE_DIMS], la[NB_VALUE_DIMS], lb[NB_VALUE_DIMS];
    int64_t dims[NB_VALUE_DIMS];
    struct term y = {.n = 0};
    const uint32_t n_batch = pick(batch, 0, a, b, &e->out, true, true);
    if (n_batch + 2 > NB_VALUE_DIMS)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%u letters of both operands", n_batch);
    for (uint32_t i = 0; i < a->n; i++)
        if (has(b, a->label[i]) && !has(&e->out, a->label[i]) &&
            dim_of(e, a, i) != dim_of(e, b, (uint32_t)position(b, a->label[i])))
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "a sum over a letter that stands for 1 and for more");
    memcpy(la, batch, n_batch);
    memcpy(lb, batch, n_batch);
    const uint32_t free_a = pick(la, n_batch, a, b, &e->out, false, true);
    const uint32_t end_a = pick(la, free_a, a, b, &e->out, true, false);
    const uint32_t sums = n_batch + end_a - free_a;
    memcpy(lb + n_batch, la + free_a, end_a - free_a);
    const uint32_t end_b = pick(lb, sums, b, a, &e->out, false, true);
    arrange(e, a, la, end_a);
    arrange(e, b, lb, end_b);
    memcpy(y.label, la, free_a);
    y.n = free_a;
    for (uint32_t i = sums; i < end_b && y.n < NB_VALUE_DIMS; i++)
        y.label[y.n++] = lb[i];
    if (y.n != e->out.n)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "a result of more dimensions than %d", NB_VALUE_DIMS);
    as_matrix(e, a, n_batch, free_a);
    as_matrix(e, b, n_batch, sums);
    for (uint32_t i = 0; i < y.n; i++)
        dims[i] = e->size[y.label[i]];
    y.value = nb_net_reshape(e->n, nb_net_matmul(e->n, a->value, b->value), dims, y.n);
    arrange(e, &y, e->out.label, e->out.n);
    a->value = y.value;
    return NB_OK;
}

enum nb_status nb_net_rule_einsum(struct nb_net_node *n, struct nb_error *err)
{
    struct einsum e = {.n = n};
    NB_TRY(nb_net_need(n, NB_MAX(n->n_in, (size_t)1), err));
    if (n->n_in > 2)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%zu operands; up to two are possible", n->n_in);
    NB_TRY(read_equation(&e, err));
    for (uint32_t i = 0; i < e.n_in; i++) {
        NB_TRY(diagonals(&e, &e.in[i], err));
        sum_own(&e, &e.in[i], e.n_in > 1 ? &e.in[1 - i] : NULL);
    }
    if (e.n_in > 1)
        NB_TRY(product(&e, err));
    else
        arrange(&e, &e.in[0], e.out.label, e.out.n);
    return nb_net_out(n, 0, e.in[0].value, err);
}
