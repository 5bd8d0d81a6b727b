/* text/jinja_call.c: methods of texts and dicts, and the functions that chat templates call.
 *
 * Letters change case within ASCII only; other letters are refused, not passed over.
 */
#include "text/jinja.h"

#include <string.h>

const struct nb_jv *nb_jinja_arg(const struct nb_jargs *args, size_t at, const char *name)
{
    if (at < args->n_positional)
        return &args->v[at];
    for (size_t i = args->n_positional; i < args->n; i++)
        if (nb_jinja_is(args->names[i], name))
            return &args->v[i];
    return NULL;
}

/* ---- work on texts ---- */

static bool in_set(const struct nb_jv *set, const char *s, size_t len)
{
    size_t n;
    for (size_t i = 0; i < set->n; i += n) {
        (void)nb_utf8_take(set->v.s + i, set->n - i, &n);
        if (n == len && memcmp(set->v.s + i, s, n) == 0)
            return true;
    }
    return false;
}

enum nb_status nb_jinja_strip(struct nb_jrun *r, struct nb_jv s, const struct nb_jv *set, bool left,
                              bool right, struct nb_jv *out)
{
    size_t at = 0, end = s.n, len;
    if (set == NULL || set->kind == NB_J_NONE) {
        NB_TRY(nb_jinja_charge(r, 0, s.n / 64));
        const struct nb_text t = nb_jinja_trim((struct nb_text){s.v.s, s.n}, left, right);
        *out = nb_jinja_part(s, (size_t)(t.s - s.v.s), t.n);
        return NB_OK;
    }
    if (set->kind != NB_J_STRING)
        NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: strip takes a text", r->line);
    while (left && at < end) {
        (void)nb_utf8_take(s.v.s + at, end - at, &len);
        NB_TRY(nb_jinja_charge(r, 0, set->n / 16 + 1));
        if (!in_set(set, s.v.s + at, len))
            break;
        at += len;
    }
    while (right && end > at) {
        size_t before = end - 1;
        while (before > at && ((uint8_t)s.v.s[before] & 0xc0) == 0x80)
            before--;
        NB_TRY(nb_jinja_charge(r, 0, set->n / 16 + 1));
        if (!in_set(set, s.v.s + before, end - before))
            break;
        end = before;
    }
    *out = nb_jinja_part(s, at, end - at);
    return NB_OK;
}

enum nb_status nb_jinja_replace(struct nb_jrun *r, struct nb_jv s, struct nb_jv old,
                                struct nb_jv fresh, struct nb_jv *out)
{
    struct nb_jbuf b;
    enum nb_status st = NB_OK;
    size_t done = 0, hit;
    if (old.n == 0)
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: nibble does not replace an empty text", r->line);
    nb_jbuf_init(&b, r->a);
    while (st == NB_OK) {
        NB_TRY_TO(out, nb_jinja_find(r, s, old, done, &hit));
        NB_TRY_TO(out, nb_jinja_put(r, &b, nb_jinja_part(s, done, hit - done)));
        if (hit == s.n)
            break;
        NB_TRY_TO(out, nb_jinja_put(r, &b, fresh));
        done = hit + old.n;
    }
    st = nb_jinja_take(r, &b, out);
out:
    nb_jbuf_fini(&b);
    return st;
}

enum nb_status nb_jinja_case(struct nb_jrun *r, struct nb_jv in, enum nb_jcase how,
                             struct nb_jv *out)
{
    char *to;
    bool start = true;
    NB_TRY(nb_jinja_to_string(r, in, &in));
    NB_TRY(nb_jinja_alloc(r, &to, in.n + 1, 1));
    NB_TRY(nb_jinja_charge(r, 0, in.n / 64));
    for (size_t i = 0; i < in.n; i++) {
        const char c = in.v.s[i];
        const bool small = c >= 'a' && c <= 'z', large = c >= 'A' && c <= 'Z';
        const bool up = how == NB_J_UPPER || (how != NB_J_LOWER && start);
        if ((uint8_t)c >= 0x80)
            NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                    "chat template, line %u: nibble changes the case of ASCII letters only",
                    r->line);
        to[i] = (char)(up && small ? c - 32 : !up && large ? c + 32 : c);
        start = (how == NB_J_TITLE && !small && !large) ||
                (how == NB_J_TITLE_WORDS && memchr("-({[< \t\n\r\f\v", c, 11) != NULL);
    }
    *out = (struct nb_jv){.kind = NB_J_STRING, .v.s = to, .n = in.n, .from = in.from};
    return NB_OK;
}

