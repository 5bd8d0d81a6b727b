/* dialect/hf_export.c: weights into a Hugging Face folder: one safetensors file, or shards and an index.
 *
 * Shards are filled in canonical order up to shard_bytes; inside a file tensors lie as the reference
 * writer sorts them. What such files hold in another form (enum nb_hf_form) is held back until
 * it can be turned into it: a head, or the whole tensor.
 */
#include "dialect/dialect_internal.h"

#include <string.h>

#define SHARD_NAME "model-%05zu-of-%05zu.safetensors"

bool nb_hf_writes(const char *path)
{
    (void)path;
    return true;
}

const struct nb_numfmt *nb_hf_stored_type(const struct nb_model *m, size_t i,
                                          const struct nb_numfmt *wanted)
{
    const struct nb_tensor_spec *spec = &m->items[i].spec;
    if (spec->hf[0] == '\0')
        return NULL;
    /* One more than a short float has no short float: rounded before it is less one again it would change. */
    return spec->form == NB_HF_MINUS_ONE ? &nb_numfmt_f32 : wanted;
}

/* ---- shards ---- */

static struct nb_tensor described(const struct nb_export *e, size_t k)
{
    const size_t i = e->order[k];
    return (struct nb_tensor){.name = e->spec.model->items[i].spec.hf, .type = e->spec.types[i]};
}

/* Insertion sort: a shard has a few hundred tensors, and names within a block come nearly sorted. */
static void sort_shard(struct nb_export *e, const struct nb_shard *s)
{
    for (size_t k = s->first + 1; k < s->first + s->count; k++) {
        const size_t moved = e->order[k];
        const struct nb_tensor t = described(e, k);
        size_t at = k;
        for (; at > s->first; at--) {
            const struct nb_tensor before = described(e, at - 1);
            if (!nb_container_safetensors.before(&t, &before))
                break;
            e->order[at] = e->order[at - 1];
        }
        e->order[at] = moved;
    }
}

