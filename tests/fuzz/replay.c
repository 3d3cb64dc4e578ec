// SPDX-License-Identifier: GPL-3.0-or-later
// Runs a fuzzer without libFuzzer, as part of every test run: `replay_NAME DIRECTORY...` feeds it each file
// below the directories and then mutations of them, the same ones every time. The inputs run in a child
// process; when that dies or hangs, the input that it had is kept in a file whose name is printed.
// FUZZ_MUTATIONS says how many mutations.
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 256 * 1024, SEEDS_MAX = 4096, MUTATIONS_DEFAULT = 10000, HANG_SECONDS = 30 };

struct input {
    uint8_t *p;
    size_t n;
};

// Shared with the child: what it is working on.
static struct current {
    size_t n;
    uint8_t p[INPUT_MAX];
} * current;

static struct input seeds[SEEDS_MAX];
static size_t nseeds;

static int add_seed(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)where;
    if (type != FTW_F || st->st_size > INPUT_MAX || nseeds == SEEDS_MAX) return 0;
    FILE *f = fopen(path, "rb");
    uint8_t *p = malloc((size_t)st->st_size + 1);
    if (!f || !p) exit(2);
    seeds[nseeds++] = (struct input){ p, fread(p, 1, (size_t)st->st_size, f) };
    fclose(f);
    return 0;
}

// Directory order differs between machines; the mutations must not.
static int by_content(const void *a, const void *b)
{
    const struct input *x = a, *y = b;
    int r = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    if (r != 0) return r;
    return x->n < y->n ? -1 : x->n > y->n;
}

// xorshift64*: the same sequence everywhere.
static uint64_t random_state = 0x5a11790f7ULL;
static size_t below(size_t n)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return n ? (size_t)((random_state * 0x2545F4914F6CDD1DULL) >> 33) % n : 0;
}

static void run(struct input in)
{
    current->n = in.n;
    if (in.n) memcpy(current->p, in.p, in.n);
    // An exact copy on the heap lets the address sanitizer see one byte too far.
    uint8_t *exact = malloc(in.n ? in.n : 1);
    if (!exact) exit(2);
    if (in.n) memcpy(exact, in.p, in.n);
    alarm(HANG_SECONDS);
    LLVMFuzzerTestOneInput(exact, in.n);
    alarm(0);
    free(exact);
}

static void erase(struct input *in)
{
    if (in->n == 0) return;
    size_t at = below(in->n), n = below(in->n - at < 64 ? in->n - at : 64) + 1;
    if (at + n > in->n) n = in->n - at;
    memmove(in->p + at, in->p + at + n, in->n - at - n);
    in->n -= n;
}

static void insert(struct input *in, const uint8_t *p, size_t n)
{
    if (in->n + n > INPUT_MAX) return;
    size_t at = below(in->n + 1);
    memmove(in->p + at + n, in->p + at, in->n - at);
    memcpy(in->p + at, p, n);
    in->n += n;
}

static void splice(struct input *in)
{
    const struct input *other = &seeds[below(nseeds)];
    size_t at = below(other->n), n = below(other->n - at < 256 ? other->n - at : 256);
    insert(in, other->p + at, n);
}

static void set_byte(struct input *in)
{
    // What parsers take apart text with, and the edges of numbers.
    static const char special[] = "\0\1\x7f\x80\xff \t\r\n\"'\\<>&;:=,.%#?/{}[]()+-_0aA";
    if (in->n == 0) return;
    in->p[below(in->n)] = (uint8_t)special[below(sizeof special - 1)];
}

static void mutate(struct input *in)
{
    size_t changes = 1 + below(6);
    for (size_t i = 0; i < changes; i++) {
        uint8_t byte = (uint8_t)below(256);
        switch (below(7)) {
        case 0:
            if (in->n) in->p[below(in->n)] ^= (uint8_t)(1u << below(8));
            break;
        case 1: set_byte(in); break;
        case 2: erase(in); break;
        case 3: insert(in, &byte, 1); break;
        case 4: splice(in); break;
        case 5: in->n = below(in->n + 1); break;
        default:
            if (in->n) in->p[below(in->n)] = byte;
            break;
        }
    }
}

static void child(bool mutations, size_t count)
{
    static uint8_t buffer[INPUT_MAX];
    if (!mutations)
        for (size_t i = 0; i < nseeds; i++) run(seeds[i]);
    for (size_t i = 0; mutations && i < count; i++) {
        const struct input *seed = &seeds[below(nseeds)];
        struct input in = { buffer, seed->n };
        if (seed->n) memcpy(buffer, seed->p, seed->n);
        mutate(&in);
        run(in);
    }
    exit(0); // runs the leak check of the address sanitizer
}

static void keep_input(void)
{
    char path[] = "/tmp/sallyport-fuzz-XXXXXX";
    int fd = mkstemp(path);
    if (fd >= 0 && write(fd, current->p, current->n) == (ssize_t)current->n)
        printf("# its input: %s\n", path);
    if (fd >= 0) close(fd);
}

static bool stage(int number, const char *what, bool mutations, size_t count)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) exit(2);
    if (pid == 0) child(mutations, count);
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) exit(2);
    bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    printf("%s %d - %s (%zu inputs)\n", ok ? "ok" : "not ok", number, what, count);
    if (ok) return true;
    printf("# ended with %s %d\n", WIFSIGNALED(status) ? "signal" : "status",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    keep_input();
    return false;
}

int main(int argc, char **argv)
{
    const char *wish = getenv("FUZZ_MUTATIONS");
    size_t mutations = wish ? (size_t)strtoul(wish, NULL, 10) : MUTATIONS_DEFAULT;
    current = mmap(NULL, sizeof *current, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (current == MAP_FAILED) return 2;
    seeds[nseeds++] = (struct input){ (uint8_t *)strdup(""), 0 };
    for (int i = 1; i < argc; i++) nftw(argv[i], add_seed, 16, FTW_PHYS);
    qsort(seeds, nseeds, sizeof *seeds, by_content);
    bool ok = stage(1, "files", false, nseeds);
    ok = stage(2, "mutations", true, mutations) && ok;
    printf("1..2\n");
    for (size_t i = 0; i < nseeds; i++) free(seeds[i].p);
    return ok ? 0 : 1;
}
