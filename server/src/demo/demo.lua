-- What `rsp demo` runs. rsp filled in the ports; everything else you could have written.

listen "$LISTEN"
log { format = "none" }                 -- the page asks often; a site of yours would keep its access log

local hello = upstream "hello" {
  { "$ONE",   name = "one" },
  { "$TWO",   name = "two" },
  { "$THREE", name = "three" },
  balance = "round_robin",

  -- A request that meets a closed port goes to another endpoint; its client never notices.
  retry   = { tries = 3 },
  -- That endpoint is then left out for a second, the next time for two; two of the three may be out at once.
  outlier = { eject = "1s", eject_max = "2s", max_ejected = 0.7 },
}

site "*" {
  ["GET /hello"] = proxy(hello),
  ["GET /"]      = proxy "$BACKSTAGE",  -- the page
  ["/demo/*"]    = proxy "$BACKSTAGE",  -- its switches
}
