/* A closed-loop generator of visits to one server on this machine. bench/beside.py compiles and runs it; Linux.
 *
 *     visits PORT VISITORS STAYS WARMUP SECONDS PID FILE
 *
 * A visit is a list of steps: bytes that are sent, and how many bytes have to come before the next step. FILE has it:
 * for each step a line `SIZE ANSWER-SIZE`, and SIZE bytes behind it. VISITORS visit at a time, each on and on: over the
 * same connection if STAYS is 1, else over a connection for each visit, which is reset at its end, as a lost one is.
 * After WARMUP seconds it counts for SECONDS, and reads the CPU clock of process PID at the same two instants. Prints
 *
 *     VISITS SECONDS P99-MICROSECONDS CPU-SECONDS
 *
 * Exits with 1 and a line on stderr if anything is wrong: more bytes than were to come, or none for 5 seconds. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/epoll.h>

#include "ws.h"

enum { MOST = 4096 /* visitors */, STEPS = 8, READ_SIZE = 1 << 18, LATENCIES = 2000000 /* µs */ };

typedef struct {
    int fd, step;
    size_t left; /* bytes that have to come yet */
    double began;
} Visitor;

static struct {
    uint8_t *bytes;
    size_t size, answer;
} steps[STEPS];
static int count, port, stays, poller;
static Visitor visitors[MOST];
static uint8_t input[READ_SIZE];
static uint64_t visits;
static uint32_t latencies[LATENCIES];

static void read_file(const char *name) {
    FILE *file = fopen(name, "rb");
    if (!file) fail(name);
    while (count < STEPS && fscanf(file, "%zu %zu", &steps[count].size, &steps[count].answer) == 2) {
        steps[count].bytes = malloc(steps[count].size + 1);
        if (fgetc(file) != '\n' || fread(steps[count].bytes, 1, steps[count].size, file) != steps[count].size)
            fail("a step is not whole");
        count++;
    }
    if (!count) fail("no steps");
    fclose(file);
}

static void enter(Visitor *v) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = v};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if ((v->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0) fail("socket");
    if (connect(v->fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    setsockopt(v->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(v->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, v->fd, &event)) fail("epoll_ctl");
}

static void leave(Visitor *v) {
    struct linger reset = {.l_onoff = 1, .l_linger = 0}; /* so that no port waits for a minute */
    setsockopt(v->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(v->fd);
}

static void take_step(Visitor *v) {
    ssize_t size = (ssize_t)steps[v->step].size;
    if (send(v->fd, steps[v->step].bytes, (size_t)size, 0) != size) fail("send");
    v->left = steps[v->step].answer;
}

static void begin(Visitor *v, double time) {
    v->began = time, v->step = 0;
    take_step(v);
}

static void take_bytes(Visitor *v, size_t size, double time) {
    errno = 0;
    if (size > v->left) fail("more bytes than were to come");
    if (v->left -= size) return;
    if (++v->step < count) {
        take_step(v);
        return;
    }
    double took = (time - v->began) * 1e6;
    latencies[took < LATENCIES - 1 ? (int)took : LATENCIES - 1]++;
    visits++;
    if (!stays) leave(v), enter(v);
    begin(v, time);
}

int main(int argc, char **argv) {
    if (argc != 8) return fprintf(stderr, "visits PORT VISITORS STAYS WARMUP SECONDS PID FILE\n"), 2;
    int people = atoi(argv[2]);
    if (people < 1 || people > MOST) fail("1 to 4096 visitors");
    port = atoi(argv[1]), stays = atoi(argv[3]);
    double warmup = atof(argv[4]), duration = atof(argv[5]), began = 0, ended = 0, cpu = 0, start, time;
    pid_t pid = (pid_t)atol(argv[6]);
    signal(SIGPIPE, SIG_IGN);
    read_file(argv[7]);
    if ((poller = epoll_create1(0)) < 0) fail("epoll_create1");
    start = now();
    for (int i = 0; i < people; i++) enter(&visitors[i]), begin(&visitors[i], now());
    while (!ended) {
        static struct epoll_event events[MOST];
        int n = epoll_wait(poller, events, MOST, 5000);
        if (n < 0 && errno != EINTR) fail("wait");
        if (n == 0) errno = 0, fail("no answer for 5 seconds");
        for (int k = 0; k < n; k++) {
            Visitor *v = events[k].data.ptr;
            ssize_t size = recv(v->fd, input, sizeof input, 0);
            if (size < 0 && errno == EAGAIN) continue;
            if (size <= 0) fail("the server hung up");
            take_bytes(v, (size_t)size, now());
        }
        time = now();
        if (!began && time - start >= warmup) {
            memset(latencies, 0, sizeof latencies);
            visits = 0, cpu = cpu_of(pid), began = time;
        } else if (began && time - began >= duration)
            cpu = cpu_of(pid) - cpu, ended = time;
    }
    double slower = 0;
    int p99 = LATENCIES;
    while (p99 > 0 && slower <= 0.01 * (double)visits) slower += latencies[--p99];
    printf("%llu %.6f %d %.6f\n", (unsigned long long)visits, ended - began, p99, cpu);
    return 0;
}
