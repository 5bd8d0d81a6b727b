/* text/json_decoder.c: the decoder of a tokenizer.json. */
#include "text/json_internal.h"

/* Steps come in this order or not at all. */
static enum nb_status decoder_step(struct nb_part *p, enum nb_decoder_kind kind, bool first)
{
    struct nb_decoder *d = &p->tok->pipe.decoder;
    if ((d->kind != NB_DECODER_NONE && d->kind != kind) || (first && d->kind != NB_DECODER_NONE))
        NB_FAIL(p->err, NB_ERR_UNSUPPORTED,
                "tokenizer.json: decoder: this order of steps is not "
                "supported (Replace, ByteFallback, Fuse, Strip is)");
    d->kind = kind;
    return NB_OK;
}

static enum nb_status dec_byte_level(struct nb_part *p, const nb_json *v)
{
    (void)v;
    return decoder_step(p, NB_DECODER_BYTE_LEVEL, true);
}

static enum nb_status dec_replace(struct nb_part *p, const nb_json *v)
{
    struct nb_decoder *d = &p->tok->pipe.decoder;
    bool literal;
    NB_TRY(decoder_step(p, NB_DECODER_SPM, true));
    NB_TRY(nb_part_pattern(p, &d->pattern, &literal, v));
    if (!literal)
        return nb_part_unsupported(p, "pattern", nb_json_get(nb_json_get(v, "pattern"), "Regex"));
    return nb_part_text(p, &d->content, v, "content");
}

static enum nb_status dec_byte_fallback(struct nb_part *p, const nb_json *v)
{
    struct nb_decoder *d = &p->tok->pipe.decoder;
    (void)v;
    if (d->strip.n != 0)
        return decoder_step(p, NB_DECODER_BYTE_LEVEL, true); /* refuses */
    NB_TRY(decoder_step(p, NB_DECODER_SPM, false));
    d->byte_fallback = true;
    return NB_OK;
}

static enum nb_status dec_fuse(struct nb_part *p, const nb_json *v)
{
    (void)v;
    return decoder_step(p, NB_DECODER_SPM, false);
}

static enum nb_status dec_strip(struct nb_part *p, const nb_json *v)
{
    struct nb_decoder *d = &p->tok->pipe.decoder;
    int64_t start = 0, stop = 0;
    NB_TRY(decoder_step(p, NB_DECODER_SPM, false));
    NB_TRY(nb_part_text(p, &d->strip, v, "content"));
    if (!nb_json_int(nb_json_get(v, "start"), &start) ||
        !nb_json_int(nb_json_get(v, "stop"), &stop))
        return nb_part_wrong(p, "start, stop", "integers");
    if (start < 0 || start > 1 || stop != 0 || d->strip.n == 0)
        NB_FAIL(p->err, NB_ERR_UNSUPPORTED,
                "tokenizer.json: decoder: Strip of more than one character at the start");
    d->strip_start = (uint32_t)start;
    return NB_OK;
}

static enum nb_status dec_metaspace(struct nb_part *p, const nb_json *v)
{
    struct nb_decoder *d = &p->tok->pipe.decoder;
    NB_TRY(decoder_step(p, NB_DECODER_METASPACE, true));
    d->content = NB_TEXT_LIT(" ");
    return nb_part_metaspace(p, &d->prepend, &d->pattern, v);
}

static enum nb_status dec_wordpiece(struct nb_part *p, const nb_json *v)
{
    struct nb_decoder *d = &p->tok->pipe.decoder;
    NB_TRY(decoder_step(p, NB_DECODER_WORDPIECE, true));
    NB_TRY(nb_part_text(p, &d->pattern, v, "prefix"));
    return nb_part_flag(p, &d->cleanup, v, "cleanup", true);
}

static const struct nb_part_type types[] = {{"ByteLevel", dec_byte_level},
                                            {"Replace", dec_replace},
                                            {"ByteFallback", dec_byte_fallback},
                                            {"Fuse", dec_fuse},
                                            {"Strip", dec_strip},
                                            {"Metaspace", dec_metaspace},
                                            {"WordPiece", dec_wordpiece}};

enum nb_status nb_json_read_decoder(struct nb_tokenizer *tok, const nb_json *v,
                                    struct nb_error *err)
{
    struct nb_part p = {tok, "decoder", err};
    return nb_part_read(&p, v, types, NB_COUNTOF(types), "decoders");
}
