/* gen/iq_grids.c: prints iq_grids.inc, the six codebooks of ggml's IQ1, IQ2 and IQ3 formats.
 *
 * A codebook is a set of tuples of 8 digits of base 3, or 4 digits of base 8. Its members were picked
 * empirically and follow no rule, so they are data: measured membership of ggml's grids (decoding every
 * index with ggml-org/ggml d99724f2 as a black box), for interoperability. Ordered by the number
 * sum digit[j] * base^j, the members have the indices that files store; so a bit per candidate says
 * everything. Six bits a letter below, in the order of RFC 4648's alphabet, lowest bit first; where
 * `even` is set only tuples whose digits have an even sum are candidates.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TUPLES = 6561, MAX_LEVELS = 8, DIGITS = 64 };

struct source {
    const char *name;
    const char *members;
    int points; /* how many there must be: a check */
    int dim, base;
    int even;
    int even_signs;        /* of eight signed elements an even number are negative */
    int level[MAX_LEVELS]; /* digit -> value */
};

/* clang-format off */
static const char iq2_xxs[] =
    "/ZPpZCipABAIIYACAACAMhZBhJILIQAMEAMABAIApJoZAIAIAIAAAACBAAAAgJEBIIFIBBICBAAAhAAAAJogAIAA"
    "ABAQAAIQAAAAAMBIAgAAFAAAAABAAgAAAYCABEDAAAEBAAADAAAAAgJABCAAIAgAIAAAAAAAIAIIAAAIAAAAAAAA"
    "AABAAAMpJRhJABIAgoAgIAICBAIBBAABEACBAAAABAAAAAgJAFAAAIAAAFCAAAgAAIApMAAIBABACAAABAAAAgAA"
    "AAAAYAQAAAAAgAAABAAIkAAIAAAAIAAAAIAAAAAAJABABAIAAgAAAAIAABAAFAAAAAAYAAAIAAAAAAAAAAQAAAAA"
    "AAAAAAAAAAAAYCgAACAIIIAAAAgAAAAAgpABIAAIAACAABgAIABAACAAAAAABAAAAAAEAAAAAIBJAAAEACAAIAAA"
    "AEAAAIACBAAAAAAEAAAAAAAAAAAAAAEAAABAAAAAAAAAAACAABgAAEAAAAAIAAAAAAAIAAAAAAAAAAAAAAAAAAAA"
    "AIAAAIAAAAAAAAAAAAA";
static const char iq2_xs[] =
    "//9v5th/PvJNB4NhpARA8v5dhJAvJMhIAgJQDAIA4PlJBBIOBIAgEABIBAAQh/NvJOB4NhJABDcBIABAAvJsBJAg"
    "JABAAAIIAEAAAMDIIACAFAAACAAAAgAAA8PhJABIMBIBEAABQAAIAoJgBAAAIAgQAAEEQAAAAQZIAEABCAAAABBA"
    "BBAAaA8v5PlJAvJMBoAiZgBAAA4thJABBMBJAAACRAIBAAgJAFRAAIEAJgAAIAAAAAAvJNBIAgpADAAAIAABAAAO"
    "hIAhAEJAAAIBAAEAABgIIgIAAEAQYAAAAAAAAgAgJABRQAMAAAAAAAABCAQABCAAAAAIAFAAABAAAAAAEAAAQAAA"
    "gAAAAACAARAA4NxJADAfBIkAAABIAAYAp5ABIgAIAABAAgAIAAQAAJgAQYAICAAAAAAACAAJCNBIQABABQAABAAA"
    "AACgAoAAJBAAAAEAAYAAAEAAAAAAgAAACAAEAAAAEAABAAbICAAABAAgEAAaBQAABIAAIAAgAAAAAAAAAAAgAIAC"
    "LAAAIJAAAADAAADAAEQ";
static const char iq2_s[] =
    "//9v/N1/NvvNn5NxvAVR8v//nvN/v9v5NhvAtJMB491/NFBOvoNhIAhRDBAgg/dv/dt5/v/NvBslpMgJAvv9v5Nh"
    "/NvJMBoNhJABA+t4NhBAvJMBEACJABCAA4915IRBOn4MhJARQLBADovNvJMBoNhJQBAMBIgAAAlBMBACwJAAAAEA"
    "CCAIYA8/7/npNv/8v5Nh5JtJMA4/v/NvJ8v5NxJAvJMBIAk9NvJIB4NhJABCMBIAAAAv/9v5Ng/NvJMBoNhJgBA8"
    "v5NhJAvJMBIAgJQBAAA4NhJCBAMBIAAAABEAAgAo7NtJIB4NhJABEIBIQAAEtJMBIAgJARABCIAAAAABMBAAEABB"
    "ACAAAAAACAAg4tl5FlBsv5NgJg1BMBAAg/FvJMB4NhJARAMBMAAAAlBMBAAiBABgAAAACADCQsP5NhJAlBMRAAgJ"
    "ABAAA6NhJABCMBIAAAFBAQABAgJQBAAAMAAUAAAAAAAAIAVROBAASAABgAAQCaAAaANBIAAEIBEAAAAAAAgAAAAC"
    "IAAAQAAAIACAYYBAABQ";
