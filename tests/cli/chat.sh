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
