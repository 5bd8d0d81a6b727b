/* Every tensor of a checkpoint is used exactly once, or named in an error: for each folder under
 * tests/golden/archs, each tensor missing, and one too many. */
#include <stdio.h>
#include <sys/stat.h>

#include "support/arch_cases.h"

static struct nb_error err;

/* model.safetensors in dir: f's tensors, but for tensor `skip` (SIZE_MAX: none) and with one more, `extra`. */
static void write_variant(const struct nb_file *f, const char *dir, size_t skip, const char *extra)
{
    struct nb_str header, data;
    char path[600], type[16];
    nb_str_init(&header, NULL);
    nb_str_init(&data, NULL);
    nb_str_puts(&header, "{\"__metadata__\": {\"format\": \"pt\"}");
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct nb_tensor *t = &f->tensors[i];
        if (i == skip)
            continue;
        size_t k = 0;
        for (; t->type->name[k] != '\0' && k + 1 < sizeof type; k++)
            type[k] = (char)(t->type->name[k] >= 'a' ? t->type->name[k] - 32 : t->type->name[k]);
        type[k] = '\0';
        nb_str_printf(&header, ", \"%s\": {\"dtype\": \"%s\", \"shape\": [", t->name, type);
        for (uint32_t d = 0; d < t->shape.n; d++)
            nb_str_printf(&header, "%s%llu", d == 0 ? "" : ", ",
                          (unsigned long long)t->shape.dim[d]);
        nb_str_printf(&header, "], \"data_offsets\": [%zu, %zu]}", data.len, data.len + t->bytes);
        nb_str_append(&data, t->data, t->bytes);
    }
    if (extra != NULL) {
        nb_str_printf(&header, ", \"%s\": {\"dtype\": \"F32\", \"shape\": [1], ", extra);
        nb_str_printf(&header, "\"data_offsets\": [%zu, %zu]}", data.len, data.len + 4);
        nb_str_append(&data, "\0\0\0\0", 4);
    }
    nb_str_puts(&header, "}");
    uint8_t *file = malloc(8 + header.len + data.len);
    assert_non_null(file);
    nb_store_u64(file, header.len);
    memcpy(file + 8, header.data, header.len);
    memcpy(file + 8 + header.len, data.data, data.len);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    nbtest_write(path, file, 8 + header.len + data.len);
    free(file);
    nb_str_fini(&header);
    nb_str_fini(&data);
}

/* What a model can do without: buffers, parts that see pictures, heads that encoders do not run, a head
 * that the embedding replaces when it is missing. */
static bool dispensable(const char *name)
{
    return nb_str_starts(name, "vision_tower.") || nb_str_starts(name, "multi_modal_projector.") ||
           nb_str_starts(name, "cls.") || strstr(name, "pooler.") != NULL ||
           nb_str_ends(name, ".attn.bias") || strcmp(name, "lm_head.weight") == 0 ||
           strcmp(name, "embed_out.weight") == 0;
}

/* The first part of a name may be another in the message: folders differ there. */
static bool names_it(const char *message, const char *tensor)
{
    const char *rest = strchr(tensor, '.');
    return strstr(message, tensor) != NULL || (rest != NULL && strstr(message, rest + 1) != NULL);
}

static void check_case(void **state)
{
    const char *name = *state;
    char path[600], extra[600];
    struct nb_file *f;
    struct nb_model *m;
    const char *dir = nbtest_tmp("variant");
    if (arch_is_refused(name))
        return;
    size_t n;
    uint8_t *config = nbtest_read(arch_path(name, "config.json"), &n);
    (void)mkdir(dir, 0700);
    (void)snprintf(path, sizeof path, "%s/config.json", dir);
    nbtest_write(path, config, n);
    free(config);
    assert_ok(nb_file_open(&f, arch_path(name, "model.safetensors"), NULL, &err), &err);
    write_variant(f, dir, SIZE_MAX, NULL);
    assert_ok(nb_model_open(&m, dir, NULL, NULL, &err), &err);
    nb_model_close(m);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const char *t = f->tensors[i].name;
        write_variant(f, dir, i, NULL);
        if (nb_model_open(&m, dir, NULL, NULL, &err) == NB_OK) {
            if (!dispensable(t))
                fail_msg("%s: opens without tensor '%s'", name, t);
            nb_model_close(m);
        } else if (dispensable(t) || !names_it(err.message, t)) {
            fail_msg("%s: without '%s': %s", name, t, err.message);
        }
        if (dispensable(t))
            continue;
        (void)snprintf(extra, sizeof extra, "%sx", t);
        write_variant(f, dir, SIZE_MAX, extra);
        assert_fails(nb_model_open(&m, dir, NULL, NULL, &err), NB_ERR_UNSUPPORTED, &err, extra);
    }
    nb_file_close(f);
}

int main(void)
{
    return arch_run("tensors", check_case);
}