static const char iq3_xxs[] =
    "3OhAgNTNBBxFzCJQ5QAAQACgECWCgACAAAEAEANACEwMzhBATMAAAMTEAAyARgACFAAEAAQBIABBAAAAAIQAAMzG"
    "CAwNRAgGTOYQAEFAAAFAABCACgQAABAAAAwgAQAAxMAEkMQEMAwEEACIQACAAAAEIASCCAEAABIACAAIAEAhADKA"
    "AAAAABQgBkACAQAAEAAEEAABCABAAAAA0ABAAACABARCIAEAABCAgIAAgAAEKAAICABAAAAAQAAAEIAAAQADEAQA"
    "AEAgAAABAAJAAAAAEAABAACAAACAAIQAAAgHgACAAgQAAACAkAQQgAQAAEQAAMABAAAAQAAAAAAAAA";
static const char iq3_s[] =
    "ne1IIUqCFI5FjkoIQAgIEMaSiEBpKAQCIISBKBRBAKSAIKBBJIAABQBAFhgoAAECApAACAABAIQFAUECAEBAAcxq"
    "FIFAQJABLFhAJIQBAEUAkGBBJASAEIZCCGhAAQQAoQBAKQUEAAgAJIQBAIAAAAAARCAUAAAAKUgAgIAAEEwqVpYB"
    "qUAgpUQikIBBCAAASCgCBKAiAIRJCQhCEEAQAIIAJQiAAAAJQIABAGACAEQhAIAAAAiAAAiAAFACBAAAEoKBqQpA"
    "IIgKQoAABAQAEFABBQBABAAACEhiBoIIAgACCRgAAQQEAIQBgQAEABACAAEAAIAAAAgCAUAIAAAAAEBBRSgABAQA"
    "EqABhggIAAgChIACBAIBBAhCFICAAAAAFAAEAGAAAIAoAIAAAAABAAACAABAAEAAAECABggAAAABRQAARSAQQoCB"
    "CQAAAAABBIACBBACAAAhBAIAQIAIIIBABQAQAAAAAQAQAAgCAAAAAAAAEAAAAQBAEAAAAAAAAoCAKAAABAQAAEIA"
    "AAAEAAABAABBgQQABAhAAEAAAAAAAACAIAABAkAAAABAAEAAgAAAAEAAAAAAKAAAAAAAAEJAFAUAQQAAEIAEAgCA"
    "AAgEBJQAAIAAAQAAAQCAIAAAigQAAAQAAAAAAQAAEAAAAQAAAIAAAAAABAAAAAAAAAA";
static const char iq1[] =
    "VVCFFCqACFFCFFDqGCiiiqBCqACFFCFFCCCRFVSFFAqACCCiYAACCC6AqAKi7qqCQq6CAICAKoKjCCKCAFFCFFCi"
    "ACFFCFFCKCDCYCKCAqCCFFCFFCCSCVFCFFALCDKIKaCAqQCqqKKCi/KCIgCKAAqAChiqoACqACiCbiQu6iKIK7ai"
    "i6qq6w36qr7uC6AuioryT7gkCICAiACqKqrCCKACAoiSgL6OiAyKiCQgAFoqKiCCiEAFFCVFCCSCFFCVFCKCCMCq"
    "6AChCCCVCFFCiCCCVCFFCoCC4iqgACKSCACCCKKaiKAKrqCCFCCCCCDCFBEAFFCFFCKACFFAFFQKCCgiCqCChCDF"
    "FAFFCiCCFFCFFCiACAiqqAAISEriuiCq6GqqoCHACqACCgiICQIACCASACq6wqiqCDyi6Ki6af6iL6GqSCrKqK3i"
    "KSEDqACSECEKKqCCqCCyMLqIi+qmgiOqCAgAAoCqICAIAC6iiKKK6CKgCKjC66Lu66/6iC6KiigiKgi6iCQoyIAD"
    "6Tq6e/+Ko6Sj+6366f/f/aef66da7fy//ai+Ske4KKCEq6rDEqKCyi6CC66/6SS6DCIBixCayjqCkuCACoCCIIuq"
    "SAgACqiCmCSyCmIkCiCAiCAjAOBACiACAwmiqq6uCYqvKCqyCA4aX6C0ymOECChLq6NKVEdpEAgCCCgiCCCCBEKI"
    "CqaO6KiMECaCAiBAKKqYCEIFEFFAFFCrCCFFCFFCqCCKqeoCSoCCFFCFFAKCCFFCFFAICAKQiKCAICACiigaK6Gu"
    "qqKgAAiCCKOyiECCEBFFCFVCKCSFFCFFGqACqqiKACgCCFFCFFCqAAFFCFFCiDCiCqAGCqCCqKqqKC7iCogKqCCK"
    "CCoqKgCCoAQqIKgIg67CogLCKq7Sy66/6SK+uqKIShCa2CKMmDoCCgCCiomYACiCCoqqroq6imKoiiACQACoKKCA"
    "C6AAFFCFFCqCAFFCFFSqGAgSqKAClCAENQEFCiCCFFCFFAACCKIryDCAAAgqKgiC6Ci6iKAACiUCokOFAExSFFFA"
    "FFAqCAFFCFFCISCCIiiCAhAAFFAFFAqAAFFCFF";

