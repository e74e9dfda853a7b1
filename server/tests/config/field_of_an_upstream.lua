listen "127.0.0.1:8080"
local app = upstream "app" { "127.0.0.1:3000" }
print(app.name)
