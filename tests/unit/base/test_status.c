/* Error detail: rooms, offsets, prefixes, cutting. */
#include "support/nbtest.h"

static enum nb_status fails(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s': %d bytes", "h.0.w", 7);
}

static enum nb_status forwards(struct nb_error *err)
{
    NB_TRY(fails(err));
    return NB_OK;
}

static enum nb_status one_exit(struct nb_error *err, int *cleaned)
{
    enum nb_status st;
    NB_TRY_TO(done, fails(err));
    *cleaned = -1;
done:
    ++*cleaned;
    return st;
}

static void test_error_set(void **state)
{
    (void)state;
    struct nb_error err;
    nb_error_clear(&err);
    assert_int_equal(err.status, NB_OK);
    assert_true(err.offset == NB_OFFSET_NONE);
    assert_fails(forwards(&err), NB_ERR_FORMAT, &err, "tensor 'h.0.w': 7 bytes");
    assert_int_equal(forwards(NULL), NB_ERR_FORMAT);
    int cleaned = 0;
    assert_int_equal(one_exit(&err, &cleaned), NB_ERR_FORMAT);
    assert_int_equal(cleaned, 1);

    assert_int_equal(nb_error_set(&err, NB_ERR_IO, "../src/container/gguf.c", 12, "x"), NB_ERR_IO);
    assert_string_equal(err.room, "container");
    assert_true(err.offset == 12);
    assert_int_equal(nb_error_set(&err, NB_ERR_IO, "/home/src/me/src/base/x.c", 1, "x"), NB_ERR_IO);
    assert_string_equal(err.room, "base");
    assert_int_equal(nb_error_set(&err, NB_ERR_IO, "a_folder_with_a_long_name/x.c", 1, "x"),
                     NB_ERR_IO);
    assert_string_equal(err.room, "a_folder_with_a");
}

static void test_error_prefix(void **state)
{
    (void)state;
    struct nb_error err;
    const enum nb_status st = fails(&err);
    assert_fails(nb_error_prefix(&err, st, "%s", "m.gguf"), NB_ERR_FORMAT, &err,
                 "m.gguf: tensor 'h.0.w': 7 bytes");
    assert_int_equal(nb_error_prefix(NULL, NB_ERR_IO, "x"), NB_ERR_IO);
}

static void test_messages_are_cut_at_a_character(void **state)
{
    (void)state;
    struct nb_error err;
    char text[600];
    for (size_t lead = 0; lead < 4; lead++) {
        memset(text, 'a', lead);
        for (size_t i = lead; i + 3 < sizeof text; i += 3)
            memcpy(text + i, "\xe2\x82\xac", 4); /* the euro sign */
        assert_int_equal(NB_ERROR(&err, NB_ERR_ARG, "%s", text), NB_ERR_ARG);
        const size_t n = strlen(err.message);
        assert_in_range(n, NB_ERROR_MESSAGE_BYTES - 4, NB_ERROR_MESSAGE_BYTES - 1);
        assert_int_equal((n - lead) % 3, 0);
        assert_int_equal(nb_error_prefix(&err, NB_ERR_ARG, "%s", text), NB_ERR_ARG);
        assert_true(strlen(err.message) < NB_ERROR_MESSAGE_BYTES);
    }
}

static void test_status_names(void **state)
{
    (void)state;
    assert_string_equal(nb_status_name(NB_OK), "ok");
    assert_string_equal(nb_status_name(NB_ERR_IO), "input/output error");
    for (int i = 0; i <= NB_ERR_INTERNAL; i++)
        assert_true(strlen(nb_status_name((enum nb_status)i)) > 1);
    assert_string_equal(nb_status_name((enum nb_status)99), "unknown status");
    assert_string_equal(nb_status_name((enum nb_status) - 1), "unknown status");
    assert_non_null(strchr(nb_version(), '.'));
}

static void keep(void *ctx, enum nb_log_level level, const char *message)
{
    char *out = ctx;
    out[0] = (char)('0' + (int)level);
    memcpy(out + 1, message, strlen(message) + 1);
}

static void test_log(void **state)
{
    (void)state;
    char got[2000] = "";
    const struct nb_log log = {got, NB_LOG_INFO, keep};
    nb_log_msg(&log, NB_LOG_DEBUG, "%d", 1);
    assert_string_equal(got, "");
    nb_log_msg(&log, NB_LOG_WARN, "%d", 1);
    assert_string_equal(got, "11");
    nb_log_msg(NULL, NB_LOG_ERROR, "x");
    const struct nb_log silent = {NULL, NB_LOG_DEBUG, NULL};
    nb_log_msg(&silent, NB_LOG_ERROR, "x");
}

NB_TEST_MAIN(cmocka_unit_test(test_error_set), cmocka_unit_test(test_error_prefix),
             cmocka_unit_test(test_messages_are_cut_at_a_character),
             cmocka_unit_test(test_status_names), cmocka_unit_test(test_log))
