# The chat loop on a terminal (a pseudo-terminal of Python's).
. "$NB_TESTS/support/cli-lib.bash"
cat >chat.py <<'EOF'
import os, pty, sys, time

def talk(lines):
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(os.environ["NIBBLE"], ["nibble", "run", sys.argv[1], "-n", "8", "--temp", "0", "--no-progress"])
    seen = b""
    def until(text):
        nonlocal seen
        end = time.time() + 120
        while text not in seen:
            assert time.time() < end, seen
            try:
                part = os.read(fd, 4096)
            except OSError:
                part = b""
            assert part, seen
            seen += part
        rest = seen.index(text) + len(text)
        before, seen = seen[:rest], seen[rest:]
        return before
    out = until(b"> ")
    for line in lines:
        os.write(fd, line.encode() + b"\n")
        if line != "/quit":
            out += until(b"\r\n") + until(b"\n> ")
    try:
        while True:
            part = os.read(fd, 4096)
            if not part:
                break
            out += part
    except OSError:
        pass
    return out, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

out, code = talk(["The sea was", "/reset", "The sea was", "/quit"])
assert code == 0, (code, out)
assert b"no chat template" in out, out
assert out.count(b"no chat template") == 1
assert b"forgotten" in out
answers = [a for a in out.split(b"The sea was")[1:]]
first = answers[0].split(b"\r\n")[1]
second = answers[1].split(b"\r\n")[1]
assert first == second and first.strip(), answers
EOF
python3 chat.py "$MODEL"

# A model with a template: a prompt is a message, a chat a conversation of which only the new is fed.
cp -r "$MODEL" with
template() {
    python3 - "$1" "$2" <<'END'
import json, sys
path = sys.argv[1] + "/tokenizer_config.json"
config = json.load(open(path))
config["chat_template"] = sys.argv[2]
json.dump(config, open(path, "w"))
END
}
marks='{{ bos_token }}{% for m in messages %}{% if m.role == "tool" %}{{ raise_exception("no tools") }}{% endif %}({{ m.role }}) {{ m.content | trim }}
{% if m.role == "assistant" %}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}(assistant){{ strftime_now(" %d %b %Y") if dated }}{% endif %}'
template with "$marks"
expect 0 run with -p " The sea was " -n 12 --temp 0 --system "Be brief." --echo
says err "chat template: unknown family"
says out "<|endoftext|>(system) Be brief." "(user) The sea was" "(assistant)"
cp out chatted
# The same text by hand is the same text; --no-chat leaves the prompt as it is.
printf '<|endoftext|>(system) Be brief.\n(user) The sea was\n(assistant)' >prompt.txt
expect 0 run with -f prompt.txt -n 12 --temp 0 --no-chat --echo
cmp out chatted
expect 0 run "$MODEL" -p "The sea was" -n 12 --temp 0
cp out plain
expect 0 run with -p "The sea was" -n 12 --temp 0 --no-chat
cmp out plain
# A message cannot write special tokens: more tokens than the mark is one.
expect 0 run with -p "a<|endoftext|>b" -n 1 --json
json "d['prompt_tokens'] > 15" "d['chat_template'] == 'unknown family'"
expect 0 run with -p "q" -n 1 --echo --chat-vars '{"dated": true}' --date 2024-07-26
says out "(assistant) 26 Jul 2024"
expect 2 run with -p "q" --date yesterday
says err "2024-07-26"
expect 2 run with -p "q" --chat-vars '[]'
expect 2 run with -p "q" --no-chat --system "x"
expect 3 run "$MODEL" -p "q" --chat
says err "no chat template"
# A family is named; what cannot be applied is said, and continued as plain text.
expect 0 inspect with --json
json "d['chat_template'] == 'unknown family'"
template with "{% for m in messages %}<|im_start|>{{ m.role }}{{ m.content }}<|im_end|>{% endfor %}"
expect 0 inspect with
says out "chatml"
printf '[INST]{{ messages[0].content }}[/INST]' >with/chat_template.jinja # before the other's
expect 0 inspect with
says out "mistral"
expect 0 quantize with -o with.gguf --type q8_0
expect 0 run with.gguf -p "Hello" -n 1 --echo
says out "[INST]Hello[/INST]"
rm with/chat_template.jinja
template with "{% include 'other' %}"
expect 0 run with -p "The sea was" -n 12 --temp 0
cmp out plain
says err "cannot apply" "'include'"
expect 3 run with -p "The sea was" --chat
template with "Hello."
expect 0 run with -p "The sea was" -n 12 --temp 0
cmp out plain
says err "leaves out what the user says"
template with "$marks"
cat >turns.py <<'EOF'
import os, pty, re, sys

lines = [b"Hello", b"And then?", b"/quit"]
pid, fd = pty.fork()
if pid == 0:
    os.execv(os.environ["NIBBLE"], ["nibble", "run", "with", "-n", "6", "--temp", "0", "--no-progress", "--system", "S"])
out = b""
asked = 0
while True:
    try:
        part = os.read(fd, 4096)
    except OSError:
        break
    if not part:
        break
    out += part
    if asked < len(lines) and len(re.findall(rb"(?:^|\n)> ", out)) > asked:
        os.write(fd, lines[asked] + b"\n")
        asked += 1
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, out
assert b"chat template: unknown family" in out, out
open("said", "wb").write(out)
EOF
python3 turns.py
says said "Hello" "And then?"
