// fanout PORT: the floor of a fan-out. It takes subscribers to one channel, by WebSocket or as an event stream, and sends
// the body of each POST to all of them: one send() each from one buffer, nothing else.
#include "live.h"
#include <sys/epoll.h>

enum { BUFFER = 16384, EVENTS = 512, CLIENTS = 20000 };
enum kind { NEW, WEBSOCKET, STREAM, PUBLISHER };

static const char UPGRADED[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			       "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char STREAMING[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
static const char CREATED[] = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";

static char kinds[CLIENTS];
static int subscribers[CLIENTS], count;

static void say(int fd, const char *text, size_t length)
{
	if (send(fd, text, length, MSG_NOSIGNAL) != (ssize_t)length)
		fprintf(stderr, "an answer did not fit\n");
}

static void drop(int fd)
{
	for (int i = 0; i < count; i++)
		if (subscribers[i] == fd)
			subscribers[i--] = subscribers[--count];
	kinds[fd] = NEW;
	close(fd);
}

static void broadcast(const char *body, size_t length)
{
	static char frame[BUFFER], event[BUFFER];
	size_t frame_length = length < 126 ? 2 : 4;
	frame[0] = (char)0x81;
	frame[1] = length < 126 ? length : 126;
	frame[2] = length >> 8;
	frame[3] = length;
	memcpy(frame + frame_length, body, length);
	frame_length += length;
	size_t event_length = snprintf(event, BUFFER, "data: %.*s\n\n", (int)length, body);
	for (int i = 0; i < count; i++) {
		int fd = subscribers[i], framed = kinds[fd] == WEBSOCKET;
		if (send(fd, framed ? frame : event, framed ? frame_length : event_length, MSG_NOSIGNAL) < 0)
			fprintf(stderr, "a message did not fit\n");
	}
}

// Requests come whole here: one at a time, in one write.
static void read_from(int fd)
{
	static char bytes[BUFFER + 1];
	ssize_t got = recv(fd, bytes, BUFFER, 0);
	if (got <= 0) {
		if (got == 0 || errno != EAGAIN)
			drop(fd);
		return;
	}
	bytes[got] = 0;
	char *body = strstr(bytes, "\r\n\r\n");
	if (kinds[fd] == WEBSOCKET || kinds[fd] == STREAM || !body)
		return;
	if (!strncmp(bytes, "POST", 4)) {
		kinds[fd] = PUBLISHER;
		broadcast(body + 4, bytes + got - body - 4);
		say(fd, CREATED, sizeof CREATED - 1);
		return;
	}
	kinds[fd] = strstr(bytes, "Upgrade: websocket") ? WEBSOCKET : STREAM;
	if (kinds[fd] == WEBSOCKET)
		say(fd, UPGRADED, sizeof UPGRADED - 1);
	else
		say(fd, STREAMING, sizeof STREAMING - 1);
	subscribers[count++] = fd;
}

int main(int argc, char **arguments)
{
	if (argc != 2)
		return fprintf(stderr, "usage: fanout PORT\n"), 1;
	prepare_process();
	int poller = epoll_create1(0), on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1])),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096)) {
		perror("listen");
		return 3;
	}
	struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.fd = listener};
	epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int ready = epoll_wait(poller, events, EVENTS, -1);
		for (int i = 0; i < ready; i++) {
			if (events[i].data.fd != listener) {
				read_from(events[i].data.fd);
				continue;
			}
			for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
				if (fd >= CLIENTS) {
					close(fd);
					continue;
				}
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
				event.data.fd = fd;
				epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
			}
		}
	}
}
