/* Opening: what is no model file is named, and paths appear in messages. */
#include "container/container.h"
#include "support/nbtest.h"

static void refused(const void *data, size_t n, enum nb_status want, const char *message)
{
    struct nb_file *f;
    struct nb_error err = {0};
    const char *path = nbtest_tmp("foreign");
    nbtest_write(path, data, n);
    assert_fails(nb_file_open(&f, path, NULL, &err), want, &err, message);
    assert_non_null(strstr(err.message, "foreign"));
    assert_null(f);
    assert_fails(nb_file_open_bytes(&f, data, n, NULL, &err), want, &err, message);
}

static void test_foreign_files_are_named(void **state)
{
    (void)state;
    refused("", 0, NB_ERR_FORMAT, "0 bytes are too short");
    refused("short", 5, NB_ERR_FORMAT, "5 bytes are too short");
    refused("version https://git-lfs.github.com/spec/v1\noid", 46, NB_ERR_UNSUPPORTED,
            "git lfs pull");
    refused("PK\x03\x04\x14\0\0\0\x08\0data", 14, NB_ERR_UNSUPPORTED, "zip archive");
    refused("\x93NUMPY\x01\0v\0{'descr'", 18, NB_ERR_FORMAT, "header ends at byte 128");
    refused("<!DOCTYPE html><html>", 21, NB_ERR_UNSUPPORTED, "web page");
    refused("{\"model\": {\"a\": 1}}", 19, NB_ERR_UNSUPPORTED, "JSON");
    refused("tjgg\x03\0\0\0\x01\0\0\0", 12, NB_ERR_UNSUPPORTED, "before GGUF");
    refused("\x7f"
            "ELF\x02\x01\x01\0\0\0",
            10, NB_ERR_UNSUPPORTED, "7f 45 4c 46 02 01 01 00");
    refused("gguf\x03\0\0\0\0\0\0\0", 12, NB_ERR_UNSUPPORTED, "first bytes");
}

static void test_what_cannot_be_opened(void **state)
{
    (void)state;
    struct nb_file *f;
    struct nb_error err = {0};
    assert_fails(nb_file_open(&f, nbtest_tmp("missing"), NULL, &err), NB_ERR_NOT_FOUND, &err,
                 "missing");
    assert_fails(nb_file_open(&f, nbtest_tmpdir(), NULL, &err), NB_ERR_UNSUPPORTED, &err, "folder");
    nb_file_close(NULL);
}

static void test_the_bundled_model_opens(void **state)
{
    (void)state;
    struct nb_file *f;
    struct nb_error err;
    struct nb_text t;
    assert_ok(nb_file_open(&f, nbtest_model("tiny-7m/model.safetensors"), NULL, &err), &err);
    assert_true(f->n_tensors > 10);
    assert_non_null(nb_file_find(f, "model.embed_tokens.weight"));
    assert_true(nb_meta_text(&f->meta, "format", &t) && t.n == 2);
    nb_file_close(f);
}

NB_TEST_MAIN(cmocka_unit_test(test_foreign_files_are_named),
             cmocka_unit_test(test_what_cannot_be_opened),
             cmocka_unit_test(test_the_bundled_model_opens))
