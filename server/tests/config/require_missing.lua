listen "127.0.0.1:8080"
local shared = require "./no_such_file"