static const struct source sources[] = {
    {"iq2_xxs", iq2_xxs,  256, 8, 3, 1, 1, {8, 25, 43}},
    {"iq2_xs",  iq2_xs,   512, 8, 3, 1, 1, {8, 25, 43}},
    {"iq2_s",   iq2_s,   1024, 8, 3, 1, 0, {8, 25, 43}},
    {"iq3_xxs", iq3_xxs,  256, 4, 8, 1, 1, {4, 12, 20, 28, 36, 44, 52, 62}},
    {"iq3_s",   iq3_s,    512, 4, 8, 0, 0, {1, 3, 5, 7, 9, 11, 13, 15}},
    {"iq1",     iq1,     2048, 8, 3, 0, 0, {-1, 0, 1}},
};
/* clang-format on */

static int power(int base, int n)
{
    return n == 0 ? 1 : base * power(base, n - 1);
}

static int digit_sum(int code, int base)
{
    int sum = 0;
    for (; code > 0; code /= base)
        sum += code % base;
    return sum;
}

static int bit(const char *text, int i)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = strchr(letters, text[i / 6]);
    return at != NULL && ((at - letters) >> i % 6 & 1) != 0;
}

/* The members in ascending order; returns how many. */
static int list_members(int *code, const struct source *s)
{
    const int all = power(s->base, s->dim);
    const int letters = (int)strlen(s->members);
    int n = 0;
    int candidate = 0;
    for (int c = 0; c < all; c++) {
        if (s->even && digit_sum(c, s->base) % 2 != 0)
            continue;
        if (candidate / 6 < letters && bit(s->members, candidate))
            code[n++] = c;
        candidate++;
    }
    return n;
}

/* Second halves that occur, those of fewest points first. */
static int list_runs(int *run, const int *code, int n, int half)
{
    static int length[MAX_TUPLES];
    int runs = 0;
    memset(length, 0, sizeof length);
    for (int i = 0; i < n; i++)
        length[code[i] / half]++;
    for (int want = 1; want <= n; want++)
        for (int h = 0; h < half; h++)
            if (length[h] == want)
                run[runs++] = h;
    return runs;
}

static void print_list(const char *type, const char *name, const char *of, const int *v, int n)
{
    printf("static const %s %s_%s[%d] = {", type, name, of, n);
    for (int i = 0; i < n; i++)
        printf("%s%d,", i % 24 == 0 ? "\n" : "", v[i]);
    printf("\n};\n");
}

static void print_grid(const struct source *s, const int *code, int n)
{
    static int list[MAX_TUPLES * 8];
    const int half = power(s->base, s->dim / 2);
    const int all = half * half;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < s->dim; j++)
            list[i * s->dim + j] = s->level[code[i] / power(s->base, j) % s->base];
    print_list("int8_t", s->name, "value", list, n * s->dim);
    for (int c = 0; c < all; c++)
        list[c] = -1;
    for (int i = 0; i < n; i++)
        list[code[i]] = i;
    print_list("int16_t", s->name, "index", list, all);
    for (int i = 0; i < n; i++)
        list[i] = code[i] % half;
    print_list("uint8_t", s->name, "low", list, n);
    for (int h = 0, i = 0; h <= half; h++) {
        while (i < n && code[i] / half < h)
            i++;
        list[h] = i;
    }
    print_list("uint16_t", s->name, "start", list, half + 1);
    const int runs = list_runs(list, code, n, half);
    print_list("uint8_t", s->name, "run", list, runs);
    memset(list, 0, sizeof list);
    for (int d = 0; d < s->base; d++)
        list[s->level[d] - s->level[0]] = d;
    print_list("uint8_t", s->name, "digit", list, DIGITS);
    print_list("int8_t", s->name, "level", s->level, s->base);
    printf("const struct nb_iq_grid nb_iq_grid_%s = {\n", s->name);
    printf("    .n = %d, .dim = %d, .base = %d, .half = %d,\n", n, s->dim, s->base, half);
    printf("    .n_runs = %d, .run = %s_run,\n", runs, s->name);
    printf("    .even = %s,\n", s->even_signs ? "true" : "false");
    printf("    .value = %s_value, .index = %s_index, .low = %s_low, .start = %s_start,\n", s->name,
           s->name, s->name, s->name);
    printf("    .digit = %s_digit, .level = %s_level,\n};\n", s->name, s->name);
}

int main(void)
{
    static int code[MAX_TUPLES];
    printf("/* Made by gen/iq_grids.c. */\n");
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        const int n = list_members(code, &sources[i]);
        if (n != sources[i].points) {
            fprintf(stderr, "iq_grids: %s has %d points, expected %d\n", sources[i].name, n,
                    sources[i].points);
            return 1;
        }
        print_grid(&sources[i], code, n);
    }
    return 0;
}
