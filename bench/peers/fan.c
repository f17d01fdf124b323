/* One publisher and many subscribers of a WebSocket server on this machine. bench/fanout.py compiles and runs it; Linux.
 *
 *     fan PORT SUBSCRIBERS WINDOW WARMUP SECONDS PID FILE
 *
 * FILE has five lines: the path of the handshake; how many messages answer a subscriber's joining; what the text of a
 * push begins with; what joins, as texts between NUL bytes; what publishes. WINDOW publications are under way: when the
 * last subscriber has one, the next is sent. After WARMUP seconds it counts deliveries for SECONDS, and reads the CPU
 * clock of process PID at the same two instants. Prints
 *
 *     DELIVERIES SECONDS P99-MICROSECONDS CPU-SECONDS
 *
 * where P99 is of the times from a publication to its last subscriber, and on the second line the first push. Exits
 * with 1 and a line on stderr if anything is wrong: a push too many, or none for 5 seconds. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/epoll.h>

#include "ws.h"

enum { MOST = 20000 /* subscribers */, READ_SIZE = 1 << 18, SHOWN = 4096, WINDOWS = 64, LATENCIES = 2000000 /* µs */ };

typedef struct {
    int fd;
    uint64_t have;       /* pushes */
    int answers;         /* messages that are no pushes */
    uint8_t start[SHOWN]; /* of the message that is being read: its head, then as much of its text */
    size_t size;         /* bytes of it that were read, head included */
    uint64_t whole;      /* its size, 0 until its head is there */
    size_t head;
} Subscriber;

static Subscriber *people; /* the publisher is people[0] */
static int count, window, answers, poller;
static char path[256], prefix[256];
static uint8_t joining[1 << 16], publishing[1 << 16], input[READ_SIZE], first[SHOWN];
static size_t joining_size, publishing_size, first_size;
static uint64_t sent, deliveries, complete;
static int missing[WINDOWS]; /* subscribers that have not got a publication yet */
static double since[WINDOWS];
static uint32_t latencies[LATENCIES];

/* Add a masked text frame to `frames`, of which `at` bytes are taken and there are 64 KiB. */
static size_t add_frame(uint8_t *frames, size_t at, const char *text, size_t size) {
    errno = 0;
    if (at + size + 14 > sizeof joining) fail("a message is too long");
    return at + put_frame(frames + at, text, size);
}

static void read_file(const char *name) {
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    FILE *file = fopen(name, "rb");
    if (!file) fail(name);
    for (int number = 0; number < 5; number++) {
        errno = 0;
        if ((size = getline(&line, &room, file)) < 1 || line[size - 1] != '\n') fail("a file of five lines");
        line[--size] = 0;
        if (number == 0) snprintf(path, sizeof path, "%s", line);
        if (number == 1) answers = atoi(line);
        if (number == 2) snprintf(prefix, sizeof prefix, "%s", line);
        if (number == 4) publishing_size = add_frame(publishing, 0, line, (size_t)size);
        for (char *text = line; number == 3 && text < line + size; text += strlen(text) + 1)
            joining_size = add_frame(joining, joining_size, text, strlen(text));
    }
    fclose(file);
    free(line);
}

static void publish(double time) {
    since[sent % (unsigned)window] = time;
    missing[sent++ % (unsigned)window] = count;
    if (send(people[0].fd, publishing, publishing_size, 0) != (ssize_t)publishing_size) fail("send");
}

static void end_message(Subscriber *s, double time) {
    size_t shown = s->size < SHOWN ? s->size : SHOWN;
    errno = 0;
    if (shown - s->head < strlen(prefix) || memcmp(s->start + s->head, prefix, strlen(prefix))) {
        s->answers++;
        return;
    }
    if (s == people) return; /* a server that tells the publisher, too */
    if (!first_size) memcpy(first, s->start + s->head, first_size = shown - s->head);
    if (s->have >= sent) fail("a push that nobody published");
    int *left = &missing[s->have++ % (unsigned)window];
    deliveries++;
    if (--*left) return;
    double took = (time - since[complete++ % (unsigned)window]) * 1e6;
    latencies[took < LATENCIES - 1 ? (int)took : LATENCIES - 1]++;
}

