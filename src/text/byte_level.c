/* text/byte_level.c: the alphabet in which byte-level BPE writes its tokens.
 *
 * The printable bytes 0x21-0x7E, 0xA1-0xAC, 0xAE-0xFF are the characters of the same number; the other
 * 68, in ascending order, are U+0100, U+0101… (space is U+0120).
 */
#include "text/text_internal.h"

static bool is_plain(unsigned b)
{
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
}

uint32_t nb_byte_to_char(uint8_t b)
{
    if (is_plain(b))
        return b;
    if (b <= 0x20)
        return 0x100u + b;
    if (b <= 0xa0) /* 0x7f-0xa0 follow the 33 below */
        return 0x100u + 33u + (b - 0x7fu);
    return 0x100u + 67u; /* 0xad */
}

int nb_char_to_byte(uint32_t cp)
{
    if (cp < 0x100)
        return is_plain(cp) ? (int)cp : -1;
    if (cp <= 0x120)
        return (int)(cp - 0x100);
    if (cp <= 0x142)
        return (int)(cp - 0x121 + 0x7f);
    return cp == 0x143 ? 0xad : -1;
}

bool nb_byte_level_decode(char *dst, size_t *n_dst, const char *s, size_t n)
{
    size_t len, k = 0;
    if (nb_utf8_valid_prefix(s, n) != n)
        return false;
    for (size_t i = 0; i < n; i += len) {
        int byte = nb_char_to_byte(nb_utf8_take(s + i, n - i, &len));
        if (byte < 0)
            return false;
        dst[k++] = (char)byte;
    }
    *n_dst = k;
    return true;
}
