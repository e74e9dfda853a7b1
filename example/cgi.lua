-- Programs of a folder answer requests, as they have since 1993: one process a request, by CGI (RFC 3875).
-- `rsp cgi.lua`, then http://127.0.0.1:8080/

listen "127.0.0.1:8080"

site "*" {
  ["/"]          = redirect "/cgi-bin/guestbook",
  ["/cgi-bin/*"] = cgi {
    "./cgi-bin",
    timeout = "10s",
    processes_max = 16,
    env = { GUESTBOOK = "/tmp/rsp-guestbook.txt" },
  },
}
