/* Many mail programs that fetch pixels, as cheaply as can be: what they cost is not the server's.
 *
 *     readers PORT REQUESTS CONNECTIONS < PATHS
 *
 * Asks 127.0.0.1:PORT for the paths in turn, one request at a time on each of its connections, which stay open.
 * Prints the seconds it took, and the milliseconds within which half of the answers came, 99 in a hundred, all.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1024, LINE = 512, READ = 8192 };
static const char end[] = { 1, 0, ';' }; /* of our pixel */
static const char agent[] =
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";

struct line { int length; double since; char head[13], tail[3]; };

static struct line lines[MOST];
static char (*paths)[LINE];
static long known, asked;
static float *took;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *why) { fprintf(stderr, "readers: %s\n", why); exit(1); }

static void ask(int fd) {
    char text[LINE * 2];
    int length = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: %s\r\n\r\n",
                          paths[asked++ % known], agent);
    lines[fd].length = 0;
    lines[fd].since = now();
    if (write(fd, text, length) != length) fail("the server does not listen");
}

/* Whether this piece ends the answer. The end may come by itself, so the last bytes are kept. */
static int over(struct line *line, const char *piece, int length) {
    for (int n = 0; n < length && line->length + n < 12; n++) line->head[line->length + n] = piece[n];
    for (int n = length > 3 ? length - 3 : 0; n < length; n++) {
        memmove(line->tail, line->tail + 1, 2);
        line->tail[2] = piece[n];
    }
    line->length += length;
    if (line->length < 64 || memcmp(line->tail, end, sizeof end)) return 0;
    if (strncmp(line->head, "HTTP/1.1 200", 12)) fail("an answer that is not 200");
    return 1;
}

static int by_size(const void *one, const void *other) {
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

int main(int count, char **words) {
    if (count != 4) return 2;
    long requests = atol(words[2]), done = 0, room = 0;
    int connections = atoi(words[3]), poll = epoll_create1(0), one = 1;
    for (char text[LINE]; fgets(text, sizeof text, stdin); known++) {
        if (known == room) paths = realloc(paths, (room = room * 2 + 1024) * sizeof *paths);
        text[strcspn(text, "\n")] = 0;
        strcpy(paths[known], text);
    }
    took = malloc(requests * sizeof *took);
    if (!known || !took || connections > requests) return 2;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(words[1])),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct epoll_event event = { .events = EPOLLIN }, events[64];
    double begun = now();
    for (int n = 0; n < connections; n++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || fd >= MOST || connect(fd, (struct sockaddr *)&address, sizeof address)) fail("no connection");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        event.data.fd = fd;
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        ask(fd);
    }
    while (done < requests) {
        int number = epoll_wait(poll, events, 64, -1);
        for (int n = 0; n < number; n++) {
            static char piece[READ];
            int fd = events[n].data.fd, length = read(fd, piece, sizeof piece);
            if (length <= 0) fail("the server hung up");
            if (!over(&lines[fd], piece, length)) continue;
            took[done++] = now() - lines[fd].since;
            if (asked < requests) ask(fd);
        }
    }
    double seconds = now() - begun;
    qsort(took, requests, sizeof *took, by_size);
    printf("%f %f %f %f\n", seconds, took[requests / 2] * 1e3, took[requests * 99 / 100] * 1e3,
           took[requests - 1] * 1e3);
    return 0;
}
