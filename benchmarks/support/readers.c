/* Many mail programs and browsers of recipients, as cheaply as can be: what they cost is not the server's.
 *
 *     readers PORT REQUESTS CONNECTIONS < PATHS
 *
 * Asks 127.0.0.1:PORT for the paths in turn, one request at a time on each of its connections, which stay open.
 * Prints the seconds it took, the milliseconds within which half of the answers came, 99 in a hundred, all, and
 * how many answers were 503.
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

enum { MOST = 1024, LINE = 512, READ = 65536, HEAD = 4096 };
static const char agent[] =
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";

struct line { int length; long left; double since; char head[HEAD + 1]; };

static struct line lines[MOST];
static char (*paths)[LINE];
static long known, asked, refused;
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
    lines[fd].left = -1;
    lines[fd].since = now();
    if (write(fd, text, length) != length) fail("the server does not listen");
}

/* Whether this piece ends the answer, by its Content-Length. Its headers may come in several pieces. */
static int over(struct line *line, const char *piece, int length) {
    if (line->left < 0) {
        int room = HEAD - line->length, taken = length < room ? length : room;
        memcpy(line->head + line->length, piece, taken);
        line->head[line->length += taken] = 0;
        char *body = strstr(line->head, "\r\n\r\n"), *size = strcasestr(line->head, "\r\nContent-Length:");
        if (!body && line->length == HEAD) fail("headers without an end");
        if (!body) return 0;
        if (!strncmp(line->head, "HTTP/1.1 503", 12)) refused++;
        else if (strncmp(line->head, "HTTP/1.1 200", 12) && strncmp(line->head, "HTTP/1.1 302", 12)) fail(line->head);
        if (!size || size > body) fail("an answer without a length");
        line->left = atol(size + 17) - (line->length - (body + 4 - line->head)) - (length - taken);
    } else {
        line->left -= length;
    }
    return line->left == 0;
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
    printf("%f %f %f %f %ld\n", seconds, took[requests / 2] * 1e3, took[requests * 99 / 100] * 1e3,
           took[requests - 1] * 1e3, refused);
    return 0;
}
