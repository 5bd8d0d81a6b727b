/* quant/recipe.c: recipes: fields, and a line of JSON that is embedded in every output.
 *
 *   {"nibble":1,"type":"q4_k_m","method":"rtn","pure":false,
 *    "rules":[{"regex":"attn_v","type":"q8_0"}],"output_type":"q8_0","embedding_type":"q4_0",
 *    "scale_search":"mse","imatrix":"<hash of the file of importance>",
 *    "calibration":"<hash of the tokens>","transforms":"awq","float_prefix":true,"damp":0.01}
 */
#include "quant/algo.h"
#include "quant/quant.h"

#include <math.h>
#include <string.h>

#define RECIPE_VERSION 1
#define TYPE_DEFAULT   "q4_k_m"

void nb_recipe_init(struct nb_recipe *r, const struct nb_allocator *a)
{
    memset(r, 0, sizeof *r);
    nb_arena_init(&r->arena, a, 1024);
    r->type = TYPE_DEFAULT;
    r->method = NB_METHOD_RTN;
    r->mismatch = (double)NAN;
}

void nb_recipe_fini(struct nb_recipe *r)
{
    nb_free(r->arena.a, r->rules);
    nb_arena_fini(&r->arena);
    memset(r, 0, sizeof *r);
}

enum nb_status nb_recipe_add_rule(struct nb_recipe *r, const char *regex, const char *type,
                                  struct nb_error *err)
{
    struct nb_recipe_rule rule;
    if (regex == NULL || type == NULL || regex[0] == '\0' || type[0] == '\0')
        NB_FAIL(err, NB_ERR_ARG, "a rule needs a pattern and a type: REGEX=TYPE");
    rule.regex = nb_arena_strndup(&r->arena, regex, strlen(regex));
    rule.type = nb_arena_strndup(&r->arena, type, strlen(type));
    if (rule.regex == NULL || rule.type == NULL ||
        !nb_grow(r->arena.a, &r->rules, &r->cap_rules, r->n_rules, sizeof *r->rules))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a rule");
    r->rules[r->n_rules++] = rule;
    return NB_OK;
}

/* ---- JSON ---- */

static enum nb_status copy_text(struct nb_recipe *r, const char **out, const char *key,
                                const nb_json *v, struct nb_error *err)
{
    size_t n;
    const char *text = nb_json_string(v, &n);
    if (text == NULL || strlen(text) != n)
        NB_FAIL(err, NB_ERR_FORMAT, "recipe: %s is no text", key);
    *out = nb_arena_strndup(&r->arena, text, n);
    if (*out == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a recipe");
    return NB_OK;
}

static enum nb_status read_version(struct nb_recipe *r, const nb_json *v, struct nb_error *err)
{
    int64_t version;
    (void)r;
    if (!nb_json_int(v, &version) || version != RECIPE_VERSION)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "recipe: 'nibble' is its version, expected %d",
                RECIPE_VERSION);
    return NB_OK;
}

static enum nb_status read_type(struct nb_recipe *r, const nb_json *v, struct nb_error *err)
{
    return copy_text(r, &r->type, "type", v, err);
}

static enum nb_status read_output(struct nb_recipe *r, const nb_json *v, struct nb_error *err)
{
    return copy_text(r, &r->output_type, "output_type", v, err);
}

static enum nb_status read_embedding(struct nb_recipe *r, const nb_json *v, struct nb_error *err)
{
    return copy_text(r, &r->embedding_type, "embedding_type", v, err);
}

static enum nb_status read_search(struct nb_recipe *r, const nb_json *v, struct nb_error *err)
{
    return copy_text(r, &r->scale_search, "scale_search", v, err);
}

static enum nb_status read_imatrix(struct nb_recipe *r, const nb_json *v, struct nb_error *err)
{
    return copy_text(r, &r->imatrix, "imatrix", v, err);
}

static enum nb_status read_method(struct nb_recipe *r, const nb_json *v, struct nb_error *err)
{
    char quote[64];
    NB_TRY(copy_text(r, &r->method, "method", v, err));
    if (strcmp(r->method, NB_METHOD_RTN) != 0 && strcmp(r->method, NB_METHOD_AUTO) != 0 &&
        nb_algo_find(r->method) == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "recipe: unknown method '%s' (nibble list methods)",
                nb_printable(quote, sizeof quote, r->method, strlen(r->method)));
    return NB_OK;
}

static enum nb_status read_calibration(struct nb_recipe *r, const nb_json *v, struct nb_error *err)
{
    return copy_text(r, &r->calibration, "calibration", v, err);
}

static enum nb_status read_transforms(struct nb_recipe *r, const nb_json *v, struct nb_error *err)
{
    return copy_text(r, &r->transforms, "transforms", v, err);
}

static enum nb_status read_float_prefix(struct nb_recipe *r, const nb_json *v, struct nb_error *err)
{
    if (!nb_json_bool(v, &r->float_prefix))
        NB_FAIL(err, NB_ERR_FORMAT, "recipe: float_prefix is not true or false");
    return NB_OK;
}

static enum nb_status read_damp(struct nb_recipe *r, const nb_json *v, struct nb_error *err)
{
    if (!nb_json_real(v, &r->damp) || !(r->damp >= 0.0) || r->damp > 1.0)
        NB_FAIL(err, NB_ERR_FORMAT, "recipe: damp is no number from 0 to 1");
    return NB_OK;
}

