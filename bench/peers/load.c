/* A closed-loop WebSocket load generator for one server on this machine. bench/peers.py compiles and runs it.
 *
 *     load PORT CONNECTIONS WINDOW WARMUP SECONDS PID REQUEST-FILE
 *
 * Keeps WINDOW copies of the request in flight on each connection: for each reply that arrives, one more is sent. After
 * WARMUP seconds it counts for SECONDS, and reads the CPU clock of process PID at the same two instants. Prints
 *
 *     MESSAGES SECONDS P99-MICROSECONDS CPU-SECONDS (-1: this system does not tell)
 *
 * and on the second line the first reply. Each further reply must be as long as that one. Exits with 1 and a line on
 * stderr if anything is wrong. */
#define _GNU_SOURCE
#include <signal.h>

#include "ws.h"
#ifdef __linux__
#include <sys/epoll.h>
#else
#include <poll.h>
#endif

enum { MOST = 1024 /* connections */, READ_SIZE = 1 << 18, LATENCIES = 1000000 /* buckets of 1 µs */ };

typedef struct {
    int fd;
    int wants_write;
    size_t owed;  /* bytes that are still to be sent */
    size_t phase; /* where in the request frame the next of them is */
    double *sent; /* when each request in flight was queued: a ring of `window` */
    int oldest, newest;
    uint8_t head[10]; /* of the reply that is being read */
    int head_size;
    uint64_t left; /* of its payload */
} Connection;

static Connection *connections;
static int count, window;
static uint8_t *burst; /* `window` request frames, one after the other */
static size_t frame_size;
static uint8_t input[READ_SIZE];
static uint64_t messages, in_flight;
static uint32_t latencies[LATENCIES];
static uint8_t *first; /* the first reply */
static uint64_t first_size, first_have;

#ifdef __linux__
static int poller = -1;

static void watch(int i, int wants_write) {
    struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0), .data.u32 = (uint32_t)i};
    int fd = connections[i].fd;
    if (poller < 0) poller = epoll_create1(0);
    if (epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event) && epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
}

static int wait_ready(int *ready) {
    static struct epoll_event events[MOST];
    int n = epoll_wait(poller, events, MOST, 5000);
    for (int k = 0; k < n; k++) ready[k] = (int)events[k].data.u32;
    return n;
}
#else
static struct pollfd polled[MOST];

static void watch(int i, int wants_write) {
    polled[i] = (struct pollfd){.fd = connections[i].fd, .events = (short)(POLLIN | (wants_write ? POLLOUT : 0))};
}

static int wait_ready(int *ready) {
    int n = poll(polled, (nfds_t)count, 5000), k = 0;
    for (int i = 0; n > 0 && i < count; i++)
        if (polled[i].revents) ready[k++] = i;
    return n > 0 ? k : n;
}
#endif

static void make_burst(const char *path) {
    static uint8_t payload[1 << 22];
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    size_t size = fread(payload, 1, sizeof payload, file);
    fclose(file);
    uint8_t *frame = malloc(size + 14);
    frame_size = put_frame(frame, payload, size);
    burst = malloc(frame_size * (size_t)window);
    for (int i = 0; i < window; i++) memcpy(burst + (size_t)i * frame_size, frame, frame_size);
    free(frame);
}

static void open_connection(Connection *c, int port) {
    char text[4096], *body;
    int have;
    c->sent = calloc((size_t)window, sizeof *c->sent);
    c->fd = open_socket(port, "/", text, sizeof text, &body, &have);
    if (body != text + have) fail("bytes behind the handshake"); /* which nobody asked for */
}

static void send_owed(int i) {
    Connection *c = &connections[i];
    while (c->owed) {
        size_t room = frame_size * (size_t)window - c->phase;
        ssize_t n = send(c->fd, burst + c->phase, c->owed < room ? c->owed : room, 0);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) fail("send");
        c->owed -= (size_t)n;
        c->phase = (c->phase + (size_t)n) % frame_size;
    }
    if (c->wants_write != (c->owed > 0)) watch(i, c->wants_write = c->owed > 0);
}

