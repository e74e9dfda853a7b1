// dribble PORT CONNECTIONS SECONDS FIRST: that many connections, from 10,000 ports of each source address from 127.0.2.FIRST
// on, each sending one byte of a request head a second; one that was closed is opened again. At the end it prints how
// often a connection was opened, how many were answered 408, and how many ended without an answer.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static const char HEAD[] = "GET / HTTP/1.1\r\nHost: bench\r\nX-Slow: ";

static int open_one(int port, int number, int first) {
    int on = 1, sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(port)};
    from.sin_addr.s_addr = htonl(0x7f000200 + first + number / 10000);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(sock, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (sock < 0 || bind(sock, (void *)&from, sizeof from) < 0) return perror("dribble"), exit(1), -1;
    if (connect(sock, (void *)&to, sizeof to) < 0 && errno != EINPROGRESS) return perror("dribble"), exit(1), -1;
    return sock;
}

int main(int count, char **arguments) {
    if (count != 5) return fprintf(stderr, "dribble PORT CONNECTIONS SECONDS FIRST\n"), 1;
    int port = atoi(arguments[1]), wanted = atoi(arguments[2]), seconds = atoi(arguments[3]), first = atoi(arguments[4]);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    signal(SIGPIPE, SIG_IGN);
    int *socks = calloc(wanted, sizeof *socks), *sent = calloc(wanted, sizeof *sent);
    long opened = 0, answered = 0, silent = 0;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    // A millisecond's share of the connections at a time, so that their bytes are spread over the second.
    for (long tick = 0; tick < seconds * 1000L; tick++) {
        long from = wanted * (tick % 1000) / 1000, to = wanted * (tick % 1000 + 1) / 1000;
        for (long i = from; i < to; i++) {
            char answer[64];
            ssize_t got = socks[i] ? recv(socks[i], answer, sizeof answer, 0) : 0;
            if (got >= 0 || errno != EAGAIN) {
                if (socks[i]) {
                    int is_408 = got >= 12 && !memcmp(answer, "HTTP/1.1 408", 12);
                    answered += is_408;
                    silent += !is_408;
                    close(socks[i]);
                }
                socks[i] = open_one(port, i, first);
                sent[i] = 0;
                opened++;
                continue;
            }
            char byte = sent[i] < (int)sizeof HEAD - 1 ? HEAD[sent[i]] : 'x';
            if (send(socks[i], &byte, 1, MSG_DONTWAIT) == 1) sent[i]++;
        }
        next.tv_nsec += 1000000;
        if (next.tv_nsec >= 1000000000) next.tv_nsec -= 1000000000, next.tv_sec++;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
    printf("%ld %ld %ld\n", opened, answered, silent);
    return 0;
}
