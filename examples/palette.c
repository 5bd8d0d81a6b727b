/* examples/palette.c: a picture in 16, 64 or 256 colours, by a vector codebook of dimension 3.
 *
 *     palette 16 in.ppm out.ppm [luma]
 *
 * Pixels are vectors of red, green and blue; the number format vq3_k16_t (vq3_k64_t, vq3_k256_t) learns
 * as many of them as it may keep, and every pixel becomes the nearest. That is all a palette is. With
 * "luma" errors weigh as the eye sees them. Uses the public interface alone: no model, one array.
 * Prints the palette with the share of the picture that each colour has, and the error.
 * Left out: dithering, colour spaces, picture files other than binary PPM (P6) of 8 bits.
 */
#include <nibble/nibble.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIDE 16384

struct picture {
    uint32_t width, height;
    float *rgb; /* (height, width, 3), 0..255 */
};

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "palette: %s: %s\n", what, why);
    return 1;
}

/* A number of the header, behind space and comments. */
static uint32_t read_number(FILE *f)
{
    int c = fgetc(f);
    uint32_t v = 0;
    while (c == '#' || c == ' ' || c == '\n' || c == '\r' || c == '\t') {
        const int comment = c == '#';
        do
            c = fgetc(f);
        while (comment && c != '\n' && c != EOF);
    }
    for (; c >= '0' && c <= '9' && v <= MAX_SIDE; c = fgetc(f))
        v = 10 * v + (uint32_t)(c - '0');
    return v;
}

static int read_picture(struct picture *p, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return complain(path, "cannot be opened");
    const int is_ppm = fgetc(f) == 'P' && fgetc(f) == '6';
    p->width = read_number(f);
    p->height = read_number(f);
    const uint32_t most = read_number(f);
    int rc = !is_ppm || most != 255 || p->width == 0 || p->height == 0 || p->width > MAX_SIDE ||
             p->height > MAX_SIDE;
    const size_t n = (size_t)p->width * p->height * 3;
    p->rgb = rc == 0 ? malloc(n * sizeof *p->rgb) : NULL;
    rc |= p->rgb == NULL;
    for (size_t i = 0; i < n && rc == 0; i++) {
        const int c = fgetc(f);
        rc = c == EOF;
        p->rgb[i] = (float)c;
    }
    fclose(f);
    return rc == 0 ? 0 : complain(path, "expected a whole binary PPM (P6) of 8 bits");
}

static unsigned char to_byte(float v)
{
    return (unsigned char)(v <= 0.0F ? 0.0F : v >= 255.0F ? 255.0F : v + 0.5F);
}

static int write_picture(const struct picture *p, const char *path)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL)
        return complain(path, "cannot be written");
    fprintf(f, "P6\n%u %u\n255\n", p->width, p->height);
    for (size_t i = 0; i < (size_t)p->width * p->height * 3; i++)
        fputc(to_byte(p->rgb[i]), f);
    return fclose(f) == 0 ? 0 : complain(path, "cannot be written");
}

/* A part of the array by its name. */
static const void *find_part(const nb_array *q, const char *name, struct nb_array_part *part)
{
    for (size_t i = 0; nb_array_part(q, i, part) == NB_OK; i++)
        if (strcmp(part->name, name) == 0)
            return part->data;
    return NULL;
}

/* Codes are packed from the lowest bit on; each row of the picture begins at a byte. */
static unsigned code_at(const unsigned char *row, size_t i, unsigned bits)
{
    unsigned code = 0;
    for (unsigned b = 0; b < bits; b++) {
        const size_t at = i * bits + b;
        code |= (unsigned)(row[at / 8] >> (at % 8) & 1) << b;
    }
    return code;
}

static int print_palette(const nb_array *q, const struct picture *p, unsigned bits)
{
    static size_t count[256];
    struct nb_array_part levels, codes;
    const float *colour = find_part(q, "levels", &levels);
    const unsigned char *code = find_part(q, "codes", &codes);
    if (colour == NULL || code == NULL)
        return complain("format", "has no codebook");
    for (size_t y = 0; y < p->height; y++)
        for (size_t x = 0; x < p->width; x++)
            count[code_at(code + y * (size_t)(codes.bytes / p->height), x, bits)]++;
    for (size_t k = 0; k < (size_t)1 << bits; k++)
        if (count[k] > 0)
            printf("#%02x%02x%02x %6.2f %%\n", to_byte(colour[3 * k]), to_byte(colour[3 * k + 1]),
                   to_byte(colour[3 * k + 2]),
                   100.0 * (double)count[k] / ((double)p->width * p->height));
    return 0;
}

static int run(nb_context *ctx, const char *colours, struct picture *p, int luma)
{
    static const float rec601[3] = {0.299F, 0.587F, 0.114F};
    struct nb_array_view view = {
        .x = p->rgb, .n_dims = 2, .dims = {p->height, (uint64_t)p->width * 3}};
    struct nb_array_options o;
    struct nb_array_stats stats;
    struct nb_error err;
    nb_array *q;
    char type[32];
    float *weights = malloc((size_t)view.dims[1] * sizeof *weights);
    if (weights == NULL)
        return complain("weights", "out of memory");
    for (size_t i = 0; i < view.dims[1]; i++)
        weights[i] = rec601[i % 3];
    snprintf(type, sizeof type, "vq3_k%s_t", colours);
    nb_array_options_init(&o);
    o.type = type;
    o.importance = luma ? weights : NULL;
    o.n_importance = luma ? view.dims[1] : 0;
    const enum nb_status status = nb_array_quantize(&q, ctx, &view, &o, &stats, &err);
    free(weights);
    if (status != NB_OK)
        return complain(type, err.message);
    const unsigned bits = strcmp(colours, "16") == 0 ? 4 : strcmp(colours, "64") == 0 ? 6 : 8;
    const int rc = print_palette(q, p, bits);
    nb_array_dequantize(q, p->rgb);
    nb_array_destroy(q);
    printf("%s: %.3f bits a pixel, mean squared error %.3f, PSNR %.2f dB\n", stats.type,
           3.0 * stats.bpw, stats.mse, 10.0 * log10(255.0 * 255.0 / stats.mse));
    return rc;
}

int main(int argc, char **argv)
{
    struct picture p = {0, 0, NULL};
    nb_context *ctx = NULL;
    struct nb_error err;
    if (argc < 4 || argc > 5 || (argc == 5 && strcmp(argv[4], "luma") != 0) ||
        (strcmp(argv[1], "16") != 0 && strcmp(argv[1], "64") != 0 && strcmp(argv[1], "256") != 0)) {
        fputs("usage: palette 16|64|256 IN.ppm OUT.ppm [luma]\n", stderr);
        return 2;
    }
    int rc = read_picture(&p, argv[2]);
    if (rc == 0 && nb_context_create(&ctx, NULL, &err) != NB_OK)
        rc = complain("context", err.message);
    if (rc == 0)
        rc = run(ctx, argv[1], &p, argc == 5);
    if (rc == 0)
        rc = write_picture(&p, argv[3]);
    nb_context_destroy(ctx);
    free(p.rgb);
    return rc;
}
