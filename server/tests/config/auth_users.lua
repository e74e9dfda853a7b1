listen "127.0.0.1:8080"
local staff = auth { basic = "./auth_users.htpasswd" }
site "*" {
  ["/a/*"] = { staff, reply(200) },
  ["/b/*"] = { staff, reply(200) },
  ["/c/*"] = { auth { basic = "./nobody.htpasswd" }, reply(200) },
  ["/d/*"] = { auth { basic = {
    alice = "$2y$04$2m/cwqLoplQT1je8GxRh7u9zv8xPdijkvSlpzgoiaJK.kkdDFQ9iS",
    bob = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
    carol = "$2y$31$2m/cwqLoplQT1je8GxRh7u9zv8xPdijkvSlpzgoiaJK.kkdDFQ9iS",
  } }, reply(200) },
}
