/* A mail server that takes every email and keeps none, to be as little of a measurement as can be.
 *
 *     sink [-c] [-d MILLISECONDS]
 *
 * Listens on a free port of 127.0.0.1 and prints it. -c offers CHUNKING (RFC 3030) beside PIPELINING.
 * -d holds every answer back for so long, as the way to a distant server and back does. On SIGTERM, and on
 * every SIGUSR1, it prints how many emails it has taken so far.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1024, LINE = 4096, READ = 262144, SAID = 16384 };

struct talk {
    int open;
    unsigned serial;            /* of the conversation on this descriptor: late answers of older ones are dropped */
    enum { COMMANDS, DATA, CHUNK } state;
    int dot;                    /* how far into CR LF . CR LF the content has come */
    long left;                  /* bytes of a chunk that are still to come */
    size_t length;
    char line[LINE];
};

struct answer { int fd; unsigned serial; int length; double due; char text[SAID]; };

static struct talk talks[MOST];
static struct answer *waiting;
static size_t first, last, room = 65536;
static double delay;
static int chunking;
static long taken;
static volatile sig_atomic_t asked, ended;

static void on_signal(int number) { if (number == SIGUSR1) asked = 1; else ended = 1; }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static char said[SAID];
static int said_length;

static void say(const char *text) {
    int length = strlen(text);
    if (said_length + length < SAID) {
        memcpy(said + said_length, text, length);
        said_length += length;
    }
}

static void flush(int fd) {
    if (!said_length) return;
    if (delay == 0) {
        if (write(fd, said, said_length) < 0) { /* it will be noticed by the next read */ }
    } else {
        struct answer *answer = &waiting[last++ % room];
        answer->fd = fd;
        answer->serial = talks[fd].serial;
        answer->due = now() + delay;
        answer->length = said_length;
        memcpy(answer->text, said, said_length);
    }
    said_length = 0;
}

static void command(int fd, struct talk *talk) {
    char *line = talk->line;
    if (!strncasecmp(line, "EHLO", 4))
        say(chunking ? "250-sink\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 PIPELINING\r\n"
                     : "250-sink\r\n250-8BITMIME\r\n250 PIPELINING\r\n");
    else if (!strncasecmp(line, "DATA", 4)) {
        talk->state = DATA;
        talk->dot = 2;  /* what stands before the content is a line end */
        say("354 go on\r\n");
    } else if (!strncasecmp(line, "BDAT", 4)) {
        talk->left = atol(line + 4);
        talk->state = CHUNK;
    } else if (!strncasecmp(line, "QUIT", 4)) {
        say("221 bye\r\n");
    } else
        say("250 2.0.0 ok\r\n");
    (void)fd;
}

/* Answers where the content ends in [at, end), or end; *over says whether it has ended. */
static char *content(struct talk *talk, char *at, char *end, int *over) {
    static const char tail[] = "\r\n.\r\n";
    while (at < end) {
        if (talk->dot == 0) {
            char *found = memmem(at, end - at, tail, 5);
            if (found) { *over = 1; return found + 5; }
            /* the end may stand on both sides of this read */
            size_t look = end - at < 4 ? (size_t)(end - at) : 4;
            char *rest = end - look;
            for (; rest < end; rest++)
                if (!memcmp(rest, tail, end - rest)) { talk->dot = end - rest; break; }
            return end;
        }
        if (*at == tail[talk->dot]) {
            at++;
            if (++talk->dot == 5) { *over = 1; return at; }
        } else
            talk->dot = 0;
    }
    return end;
}

static void hear(int fd, char *at, char *end) {
    struct talk *talk = &talks[fd];
    while (at < end) {
        if (talk->state == DATA) {
            int over = 0;
            at = content(talk, at, end, &over);
            if (over) { talk->state = COMMANDS; taken++; say("250 2.0.0 taken\r\n"); }
        } else if (talk->state == CHUNK) {
            long some = end - at < talk->left ? end - at : talk->left;
            at += some;
            talk->left -= some;
            if (!talk->left) { talk->state = COMMANDS; taken++; say("250 2.0.0 taken\r\n"); }
        } else {
            char *eol = memchr(at, '\n', end - at);
            size_t some = (eol ? eol + 1 : end) - at;
            if (talk->length + some >= LINE) talk->length = 0;
            memcpy(talk->line + talk->length, at, some);
            talk->length += some;
            at += some;
            if (eol) {
                talk->line[talk->length] = 0;
                talk->length = 0;
                command(fd, talk);
            }
        }
    }
    flush(fd);
}

int main(int count, char **words) {
    int option, listener = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0), one = 1;
    while ((option = getopt(count, words, "cd:")) != -1) {
        if (option == 'c') chunking = 1;
        else if (option == 'd') delay = atof(optarg) / 1000;
        else return 2;
    }
    waiting = delay > 0 ? malloc(room * sizeof *waiting) : NULL;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 128)) return 1;
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    struct epoll_event event = { .events = EPOLLIN, .data.fd = listener }, events[64];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    static char buffer[READ];
    static unsigned serial;
    while (!ended) {
        int wait = -1;
        if (first < last) {
            double left = waiting[first % room].due - now();
            wait = left > 0 ? (int)(left * 1000) + 1 : 0;
        }
        int number = epoll_wait(poll, events, 64, wait);
        if (asked) { asked = 0; printf("%ld\n", taken); fflush(stdout); }
        for (double moment = now(); first < last && waiting[first % room].due <= moment; first++) {
            struct answer *answer = &waiting[first % room];
            if (talks[answer->fd].open && talks[answer->fd].serial == answer->serial)
                if (write(answer->fd, answer->text, answer->length) < 0) { /* gone */ }
        }
        for (int n = 0; n < number; n++) {
            int fd = events[n].data.fd;
            if (fd == listener) {
                fd = accept(listener, NULL, NULL);
                if (fd < 0) continue;
                if (fd >= MOST) { close(fd); continue; }
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                memset(&talks[fd], 0, sizeof talks[fd]);
                talks[fd].open = 1;
                talks[fd].serial = ++serial;
                event.data.fd = fd;
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
                say("220 sink\r\n");
                flush(fd);
                continue;
            }
            ssize_t length = read(fd, buffer, sizeof buffer);
            if (length > 0) hear(fd, buffer, buffer + length);
            else if (length == 0 || errno != EINTR) { talks[fd].open = 0; close(fd); }
        }
    }
    printf("%ld\n", taken);
    return 0;
}