static void read_bytes(Subscriber *s, const uint8_t *p, const uint8_t *end, double time) {
    while (p < end) {
        if (!s->whole) {
            s->start[s->size++] = *p++;
            int small = s->start[1] & 0x7f;
            s->head = s->size < 2 || small < 126 ? 2 : small == 126 ? 4 : 10;
            if (s->size < s->head) continue;
            uint64_t size = s->head == 2 ? (uint64_t)small : 0;
            for (size_t i = 2; i < s->head; i++) size = size << 8 | s->start[i];
            errno = 0;
            if (s->start[0] != 0x81 && s->start[0] != 0x82) fail("not a whole message");
            s->whole = s->head + size;
        } else {
            uint64_t n = s->whole - s->size;
            if (n > (uint64_t)(end - p)) n = (uint64_t)(end - p);
            if (s->size < SHOWN) memcpy(s->start + s->size, p, n < SHOWN - s->size ? n : SHOWN - s->size);
            s->size += n, p += n;
        }
        if (s->size == s->whole && s->whole) end_message(s, time), s->size = 0, s->whole = 0;
    }
}

static void open_connection(Subscriber *s, int port) {
    char text[4096], *body;
    int have;
    s->fd = open_socket(port, path, text, sizeof text, &body, &have);
    read_bytes(s, (uint8_t *)body, (uint8_t *)text + have, 0); /* Socket.IO begins at once */
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, s->fd, &event)) fail("epoll_ctl");
}

/* Take what has come, once. */
static double turn(void) {
    static struct epoll_event events[1024];
    int n = epoll_wait(poller, events, 1024, 5000);
    if (n < 0 && errno != EINTR) fail("wait");
    if (n == 0) errno = 0, fail("nothing for 5 seconds");
    double time = now();
    for (int k = 0; k < n; k++) {
        Subscriber *s = events[k].data.ptr;
        ssize_t size = recv(s->fd, input, sizeof input, 0);
        if (size < 0 && errno == EAGAIN) continue;
        if (size <= 0) fail("the server hung up");
        time = now();
        read_bytes(s, input, input + size, time);
    }
    return time;
}

static void join(Subscriber *s) {
    if (send(s->fd, joining, joining_size, 0) != (ssize_t)joining_size) fail("send");
    while (s->answers < answers) turn();
}

int main(int argc, char **argv) {
    if (argc != 8) return fprintf(stderr, "fan PORT SUBSCRIBERS WINDOW WARMUP SECONDS PID FILE\n"), 2;
    count = atoi(argv[2]), window = atoi(argv[3]);
    if (count < 1 || count > MOST || window < 1 || window > WINDOWS) fail("1 to 20000 subscribers, 1 to 64 publications");
    signal(SIGPIPE, SIG_IGN);
    double warmup = atof(argv[4]), duration = atof(argv[5]), began = 0, ended = 0, cpu = 0, time = 0;
    pid_t pid = (pid_t)atol(argv[6]);
    read_file(argv[7]);
    if ((poller = epoll_create1(0)) < 0) fail("epoll_create1");
    people = calloc((size_t)count + 1, sizeof *people);
    for (int i = 0; i <= count; i++) {
        open_connection(&people[i], atoi(argv[1]));
        join(&people[i]);
    }
    double start = time = now();
    for (int i = 0; i < window; i++) publish(time);
    while (!ended) {
        uint64_t before = complete;
        time = turn();
        if (!began && time - start >= warmup) {
            memset(latencies, 0, sizeof latencies);
            deliveries = 0, cpu = cpu_of(pid), began = time;
        } else if (began && time - began >= duration)
            cpu = cpu_of(pid) - cpu, ended = time;
        for (; before < complete; before++) publish(time);
    }
    double slower = 0, all = 0;
    int p99 = LATENCIES;
    for (int i = 0; i < LATENCIES; i++) all += latencies[i];
    while (p99 > 0 && slower <= 0.01 * all) slower += latencies[--p99];
    printf("%llu %.6f %d %.6f\n", (unsigned long long)deliveries, ended - began, p99, cpu);
    fwrite(first, 1, first_size, stdout);
    return 0;
}
