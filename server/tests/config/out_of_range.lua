listen "127.0.0.1:99999"
workers(0)
drain "10 years"
limits { head = "1", script_cpu = "1h" }
site "*" { ["/"] = reply(99, "x") }