static void request(int i, int n, double time) {
    Connection *c = &connections[i];
    in_flight += (uint64_t)n;
    for (c->owed += (size_t)n * frame_size; n > 0; n--) {
        c->sent[c->newest] = time;
        if (++c->newest == window) c->newest = 0;
    }
    send_owed(i);
}

static void begin_reply(Connection *c) {
    uint64_t size = c->head[1] & 0x7f;
    if (size >= 126) {
        int end = size == 126 ? 4 : 10;
        size = 0;
        for (int i = 2; i < end; i++) size = size << 8 | c->head[i];
    }
    errno = 0;
    if (c->head[0] != 0x81 && c->head[0] != 0x82) fail("not a whole message");
    if (!first) first = malloc(size + 1), first_size = size;
    if (!size || size != first_size) fail("a reply has not the size of the first");
    c->left = size;
}

/* Give how many replies end in these bytes. */
static int read_replies(Connection *c, const uint8_t *p, const uint8_t *end, double time) {
    int replies = 0;
    while (p < end) {
        if (!c->left) {
            c->head[c->head_size++] = *p++;
            int small = c->head[1] & 0x7f;
            if (c->head_size < 2 || c->head_size < (small < 126 ? 2 : small == 126 ? 4 : 10)) continue;
            begin_reply(c), c->head_size = 0;
            continue;
        }
        uint64_t n = (uint64_t)(end - p) < c->left ? (uint64_t)(end - p) : c->left;
        if (first_have < first_size && c == connections) memcpy(first + first_have, p, n), first_have += n;
        p += n;
        if (c->left -= n) continue;
        replies++;
        double took = (time - c->sent[c->oldest]) * 1e6;
        if (++c->oldest == window) c->oldest = 0;
        latencies[took < LATENCIES - 1 ? (int)took : LATENCIES - 1]++;
    }
    return replies;
}

int main(int argc, char **argv) {
    if (argc != 8) return fprintf(stderr, "load PORT CONNECTIONS WINDOW WARMUP SECONDS PID REQUEST-FILE\n"), 2;
    count = atoi(argv[2]), window = atoi(argv[3]);
    if (count < 1 || count > MOST || window < 1) fail("from 1 to 1024 connections, at least 1 request in flight");
    signal(SIGPIPE, SIG_IGN);
    double warmup = atof(argv[4]), duration = atof(argv[5]), began = 0, ended = 0, cpu = 0, time;
    pid_t pid = (pid_t)atol(argv[6]);
    make_burst(argv[7]);
    connections = calloc((size_t)count, sizeof *connections);
    for (int i = 0; i < count; i++) open_connection(&connections[i], atoi(argv[1])), watch(i, 0);
    double start = time = now();
    for (int i = 0; i < count; i++) request(i, window, time);
    while (in_flight) { /* at the end each request is answered before the connections close */
        int ready[MOST], n = wait_ready(ready);
        if (n < 0 && errno != EINTR) fail("wait");
        if (n == 0) errno = 0, fail("no reply for 5 seconds");
        for (int k = 0; k < n; k++) {
            Connection *c = &connections[ready[k]];
            if (c->wants_write) send_owed(ready[k]);
            ssize_t size = recv(c->fd, input, sizeof input, 0);
            if (size < 0 && errno == EAGAIN) continue;
            if (size <= 0) fail("the server hung up");
            time = now();
            int replies = read_replies(c, input, input + size, time);
            in_flight -= (uint64_t)replies;
            if (!ended) messages += (uint64_t)replies;
            if (!ended && replies) request(ready[k], replies, time);
        }
        if (!began && time - start >= warmup) {
            memset(latencies, 0, sizeof latencies);
            messages = 0, cpu = cpu_of(pid), began = time;
        } else if (began && !ended && time - began >= duration)
            cpu = cpu < 0 ? -1 : cpu_of(pid) - cpu, ended = time;
    }
    double slower = 0;
    int p99 = LATENCIES;
    while (p99 > 0 && slower <= 0.01 * (double)messages) slower += latencies[--p99];
    printf("%llu %.6f %d %.6f\n", (unsigned long long)messages, ended - began, p99, cpu);
    fwrite(first, 1, first_have, stdout);
    return 0;
}