enum nb_status nb_jinja_join(struct nb_jrun *r, struct nb_jv of, struct nb_jv between,
                             struct nb_jv *out)
{
    struct nb_jlist *list;
    struct nb_jbuf b;
    NB_TRY(nb_jinja_items(r, of, &list));
    nb_jbuf_init(&b, r->a);
    enum nb_status st = NB_OK;
    for (size_t i = 0; i < list->n && st == NB_OK; i++) {
        struct nb_jv s;
        if (i > 0)
            st = nb_jinja_put(r, &b, between);
        if (st == NB_OK)
            st = nb_jinja_to_string(r, list->items[i], &s);
        if (st == NB_OK)
            st = nb_jinja_put(r, &b, s);
    }
    if (st == NB_OK)
        st = nb_jinja_take(r, &b, out);
    nb_jbuf_fini(&b);
    return st;
}

/* Runs of white space cut the text, at most `most` times (negative: any number). */
static enum nb_status split_words(struct nb_jrun *r, struct nb_jv s, int64_t most,
                                  struct nb_jlist *out)
{
    size_t len;
    NB_TRY(nb_jinja_charge(r, 0, s.n / 16));
    for (;;) {
        const struct nb_text rest = nb_jinja_trim((struct nb_text){s.v.s, s.n}, true, false);
        s = nb_jinja_part(s, s.n - rest.n, rest.n);
        if (s.n == 0)
            return NB_OK;
        size_t end = 0;
        while (end < s.n && !nb_jinja_is_space(nb_utf8_take(s.v.s + end, s.n - end, &len)))
            end += len;
        if (most == 0)
            end = s.n;
        NB_TRY(nb_jinja_push(r, out, nb_jinja_part(s, 0, end)));
        s = nb_jinja_part(s, end, s.n - end);
        most--;
    }
}

static enum nb_status m_split(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                              struct nb_jv *out)
{
    const struct nb_jv *by = nb_jinja_arg(args, 0, "sep"),
                       *most = nb_jinja_arg(args, 1, "maxsplit");
    int64_t left = most != NULL && most->kind == NB_J_INT ? most->v.i : -1;
    size_t done = 0, hit;
    NB_TRY(nb_jinja_new_list(r, out, 0));
    if (by == NULL || by->kind == NB_J_NONE)
        return split_words(r, self, left, out->v.list);
    if (by->kind != NB_J_STRING || by->n == 0)
        NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: split takes a text", r->line);
    for (; left != 0; left--) {
        NB_TRY(nb_jinja_find(r, self, *by, done, &hit));
        if (hit == self.n)
            break;
        NB_TRY(nb_jinja_push(r, out->v.list, nb_jinja_part(self, done, hit - done)));
        done = hit + by->n;
    }
    return nb_jinja_push(r, out->v.list, nb_jinja_part(self, done, self.n - done));
}

static enum nb_status m_strip(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                              struct nb_jv *out)
{
    return nb_jinja_strip(r, self, nb_jinja_arg(args, 0, "chars"), true, true, out);
}

static enum nb_status m_lstrip(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                               struct nb_jv *out)
{
    return nb_jinja_strip(r, self, nb_jinja_arg(args, 0, "chars"), true, false, out);
}

static enum nb_status m_rstrip(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                               struct nb_jv *out)
{
    return nb_jinja_strip(r, self, nb_jinja_arg(args, 0, "chars"), false, true, out);
}

static enum nb_status text_argument(struct nb_jrun *r, const struct nb_jargs *args, size_t i,
                                    struct nb_jv *out)
{
    *out = nb_jinja_string(NB_TEXT_LIT(""));
    if (i >= args->n_positional || args->v[i].kind != NB_J_STRING)
        NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: a method takes a text here",
                r->line);
    *out = args->v[i];
    return NB_OK;
}