static enum nb_status read_mismatch(struct nb_recipe *r, const nb_json *v, struct nb_error *err)
{
    if (!nb_json_real(v, &r->mismatch) || !(r->mismatch >= 0.0) || r->mismatch > 1.0)
        NB_FAIL(err, NB_ERR_FORMAT, "recipe: mismatch is no number from 0 to 1");
    return NB_OK;
}

static enum nb_status read_pure(struct nb_recipe *r, const nb_json *v, struct nb_error *err)
{
    if (!nb_json_bool(v, &r->pure))
        NB_FAIL(err, NB_ERR_FORMAT, "recipe: pure is not true or false");
    return NB_OK;
}

static enum nb_status read_rules(struct nb_recipe *r, const nb_json *v, struct nb_error *err)
{
    if (nb_json_type(v) != NB_JSON_ARRAY)
        NB_FAIL(err, NB_ERR_FORMAT, "recipe: rules is no array");
    for (size_t i = 0; i < nb_json_size(v); i++) {
        const nb_json *rule = nb_json_at(v, i);
        const char *regex, *type;
        if (nb_json_size(rule) != 2)
            NB_FAIL(err, NB_ERR_FORMAT, "recipe: rule %zu: expected a regex and a type", i);
        NB_TRY(copy_text(r, &regex, "the regex of a rule", nb_json_get(rule, "regex"), err));
        NB_TRY(copy_text(r, &type, "the type of a rule", nb_json_get(rule, "type"), err));
        NB_TRY(nb_recipe_add_rule(r, regex, type, err));
    }
    return NB_OK;
}

static const struct {
    const char *key;
    enum nb_status (*read)(struct nb_recipe *r, const nb_json *v, struct nb_error *err);
} fields[] = {
    {"nibble", read_version},
    {"type", read_type},
    {"method", read_method},
    {"pure", read_pure},
    {"output_type", read_output},
    {"embedding_type", read_embedding},
    {"imatrix", read_imatrix},
    {"rules", read_rules},
    {"scale_search", read_search},
    {"calibration", read_calibration},
    {"transforms", read_transforms},
    {"float_prefix", read_float_prefix},
    {"damp", read_damp},
    {"mismatch", read_mismatch},
};

static enum nb_status read_field(struct nb_recipe *r, const char *key, size_t n, const nb_json *v,
                                 struct nb_error *err)
{
    char quote[64];
    for (size_t i = 0; i < NB_COUNTOF(fields); i++)
        if (strcmp(fields[i].key, key) == 0)
            return fields[i].read(r, v, err);
    NB_FAIL(err, NB_ERR_UNSUPPORTED, "recipe: unknown key '%s'",
            nb_printable(quote, sizeof quote, key, n));
}

static enum nb_status read_root(struct nb_recipe *r, const nb_json *root, struct nb_error *err)
{
    if (nb_json_type(root) != NB_JSON_OBJECT)
        NB_FAIL(err, NB_ERR_FORMAT, "recipe: not a JSON object");
    if (nb_json_get(root, "type") == NULL)
        NB_FAIL(err, NB_ERR_FORMAT, "recipe: type is missing");
    for (void *it = nb_json_iter(root); it != NULL; it = nb_json_next(root, it)) {
        size_t n;
        const char *key = nb_json_key(it, &n);
        NB_TRY(read_field(r, key, n, nb_json_value(it), err));
    }
    return NB_OK;
}

enum nb_status nb_recipe_from_json(struct nb_recipe *r, const char *text, size_t n,
                                   struct nb_error *err)
{
    const struct nb_allocator *a = r->arena.a;
    nb_json *root = NULL;
    nb_recipe_fini(r);
    nb_recipe_init(r, a);
    enum nb_status st = nb_json_parse(&root, text, n, "recipe", err);
    if (st == NB_OK)
        st = read_root(r, root, err);
    nb_json_free(root);
    return st;
}

static void put_field(struct nb_str *out, const char *key, const char *value)
{
    if (value == NULL)
        return;
    nb_str_printf(out, ",\"%s\":", key);
    nb_str_json(out, value, strlen(value));
}

void nb_recipe_write(const struct nb_recipe *r, struct nb_str *out)
{
    nb_str_printf(out, "{\"nibble\":%d", RECIPE_VERSION);
    put_field(out, "type", r->type);
    put_field(out, "method", r->method);
    put_field(out, "calibration", r->calibration);
    put_field(out, "transforms", r->transforms);
    if (r->float_prefix)
        nb_str_puts(out, ",\"float_prefix\":true");
    if (r->damp > 0.0)
        nb_str_printf(out, ",\"damp\":%.9g", r->damp);
    if (!isnan(r->mismatch))
        nb_str_printf(out, ",\"mismatch\":%.9g", r->mismatch);
    nb_str_printf(out, ",\"pure\":%s", r->pure ? "true" : "false");
    put_field(out, "output_type", r->output_type);
    put_field(out, "embedding_type", r->embedding_type);
    put_field(out, "scale_search", r->scale_search);
    put_field(out, "imatrix", r->imatrix);
    nb_str_puts(out, ",\"rules\":[");
    for (size_t i = 0; i < r->n_rules; i++) {
        nb_str_puts(out, i == 0 ? "{\"regex\":" : ",{\"regex\":");
        nb_str_json(out, r->rules[i].regex, strlen(r->rules[i].regex));
        nb_str_puts(out, ",\"type\":");
        nb_str_json(out, r->rules[i].type, strlen(r->rules[i].type));
        nb_str_puts(out, "}");
    }
    nb_str_puts(out, "]}");
}
