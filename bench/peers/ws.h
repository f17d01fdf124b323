/* What load.c, fan.c and visits.c have in common: time, an opened connection, a client's frame. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
    fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static double seconds_of(clockid_t clock) {
    struct timespec t;
    return clock_gettime(clock, &t) ? -1 : (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double now(void) { return seconds_of(CLOCK_MONOTONIC); }

/* Give the CPU seconds of a process; -1: this system does not tell. */
static double cpu_of(pid_t pid) {
#ifdef __linux__
    clockid_t clock;
    return clock_getcpuclockid(pid, &clock) ? -1 : seconds_of(clock);
#else
    return (void)pid, -1;
#endif
}

/* Write a masked text frame of `size` bytes of payload to `frame`, which has room for 14 more; give its size. */
static size_t put_frame(uint8_t *frame, const void *payload, size_t size) {
    static const uint8_t mask[4] = {0xa1, 0x5c, 0x07, 0xe9};
    size_t at = 0;
    int extra = size < 126 ? 0 : size < 65536 ? 2 : 8;
    frame[at++] = 0x81; /* FIN, text */
    frame[at++] = (uint8_t)(0x80 | (extra == 0 ? size : extra == 2 ? 126 : 127));
    for (int i = extra; i-- > 0;) frame[at++] = (uint8_t)((uint64_t)size >> (8 * i));
    memcpy(frame + at, mask, 4), at += 4;
    for (size_t i = 0; i < size; i++) frame[at + i] = ((const uint8_t *)payload)[i] ^ mask[i & 3];
    return at + size;
}

/* Open a WebSocket; `text` has room for `room` bytes and gets the response, `body` what came behind its head. */
static int open_socket(int port, const char *path, char *text, int room, char **body, int *have) {
    static const char *KEY = "dGhlIHNhbXBsZSBub25jZQ==", *ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; /* RFC 6455 §1.3 */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) fail("socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int size = snprintf(text, (size_t)room,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n", path, port, KEY);
    if (size >= room || send(fd, text, (size_t)size, 0) != size) fail("send");
    *have = 0;
    do {
        ssize_t n = recv(fd, text + *have, (size_t)(room - 1 - *have), 0);
        if (n <= 0) fail("no handshake");
        text[*have += (int)n] = 0;
    } while (!(*body = strstr(text, "\r\n\r\n")));
    *body += 4;
    errno = 0;
    if (strncmp(text, "HTTP/1.1 101", 12) || !strstr(text, ACCEPT)) fail("handshake refused");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}