static enum nb_status begins_or_ends(struct nb_jrun *r, struct nb_jv self,
                                     const struct nb_jargs *args, bool ends, struct nb_jv *out)
{
    struct nb_jlist one = {.items = NULL, .n = 0}, *list = &one;
    struct nb_jv part = {.kind = NB_J_UNDEFINED};
    bool yes = false;
    if (args->n == 1 && args->v[0].kind == NB_J_LIST) { /* any of a tuple */
        list = args->v[0].v.list;
    } else {
        NB_TRY(text_argument(r, args, 0, &part));
        one.items = &part;
        one.n = 1;
    }
    for (size_t i = 0; i < list->n && !yes; i++) {
        const struct nb_jv *p = &list->items[i];
        NB_TRY(nb_jinja_charge(r, 0, 1));
        yes = p->kind == NB_J_STRING && p->n <= self.n &&
              (p->n == 0 || memcmp(self.v.s + (ends ? self.n - p->n : 0), p->v.s, p->n) == 0);
    }
    *out = nb_jinja_bool(yes);
    return NB_OK;
}

static enum nb_status m_startswith(struct nb_jrun *r, struct nb_jv self,
                                   const struct nb_jargs *args, struct nb_jv *out)
{
    return begins_or_ends(r, self, args, false, out);
}

static enum nb_status m_endswith(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                                 struct nb_jv *out)
{
    return begins_or_ends(r, self, args, true, out);
}

static enum nb_status m_replace(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                                struct nb_jv *out)
{
    struct nb_jv old, fresh;
    if (args->n != 2)
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: nibble knows replace with two arguments only", r->line);
    NB_TRY(text_argument(r, args, 0, &old));
    NB_TRY(text_argument(r, args, 1, &fresh));
    return nb_jinja_replace(r, self, old, fresh, out);
}

static enum nb_status m_find(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                             struct nb_jv *out)
{
    struct nb_jv what;
    size_t at;
    NB_TRY(text_argument(r, args, 0, &what));
    NB_TRY(nb_jinja_find(r, self, what, 0, &at));
    *out = nb_jinja_int(
        at == self.n && what.n > 0 ? -1 : (int64_t)nb_jinja_length(nb_jinja_part(self, 0, at)));
    if (what.n == 0)
        *out = nb_jinja_int(0);
    return NB_OK;
}

static enum nb_status m_upper(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                              struct nb_jv *out)
{
    (void)args;
    return nb_jinja_case(r, self, NB_J_UPPER, out);
}

static enum nb_status m_lower(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                              struct nb_jv *out)
{
    (void)args;
    return nb_jinja_case(r, self, NB_J_LOWER, out);
}

static enum nb_status m_title(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                              struct nb_jv *out)
{
    (void)args;
    return nb_jinja_case(r, self, NB_J_TITLE, out);
}

static enum nb_status m_capitalize(struct nb_jrun *r, struct nb_jv self,
                                   const struct nb_jargs *args, struct nb_jv *out)
{
    (void)args;
    return nb_jinja_case(r, self, NB_J_CAPITALIZE, out);
}

static enum nb_status m_join(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                             struct nb_jv *out)
{
    if (args->n != 1)
        NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: join takes a list", r->line);
    return nb_jinja_join(r, args->v[0], self, out);
}

/* ---- dicts ---- */

static enum nb_status m_get(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                            struct nb_jv *out)
{
    const struct nb_jv *otherwise = nb_jinja_arg(args, 1, "default");
    struct nb_jv key;
    NB_TRY(text_argument(r, args, 0, &key));
    const struct nb_jv *found = nb_jinja_dict_get(self.v.dict, (struct nb_text){key.v.s, key.n});
    *out = found != NULL       ? *found
           : otherwise != NULL ? *otherwise
                               : (struct nb_jv){.kind = NB_J_NONE};
    return NB_OK;
}

static enum nb_status m_keys(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                             struct nb_jv *out)
{
    (void)args;
    out->kind = NB_J_LIST;
    return nb_jinja_items(r, self, &out->v.list);
}

static enum nb_status m_values(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                               struct nb_jv *out)
{
    (void)args;
    NB_TRY(nb_jinja_new_list(r, out, self.v.dict->n));
    for (size_t i = 0; i < self.v.dict->n; i++)
        NB_TRY(nb_jinja_push(r, out->v.list, self.v.dict->values[i]));
    return NB_OK;
}

