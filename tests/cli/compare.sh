# compare: a table, JSON, a report that is not overwritten.
. "$NB_TESTS/support/cli-lib.bash"
expect 0 quantize -q "$MODEL" a.gguf q8_0
expect 0 quantize -q "$MODEL" b.gguf q4_0
expect 0 compare "$MODEL" a.gguf b.gguf --text "$TEXT" --ctx 128 --chunks 1 --html report.html
says out tiny-7m a.gguf b.gguf "mean KL" "second half scored" "report: report.html"
says report.html "<svg" "a.gguf" "b.gguf"
! grep -qiE '<script|https?://[^w]' report.html || fail "the report fetches or runs something"
python3 - <<'EOF'
import html.parser
class P(html.parser.HTMLParser):
    stack = []
    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br", "link", "hr", "img"):
            self.stack.append(tag)
    def handle_startendtag(self, tag, attrs):
        pass
    def handle_endtag(self, tag):
        assert self.stack and self.stack.pop() == tag, tag
p = P()
p.feed(open("report.html", encoding="utf-8").read())
assert not p.stack, p.stack
EOF
cp report.html before.html
expect 1 compare "$MODEL" a.gguf --text "$TEXT" --ctx 128 --chunks 1 --html report.html
says err "report.html" "-f overwrites"
cmp report.html before.html
expect 0 compare "$MODEL" a.gguf b.gguf --text "$TEXT" --ctx 128 --chunks 1 --no-speed --json --html report.html -f
json "len(d['models']) == 2" "d['models'][0]['kld_mean'] < d['models'][1]['kld_mean']" \
    "d['models'][0]['bytes'] > d['models'][1]['bytes']" "'decode_tok_s' not in d['ref']" \
    "all(len(m['tensors']) > 40 for m in d['models'])"
expect 3 compare "$MODEL" a.gguf nowhere.gguf --text "$TEXT"
says err nowhere.gguf
