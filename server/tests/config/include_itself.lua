listen "127.0.0.1:8080"
include "include_itself.lua"