static enum nb_status m_items(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                              struct nb_jv *out)
{
    (void)args;
    NB_TRY(nb_jinja_new_list(r, out, self.v.dict->n));
    for (size_t i = 0; i < self.v.dict->n; i++) {
        struct nb_jv pair;
        NB_TRY(nb_jinja_new_list(r, &pair, 2));
        NB_TRY(nb_jinja_push(r, pair.v.list, self.v.dict->keys[i]));
        NB_TRY(nb_jinja_push(r, pair.v.list, self.v.dict->values[i]));
        NB_TRY(nb_jinja_push(r, out->v.list, pair));
    }
    return NB_OK;
}

static const struct {
    const char *name;
    enum nb_jkind of;
    enum nb_status (*fn)(struct nb_jrun *r, struct nb_jv self, const struct nb_jargs *args,
                         struct nb_jv *out);
} methods[] = {
    {"strip", NB_J_STRING, m_strip},
    {"lstrip", NB_J_STRING, m_lstrip},
    {"rstrip", NB_J_STRING, m_rstrip},
    {"split", NB_J_STRING, m_split},
    {"startswith", NB_J_STRING, m_startswith},
    {"endswith", NB_J_STRING, m_endswith},
    {"replace", NB_J_STRING, m_replace},
    {"find", NB_J_STRING, m_find},
    {"upper", NB_J_STRING, m_upper},
    {"lower", NB_J_STRING, m_lower},
    {"title", NB_J_STRING, m_title},
    {"capitalize", NB_J_STRING, m_capitalize},
    {"join", NB_J_STRING, m_join},
    {"get", NB_J_DICT, m_get},
    {"keys", NB_J_DICT, m_keys},
    {"values", NB_J_DICT, m_values},
    {"items", NB_J_DICT, m_items},
};

enum nb_status nb_jinja_method(struct nb_jrun *r, struct nb_text name, struct nb_jv self,
                               const struct nb_jargs *args, struct nb_jv *out)
{
    char shown[40];
    for (size_t i = 0; i < NB_COUNTOF(methods); i++)
        if (self.kind == methods[i].of && nb_jinja_is(name, methods[i].name))
            return methods[i].fn(r, self, args, out);
    const bool missing = self.kind == NB_J_UNDEFINED || self.kind == NB_J_NONE;
    NB_FAIL(r->err, missing ? NB_ERR_FORMAT : NB_ERR_UNSUPPORTED,
            "chat template, line %u: '%s' of %s is no function that nibble knows", r->line,
            nb_printable(shown, sizeof shown, name.s, name.n), nb_jinja_kind_name(self.kind));
}

/* ---- functions ---- */

enum { F_RAISE, F_STRFTIME, F_NAMESPACE, F_RANGE, F_DICT };

static enum nb_status raise(struct nb_jrun *r, const struct nb_jargs *args)
{
    struct nb_jv why = nb_jinja_string(NB_TEXT_LIT("no reason given"));
    char text[160];
    if (args->n > 0)
        NB_TRY(nb_jinja_to_string(r, args->v[0], &why));
    NB_FAIL(r->err, NB_ERR_ARG, "the chat template refuses this conversation: %s",
            nb_printable(text, sizeof text, why.v.s, why.n));
}

/* 0: Sunday. The calendar's rule with the year beginning in March. */
static int weekday(int year, int month, int day)
{
    const int m = month > 2 ? month - 3 : month + 9, y = month > 2 ? year : year - 1;
    const int days = day + (153 * m + 2) / 5 + 365 * y + y / 4 - y / 100 + y / 400;
    return (days + 2) % 7;
}

static enum nb_status put_date(struct nb_jrun *r, struct nb_str *s, char c)
{
    static const char *const months[] = {"January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December"};
    static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};
    const int year = r->year, month = r->month, day = r->day;
    switch (c) {
    case 'Y':
        nb_str_printf(s, "%d", year);
        break;
    case 'y':
        nb_str_printf(s, "%02d", year % 100);
        break;
    case 'm':
        nb_str_printf(s, "%02d", month);
        break;
    case 'd':
        nb_str_printf(s, "%02d", day);
        break;
    case 'B':
        nb_str_puts(s, months[month - 1]);
        break;
    case 'b':
        nb_str_printf(s, "%.3s", months[month - 1]);
        break;
    case 'A':
        nb_str_puts(s, days[weekday(year, month, day)]);
        break;
    case 'a':
        nb_str_printf(s, "%.3s", days[weekday(year, month, day)]);
        break;
    case '%':
        nb_str_puts(s, "%");
        break;
    default:
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: nibble does not know %%%c in a date", r->line,
                c >= ' ' && c <= '~' ? c : '?');
    }
    return NB_OK;
}