static enum nb_status name_shards(struct nb_export *e, struct nb_error *err)
{
    for (size_t s = 0; s < e->n_shards; s++) {
        e->shards[s].name = e->n_shards == 1
                                ? NB_HF_WEIGHTS
                                : nb_arena_printf(&e->arena, SHARD_NAME, s + 1, e->n_shards);
        if (e->shards[s].name == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
        sort_shard(e, &e->shards[s]);
    }
    return NB_OK;
}

static enum nb_status cut_shards(struct nb_export *e, struct nb_error *err)
{
    uint64_t filled = 0;
    e->shards = nb_arena_alloc(&e->arena, NB_MAX(e->n_order, 1), sizeof *e->shards);
    if (e->shards == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    e->n_shards = 1;
    for (size_t k = 0; k < e->n_order; k++) {
        const uint64_t bytes = nb_export_weight_bytes(e, e->order[k]);
        struct nb_shard *s = &e->shards[e->n_shards - 1];
        if (s->count > 0 && e->spec.shard_bytes > 0 &&
            (bytes > e->spec.shard_bytes || filled > e->spec.shard_bytes - bytes)) {
            s = &e->shards[e->n_shards++];
            s->first = k;
            filled = 0;
        }
        s->count++;
        filled += bytes;
    }
    return name_shards(e, err);
}

static enum nb_status refuse_blocks(const struct nb_export *e, struct nb_error *err)
{
    for (size_t k = 0; k < e->n_order; k++) {
        const struct nb_numfmt *type = e->spec.types[e->order[k]];
        if (type->kind != NB_NUMFMT_FLOAT && type->kind != NB_NUMFMT_GRID)
            NB_FAIL(err, NB_ERR_UNSUPPORTED,
                    "tensor '%s' as %s: a folder holds f32, f16, bf16 and general grids (int4_g64, "
                    "mxfp4_e2m1, ...); give such a type, or an output that ends in .gguf",
                    e->spec.model->items[e->order[k]].spec.name, type->name);
    }
    return NB_OK;
}

/* Two weights in one tensor: of one float type. */
static enum nb_status check_halves(const struct nb_export *e, struct nb_error *err)
{
    for (size_t k = 0; k + 1 < e->n_order; k++) {
        const size_t i = e->order[k], j = e->order[k + 1];
        const struct nb_tensor_spec *spec = &e->spec.model->items[i].spec;
        if (spec->form != NB_HF_GATE_HALF)
            continue;
        if (e->spec.types[i] != e->spec.types[j] || e->spec.types[i]->kind != NB_NUMFMT_FLOAT)
            NB_FAIL(err, NB_ERR_UNSUPPORTED,
                    "tensors '%s' as %s and '%s' as %s: folders of this architecture hold them in "
                    "one, which must be of one float type; give an output that ends in .gguf",
                    spec->name, e->spec.types[i]->name, e->spec.model->items[j].spec.name,
                    e->spec.types[j]->name);
    }
    return NB_OK;
}

static enum nb_status prepare(struct nb_export *e, struct nb_error *err)
{
    NB_TRY(refuse_blocks(e, err));
    NB_TRY(check_halves(e, err));
    return cut_shards(e, err);
}

static enum nb_status declare_shard(struct nb_export *e, size_t s, struct nb_error *err)
{
    return nb_export_declare(e, &nb_container_safetensors, e->shards[s].first, e->shards[s].count,
                             true, err);
}

/* What the grids of a shard are: its metadata. */
static enum nb_status describe_shard(struct nb_export *e, size_t s, struct nb_error *err)
{
    char name[NB_HF_NAME_BYTES];
    nb_meta_fini(&e->shard_meta);
    nb_meta_init(&e->shard_meta, e->a);
    for (size_t k = e->shards[s].first; k < e->shards[s].first + e->shards[s].count; k++) {
        const struct nb_numfmt *type = e->spec.types[e->order[k]];
        if (type->kind != NB_NUMFMT_GRID)
            continue;
        const char *key = nb_arena_printf(
            &e->arena, NB_GRID_META_PREFIX "%s",
            nb_form_name(&e->spec.model->items[e->order[k]].spec, NB_ALL_EXPERTS, name));
        if (key == NULL ||
            nb_meta_set_text(&e->shard_meta, key, type->name, strlen(type->name)) != NB_OK)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    }
    return NB_OK;
}

static enum nb_status sum_bytes(struct nb_export *e, uint64_t *bytes, struct nb_error *err)
{
    uint64_t one;
    NB_TRY(nb_hf_text_bytes(e, bytes, err));
    for (size_t s = 0; s < e->n_shards; s++) {
        NB_TRY(declare_shard(e, s, err));
        NB_TRY(describe_shard(e, s, err));
        NB_TRY(nb_writer_bytes(e->writer, &e->shard_meta, &one, err));
        if (!nb_add_u64(bytes, *bytes, one))
            NB_FAIL(err, NB_ERR_LIMIT, "the output would pass 2^64 bytes");
    }
    return NB_OK;
}

enum nb_status nb_hf_bytes(struct nb_export *e, uint64_t *bytes, struct nb_error *err)
{
    NB_TRY(prepare(e, err));
    return sum_bytes(e, bytes, err);
}

/* ---- writing ---- */

static enum nb_status begin_shard(struct nb_export *e, struct nb_error *err)
{
    char *path = nb_path_join(e->a, e->dir.partial, e->shards[e->shard].name);
    if (path == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    enum nb_status st = declare_shard(e, e->shard, err);
    if (st == NB_OK)
        st = describe_shard(e, e->shard, err);
    if (st == NB_OK)
        st = nb_writer_begin(e->writer, path, 0, &e->shard_meta, err);
    nb_free(e->a, path);
    return st;
}

enum nb_status nb_hf_begin(struct nb_export *e, const char *path, unsigned out_flags,
                           struct nb_error *err)
{
    uint64_t bytes;
    NB_TRY(prepare(e, err));
    NB_TRY(sum_bytes(e, &bytes, err));
    NB_TRY(nb_outdir_create(&e->dir, path, out_flags, bytes, e->a, err));
    e->dir_open = true;
    return begin_shard(e, err);
}

/* Rows (elements of a vector) that are held back and put into the file's order together; 0: the weight
 * goes out as it comes. Grids stay canonical but for the pairs of Q and K. */
static uint64_t held_rows(const struct nb_export *e, size_t i)
{
    const struct nb_weight *w = &e->spec.model->items[i];
    if (w->spec.form == NB_HF_PLAIN || w->spec.form == NB_HF_ROW || w->spec.form == NB_HF_EXPERTS ||
        w->spec.form == NB_HF_TAIL)
        return 0;
    if (w->spec.form == NB_HF_PAIRS)
        return w->t.shape.dim[0] / w->spec.heads;
    return e->spec.types[i]->kind == NB_NUMFMT_GRID ? 0 : w->t.shape.dim[0];
}

static enum nb_status put(struct nb_export *e, const uint8_t *data, size_t n, struct nb_error *err)
{
    return e->grid != NULL ? nb_grid_writer_append(e->grid, data, n, err)
                           : nb_writer_append(e->writer, data, n, err);
}

/* hf_row[j hd/2 + i] = gguf_row[2i + j] */
static enum nb_status put_pairs(struct nb_export *e, uint64_t hd, struct nb_error *err)
{
    const size_t row = e->head_bytes / (size_t)hd;
    for (size_t j = 0; j < 2; j++)
        for (size_t i = 0; i < hd / 2; i++)
            NB_TRY(put(e, e->head + (2 * i + j) * row, row, err));
    return NB_OK;
}

/* hf_row[(3h + p) hd + i] = gguf_row[p n/3 + h hd + i] */
static enum nb_status put_qkv(struct nb_export *e, uint64_t n, uint32_t heads, struct nb_error *err)
{
    const uint64_t hd = n / 3 / heads;
    const size_t row = e->head_bytes / (size_t)n;
    for (uint64_t h = 0; h < heads; h++)
        for (uint64_t p = 0; p < 3; p++)
            NB_TRY(put(e, e->head + (p * (n / 3) + h * hd) * row, (size_t)hd * row, err));
    return NB_OK;
}

static enum nb_status put_transposed(struct nb_export *e, uint64_t rows, uint64_t cols,
                                     struct nb_error *err)
{
    const size_t size = e->head_bytes / (size_t)(rows * cols);
    uint8_t *line = nb_alloc(e->a, (size_t)rows, size);
    if (line == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a column");
    enum nb_status st = NB_OK;
    for (uint64_t c = 0; c < cols && st == NB_OK; c++) {
        for (uint64_t r = 0; r < rows; r++)
            memcpy(line + r * size, e->head + (r * cols + c) * size, size);
        st = put(e, line, (size_t)rows * size, err);
    }
    nb_free(e->a, line);
    return st;
}

static enum nb_status put_less_one(struct nb_export *e, const struct nb_numfmt *type, size_t n,
                                   struct nb_error *err)
{
    float *v = nb_alloc(e->a, n, sizeof *v);
    if (v == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a norm");
    nb_numfmt_decode(type, e->head, v, n);
    for (size_t k = 0; k < n; k++)
        v[k] -= 1.0F;
    enum nb_status st = nb_numfmt_encode(type, e->head, v, NULL, n, err);
    nb_free(e->a, v);
    return st == NB_OK ? put(e, e->head, e->head_bytes, err) : st;
}

/* Expert by expert: the rows of the gate, then those of up. */
static enum nb_status put_halves(struct nb_export *e, uint64_t n_experts, struct nb_error *err)
{
    const size_t bytes = e->head_bytes / (size_t)n_experts;
    enum nb_status st = NB_OK;
    if (e->gate == NULL)
        NB_FAIL(err, NB_ERR_INTERNAL, "the second half of a tensor came first");
    for (size_t x = 0; x < n_experts && st == NB_OK; x++) {
        st = put(e, e->gate + x * bytes, bytes, err);
        if (st == NB_OK)
            st = put(e, e->head + x * bytes, bytes, err);
    }
    nb_free(e->a, e->gate);
    e->gate = NULL;
    return st;
}

/* What is held back goes out as the file wants it. */
static enum nb_status put_held(struct nb_export *e, size_t i, struct nb_error *err)
{
    const struct nb_weight *w = &e->spec.model->items[i];
    const uint64_t rows = w->t.shape.dim[0];
    switch (w->spec.form) {
    case NB_HF_PAIRS:
        return put_pairs(e, rows / w->spec.heads, err);
    case NB_HF_QKV:
        return put_qkv(e, rows, w->spec.heads, err);
    case NB_HF_TRANSPOSED:
        return put_transposed(e, rows, w->t.shape.dim[1], err);
    case NB_HF_MINUS_ONE:
        return put_less_one(e, e->spec.types[i], (size_t)rows, err);
    case NB_HF_GATE_HALF:
        e->gate = e->head;
        e->head = NULL;
        return NB_OK;
    case NB_HF_UP_HALF:
        return put_halves(e, rows, err);
    case NB_HF_PLAIN:
    case NB_HF_ROW:
    case NB_HF_TAIL:
    case NB_HF_EXPERTS:
    case NB_HF_TERNARY:
        break;
    }
    return put(e, e->head, e->head_bytes, err);
}

static enum nb_status append_held(struct nb_export *e, size_t i, const uint8_t *data, size_t n,
                                  struct nb_error *err)
{
    while (n > 0) {
        const size_t take = NB_MIN(n, e->head_bytes - e->head_at);
        memcpy(e->head + e->head_at, data, take);
        e->head_at += take;
        data += take;
        n -= take;
        if (e->head_at < e->head_bytes)
            break;
        e->head_at = 0;
        NB_TRY(put_held(e, i, err));
    }
    return NB_OK;
}

static enum nb_status size_held(struct nb_export *e, uint64_t bytes, struct nb_error *err)
{
    nb_free(e->a, e->head);
    e->head_at = 0;
    e->head_bytes = (size_t)bytes;
    e->head = nb_alloc(e->a, e->head_bytes, 1);
    if (e->head == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for rows that change their order");
    return NB_OK;
}

/* The weight at hand is complete: on to the next, which may open the next shard. */
static enum nb_status finish_weight(struct nb_export *e, struct nb_error *err)
{
    const struct nb_shard *s = &e->shards[e->shard];
    e->k++;
    e->k_bytes = 0;
    nb_grid_writer_destroy(e->grid);
    e->grid = NULL;
    if (e->k < s->first + s->count)
        return NB_OK;
    NB_TRY(nb_writer_commit(e->writer, err));
    if (++e->shard < e->n_shards)
        return begin_shard(e, err);
    return NB_OK;
}

/* Zeros in place of `rows` rows of this many bytes. */
static enum nb_status put_zeros(struct nb_export *e, uint64_t rows, uint64_t row_bytes,
                                struct nb_error *err)
{
    static const uint8_t zeros[256];
    for (uint64_t left = rows * row_bytes; left > 0;) {
        const size_t take = (size_t)NB_MIN(left, (uint64_t)sizeof zeros);
        NB_TRY(put(e, zeros, take, err));
        left -= take;
    }
    return NB_OK;
}

/* The weight at hand begins. */
static enum nb_status start_weight(struct nb_export *e, size_t i, uint64_t bytes,
                                   struct nb_error *err)
{
    const struct nb_weight *w = &e->spec.model->items[i];
    const struct nb_numfmt *type = e->spec.types[i];
    const uint64_t held = held_rows(e, i);
    if (held > 0)
        NB_TRY(size_held(e, bytes / (w->t.shape.dim[0] / held), err));
    if (w->spec.form == NB_HF_TAIL)
        NB_TRY(put_zeros(e, w->spec.heads, bytes / w->t.shape.dim[0], err));
    if (type->kind != NB_NUMFMT_GRID)
        return NB_OK;
    return nb_grid_writer_create(&e->grid, e->writer, type, &w->t.shape, e->a, err);
}

enum nb_status nb_hf_append(struct nb_export *e, const uint8_t *data, size_t n,
                            struct nb_error *err)
{
    while (n > 0) {
        if (e->k == e->n_order)
            NB_FAIL(err, NB_ERR_INTERNAL, "%zu bytes more than the weights have", n);
        const size_t i = e->order[e->k];
        const uint64_t bytes = nb_export_weight_bytes(e, i);
        const uint64_t rows = bytes - nb_export_side_bytes(e, i); /* what belongs to single rows */
        const uint64_t left = e->k_bytes < rows ? rows - e->k_bytes : bytes - e->k_bytes;
        const size_t take = (size_t)NB_MIN((uint64_t)n, left);
        if (e->k_bytes == 0)
            NB_TRY(start_weight(e, i, rows, err));
        if (held_rows(e, i) > 0 && e->k_bytes < rows)
            NB_TRY(append_held(e, i, data, take, err));
        else
            NB_TRY(put(e, data, take, err));
        data += take;
        n -= take;
        e->k_bytes += take;
        if (e->k_bytes == bytes)
            NB_TRY(finish_weight(e, err));
    }
    return NB_OK;
}

enum nb_status nb_hf_patch(struct nb_export *e, const char *key, const char *text, size_t n,
                           struct nb_error *err)
{
    if (nb_meta_set_text(&e->extra, key, text, n) != NB_OK)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    return NB_OK;
}

enum nb_status nb_hf_commit(struct nb_export *e, struct nb_error *err)
{
    if (e->k < e->n_order)
        NB_FAIL(err, NB_ERR_INTERNAL, "tensor '%s' was not written",
                e->spec.model->items[e->order[e->k]].spec.name);
    NB_TRY(nb_hf_write_texts(e, err));
    e->dir_open = false; /* commit closes it, also when it fails */
    return nb_outdir_commit(&e->dir, err);
}

void nb_hf_abort(struct nb_export *e)
{
    if (e->dir_open)
        nb_outdir_abort(&e->dir);
    e->dir_open = false;
}