static enum nb_status strftime_now(struct nb_jrun *r, const struct nb_jargs *args,
                                   struct nb_jv *out)
{
    struct nb_jv format;
    struct nb_jbuf b;
    enum nb_status st = NB_OK;
    NB_TRY(text_argument(r, args, 0, &format));
    nb_jbuf_init(&b, r->a);
    for (size_t i = 0; i < format.n && st == NB_OK; i++) {
        NB_TRY_TO(out, nb_jinja_charge(r, 16, 1));
        if (format.v.s[i] == '%' && i + 1 < format.n)
            st = put_date(r, &b.text, format.v.s[++i]);
        else
            nb_str_append(&b.text, &format.v.s[i], 1);
    }
    for (size_t i = 0; i < b.text.len; i++)
        nb_str_append(&b.from, "", 1);
    if (st == NB_OK)
        st = nb_str_check(&b.text, r->err);
    if (st == NB_OK)
        st = nb_str_check(&b.from, r->err);
    if (st == NB_OK)
        st = nb_jinja_take(r, &b, out);
out:
    nb_jbuf_fini(&b);
    return st;
}

static enum nb_status named(struct nb_jrun *r, const struct nb_jargs *args, enum nb_jkind kind,
                            struct nb_jv *out)
{
    NB_TRY(nb_jinja_new_dict(r, out));
    if (args->n_positional > 0)
        NB_FAIL(r->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: nibble knows namespace and dict with names only", r->line);
    out->kind = kind;
    for (size_t i = 0; i < args->n; i++)
        NB_TRY(nb_jinja_dict_put(r, out->v.dict, nb_jinja_string(args->names[i]), args->v[i]));
    return NB_OK;
}

static enum nb_status range(struct nb_jrun *r, const struct nb_jargs *args, struct nb_jv *out)
{
    int64_t v[3] = {0, 0, 1};
    for (size_t i = 0; i < args->n; i++)
        if (args->n > 3 || args->v[i].kind != NB_J_INT || args->names[i].s != NULL)
            NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: range takes 1 to 3 numbers",
                    r->line);
        else
            v[args->n == 1 ? 1 : i] = args->v[i].v.i;
    if (args->n == 0 || v[2] == 0)
        NB_FAIL(r->err, NB_ERR_FORMAT, "chat template, line %u: range takes 1 to 3 numbers",
                r->line);
    NB_TRY(nb_jinja_new_list(r, out, 0));
    for (int64_t i = v[0]; v[2] > 0 ? i < v[1] : i > v[1];) {
        NB_TRY(nb_jinja_push(r, out->v.list, nb_jinja_int(i)));
        if (__builtin_add_overflow(i, v[2], &i))
            break;
    }
    return NB_OK;
}

bool nb_jinja_find_function(const struct nb_jrun *r, struct nb_text name, struct nb_jv *out)
{
    static const char *const names[] = {[F_RAISE] = "raise_exception",
                                        [F_STRFTIME] = "strftime_now",
                                        [F_NAMESPACE] = "namespace",
                                        [F_RANGE] = "range",
                                        [F_DICT] = "dict"};
    for (size_t i = 0; i < NB_COUNTOF(names); i++)
        if (nb_jinja_is(name, names[i]) && (i != F_STRFTIME || r->year != 0)) {
            *out = (struct nb_jv){.kind = NB_J_FUNCTION, .v.i = (int64_t)i};
            return true;
        }
    return false;
}

enum nb_status nb_jinja_function(struct nb_jrun *r, int64_t which, const struct nb_jargs *args,
                                 struct nb_jv *out)
{
    switch (which) {
    case F_RAISE:
        return raise(r, args);
    case F_STRFTIME:
        return strftime_now(r, args, out);
    case F_NAMESPACE:
        return named(r, args, NB_J_NAMESPACE, out);
    case F_RANGE:
        return range(r, args, out);
    default:
        return named(r, args, NB_J_DICT, out);
    }
}
